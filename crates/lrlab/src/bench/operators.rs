//! Single operators at the sizes of the models, with all gradients or without (`-forward`).

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    AdamStep, BatchNorm2d, Dropout, LstmLayer, NormMode, Precision, Sequence, SgdStep, adam_update,
    attention, conv2d, cross_entropy, dropout, embedding, gelu, global_avg_pool2d, layer_norm, linear,
    max_pool2d, relu, sgd_update,
};
use lrlab_random::{Purpose, Stream};

use super::models::{LENGTH, PICTURES, TEXTS, VOCABULARY, WIDTH, below, normal};
use super::workload::{Kind, Step, Workload};

/// (inputs, outputs, kernel, stride, side) of ResNet-20 and ResNet-18 on 32×32 pictures.
const CONVOLUTIONS: [(usize, usize, usize, usize, usize); 9] = [
    (16, 16, 3, 1, 32),
    (32, 32, 3, 1, 16),
    (64, 64, 3, 1, 8),
    (16, 32, 3, 2, 32),
    (16, 32, 1, 2, 32),
    (3, 64, 7, 2, 32),
    (128, 128, 3, 1, 4),
    (256, 256, 3, 1, 2),
    (512, 512, 3, 1, 1),
];

/// The number of classes of the cross entropy.
const CLASSES: u64 = 1000;

pub(super) fn operators(precision: Precision) -> Vec<Workload> {
    let mut all = Vec::new();
    for (inputs, outputs, kernel, stride, side) in CONVOLUTIONS {
        let out = (side + 2 * (kernel / 2) - kernel) / stride + 1;
        let products = (PICTURES * outputs * out * out * inputs * kernel * kernel) as f64;
        let shapes = [vec![PICTURES, inputs, side, side], vec![outputs, inputs, kernel, kernel]];
        let name = format!("conv-{kernel}x{kernel}-stride{stride}-{inputs}-{outputs}");
        all.extend(operator(&name, PICTURES, products, &shapes, move |v, _| {
            conv2d(&v[0], &v[1], stride, kernel / 2, Precision::F32)
        }));
    }
    all.extend(norms_and_pools());
    all.extend(text_operators(precision));
    all.extend(updates());
    all
}

fn norms_and_pools() -> Vec<Workload> {
    let frame = || vec![PICTURES, 16, 32, 32];
    let norm = |v: &[Var], residual: Option<&Tensor>| {
        let (mean, variance) = (v[1].zeros_like()?, v[1].ones_like()?);
        let (mean, variance) = (Var::from_tensor(&mean)?, Var::from_tensor(&variance)?);
        let train = NormMode::Train { momentum: 0.1 };
        BatchNorm2d {
            scale: &v[1],
            shift: &v[2],
            running_mean: &mean,
            running_var: &variance,
            eps: 1e-5,
            mode: train,
            residual,
            relu: true,
        }
        .forward(&v[0])
    };
    let mut all = Vec::new();
    let shapes = [frame(), vec![16], vec![16]];
    all.extend(operator("batch-norm-relu", PICTURES, 0.0, &shapes, move |v, _| norm(v, None)));
    let shapes = [frame(), vec![16], vec![16], frame()];
    all.extend(operator("batch-norm-add-relu", PICTURES, 0.0, &shapes, move |v, _| norm(v, Some(&v[3]))));
    let shapes = [vec![PICTURES, 64, 16, 16]];
    all.extend(operator("max-pool", PICTURES, 0.0, &shapes, |v, _| max_pool2d(&v[0], 3, 2, 1)));
    let shapes = [vec![PICTURES, 64, 8, 8]];
    all.extend(operator("avg-pool", PICTURES, 0.0, &shapes, |v, _| global_avg_pool2d(&v[0])));
    all
}

fn text_operators(precision: Precision) -> Vec<Workload> {
    let mixed = |pair: [Workload; 2]| pair.map(|workload| Workload { precision, ..workload });
    let states = || vec![TEXTS, LENGTH, WIDTH];
    let wide = || vec![TEXTS, LENGTH, 2 * WIDTH];
    let tokens = (TEXTS * LENGTH) as f64;
    let draws = || Dropout { p: 0.1, stream: Stream::new(0, Purpose::Dropout, "bench") };
    let mut all = Vec::new();
    let products = tokens * (2 * WIDTH * WIDTH) as f64;
    let shapes = [states(), vec![2 * WIDTH, WIDTH], vec![2 * WIDTH]];
    all.extend(mixed(operator("linear", TEXTS, products, &shapes, move |v, _| {
        linear(&v[0], &v[1], Some(&v[2]), precision)
    })));
    let shapes = [states(), vec![WIDTH], vec![WIDTH]];
    all.extend(operator("layer-norm", TEXTS, 0.0, &shapes, |v, _| layer_norm(&v[0], &v[1], &v[2], 1e-5)));
    let heads = || vec![TEXTS, 4, LENGTH, WIDTH / 4];
    let products = tokens * (2 * LENGTH * WIDTH) as f64;
    let shapes = [heads(), heads(), heads()];
    all.extend(mixed(operator("attention", TEXTS, products, &shapes, move |v, with| {
        attention(&v[0], &v[1], &v[2], &with.mask, Some(draws()), precision)
    })));
    let gates = 4 * WIDTH;
    let shapes = [states(), vec![gates, WIDTH], vec![gates, WIDTH], vec![gates], vec![gates]];
    let products = tokens * (2 * gates * WIDTH) as f64;
    all.extend(mixed(operator("lstm-layer", TEXTS, products, &shapes, move |v, with| {
        let (w_ih, w_hh, b_ih, b_hh, mask) = (&v[1], &v[2], &v[3], &v[4], &with.mask);
        let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask: Some(mask), reverse: false, precision };
        layer.states(Sequence::Vectors(&v[0]))
    })));
    let shapes = [vec![VOCABULARY, WIDTH]];
    all.extend(operator("embedding", TEXTS, 0.0, &shapes, |v, with| embedding(&with.ids, &v[0])));
    all.extend(operator("cross-entropy", PICTURES, 0.0, &[vec![PICTURES, CLASSES as usize]], |v, with| {
        cross_entropy(&v[0], &with.labels, 0.0)
    }));
    all.extend(operator("dropout", TEXTS, 0.0, &[states()], move |v, _| dropout(&v[0], draws())));
    all.extend(operator("relu", TEXTS, 0.0, &[wide()], |v, _| relu(&v[0])));
    all.extend(operator("gelu", TEXTS, 0.0, &[wide()], |v, _| gelu(&v[0])));
    all
}

/// Operands without a gradient.
struct Fixed {
    ids: Tensor,
    mask: Tensor,
    labels: Tensor,
}

impl Fixed {
    fn new(device: &Device) -> Result<Self> {
        let ids = below(TEXTS * LENGTH, VOCABULARY as u64, "ids", device)?;
        Ok(Self {
            ids: ids.reshape((TEXTS, LENGTH))?,
            mask: Tensor::ones((TEXTS, LENGTH), DType::F32, device)?,
            labels: below(PICTURES, CLASSES, "labels", device)?,
        })
    }
}

/// Creates two workloads of `forward` on standard normal values of these shapes: with the gradients of the sum of its
/// output, and without.
fn operator<const N: usize>(
    name: &str,
    examples: usize,
    products: f64,
    shapes: &[Vec<usize>; N],
    forward: impl Fn(&[Var], &Fixed) -> Result<Tensor> + Clone + 'static,
) -> [Workload; 2] {
    [(name.to_owned(), true), (format!("{name}-forward"), false)].map(|(name, gradients)| {
        let (shapes, forward) = (shapes.to_vec(), forward.clone());
        Workload {
            kind: Kind::Operator,
            name,
            examples,
            flops: products * if gradients { 6.0 } else { 2.0 },
            bytes: 0.0,
            precision: Precision::F32,
            prepare: Box::new(move |device: &Device| -> anyhow::Result<Step> {
                // The first operand is data, the others are parameters and small.
                let draw = |(i, shape): (usize, &Vec<usize>)| {
                    let scale = if i == 0 { 1.0 } else { 0.1 };
                    Var::from_tensor(&(normal(shape, &format!("operand {i}"), device)? * scale)?)
                };
                let vars = shapes.iter().enumerate().map(draw).collect::<Result<Vec<_>>>()?;
                let fixed = Fixed::new(device)?;
                Ok(Box::new(move || {
                    let y = forward(&vars, &fixed)?;
                    if gradients {
                        y.backward()?;
                    }
                    Ok(y.detach())
                }))
            }),
        }
    })
}

/// Updates of a table as large as the text models' embedding.
fn updates() -> [Workload; 2] {
    let sgd = SgdStep { lr: 1e-3, momentum: 0.9, nesterov: false, weight_decay: 1e-4, first: false };
    let adam = |step| AdamStep {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        decoupled: false,
        step,
    };
    [
        update("sgd", 5, move |[var, grad, m, _], _| sgd_update(var, grad, Some(m), sgd)),
        update("adam", 7, move |[var, grad, m, v], step| adam_update(var, grad, m, v, adam(step))),
    ]
}

/// Creates the workload of an update rule that reads and writes `touched` values per parameter.
fn update(name: &str, touched: usize, rule: impl Fn(&[Var; 4], u64) -> Result<()> + 'static) -> Workload {
    Workload {
        kind: Kind::Operator,
        name: name.to_owned(),
        examples: 1,
        flops: 0.0,
        bytes: (4 * touched * VOCABULARY * WIDTH) as f64,
        precision: Precision::F32,
        prepare: Box::new(move |device: &Device| -> anyhow::Result<Step> {
            let draw = |name: &str| Var::from_tensor(&normal(&[VOCABULARY, WIDTH], name, device)?);
            let zeros = || Var::zeros((VOCABULARY, WIDTH), DType::F32, device);
            let vars = [draw("weights")?, draw("gradient")?, zeros()?, zeros()?];
            let mut step = 0;
            Ok(Box::new(move || {
                step += 1;
                rule(&vars, step)?;
                Ok(vars[0].as_detached_tensor())
            }))
        }),
    }
}
