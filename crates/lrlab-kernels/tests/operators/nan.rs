//! A NaN in any operand propagates to every result that depends on it.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    BatchNorm2d, ConvNet, ConvNorm, Dropout, EncoderActivation, EncoderLayer, EncoderNorm, LstmLayer,
    NormMode, Precision, Sequence, attention, cross_entropy, gelu, global_avg_pool2d, layer_norm, linear,
    max_pool2d, relu, weighted_sum,
};
use lrlab_random::{Purpose, Stream};

use crate::harness::{Draw, lstm};

/// Puts a NaN at places of each operand in turn; the operator in f64, on candle's operators, gives the expected results and
/// gradients.
fn check(name: &str, shapes: &[&[usize]], operator: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    compare(name, shapes, true, operator)
}

/// Compares the results, and the gradients if `gradients` is set.
fn compare(
    name: &str,
    shapes: &[&[usize]],
    gradients: bool,
    operator: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let mut draw = Draw::new(name);
    let operands: Vec<Vec<f32>> = shapes.iter().map(|dims| draw.values(dims.iter().product())).collect();
    for poisoned in 0..shapes.len() {
        let size: usize = shapes[poisoned].iter().product();
        for place in [0, size / 3, size / 2, size - 1] {
            let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Vec<f64>>> {
                let vars: Result<Vec<Var>> = operands
                    .iter()
                    .zip(shapes)
                    .enumerate()
                    .map(|(i, (values, dims))| {
                        let mut values = values.clone();
                        if i == poisoned {
                            values[place] = f32::NAN;
                        }
                        Var::from_tensor(&Tensor::from_vec(values, *dims, &Device::Cpu)?.to_dtype(dtype)?)
                    })
                    .collect();
                let vars = vars?;
                let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
                let y = operator(&tensors)?;
                let grads = y.sum_all()?.backward()?;
                let grads = vars.iter().filter_map(|var| grads.get(var).cloned()).filter(|_| gradients);
                let values = |x: Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
                std::iter::once(y).chain(grads).map(values).collect()
            });
            let [found, expected] = results;
            let (found, expected) = (found?, expected?);
            let name = format!("{name}: operand {poisoned}, place {place}");
            assert!(expected[0].iter().any(|v| v.is_nan()), "{name}: the reference loses it");
            assert_eq!(found.len(), expected.len(), "{name}: gradients");
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let part = if part == 0 { "result".to_owned() } else { format!("gradient {part}") };
                for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(found.is_nan() || !expected.is_nan(), "{name}: {part}: {found} at {at}");
                }
            }
        }
    }
    Ok(())
}

fn mask(b: usize, l: usize, like: &Tensor) -> Result<Tensor> {
    Tensor::ones((b, l), DType::F32, &Device::Cpu)?.to_dtype(like.dtype())
}

#[test]
fn nan_propagates_through_pointwise_operators_and_norms() -> Result<()> {
    check("relu", &[&[3, 50]], |x| relu(&x[0]))?;
    check("gelu", &[&[3, 50]], |x| gelu(&x[0]))?;
    check("layer_norm", &[&[4, 33], &[33], &[33]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5))?;
    check("linear", &[&[5, 17], &[9, 17], &[9]], |x| linear(&x[0], &x[1], Some(&x[2]), Precision::F32))?;
    for (classes, smoothing) in [(3, 0.0), (19, 0.0), (19, 0.1)] {
        let labels = Tensor::new(&[0_u32, 2, 1, 1], &Device::Cpu)?;
        let name = format!("cross_entropy of {classes} classes, smoothed by {smoothing}");
        check(&name, &[&[4, classes]], |x| cross_entropy(&x[0], &labels, smoothing))?;
    }
    check("global_avg_pool2d", &[&[2, 3, 5, 4]], |x| global_avg_pool2d(&x[0]))?;
    check("weighted_sum", &[&[2, 7, 5]], |x| weighted_sum(&x[0], &mask(2, 7, &x[0])?))?;
    check("batch_norm2d", &[&[3, 5, 4, 4], &[5], &[5], &[3, 5, 4, 4]], |x| {
        let running = || Var::from_tensor(&x[1].ones_like()?);
        let train = NormMode::Train { momentum: 0.1 };
        BatchNorm2d {
            scale: &x[1],
            shift: &x[2],
            running_mean: &running()?,
            running_var: &running()?,
            eps: 1e-5,
            mode: train,
            residual: Some(&x[3]),
            relu: true,
        }
        .forward(&x[0])
    })
}

#[test]
fn nan_propagates_through_pools_and_convolutions() -> Result<()> {
    check("max_pool2d", &[&[2, 3, 9, 8]], |x| max_pool2d(&x[0], 3, 2, 1))?;
    // The mask of the reference spreads a NaN gradient over a whole window.
    compare("pool of a network", &[&[2, 3, 8, 8], &[4, 3, 1, 1]], false, |x| {
        let full = |value: f64| Var::from_tensor(&(Tensor::ones(4, x[0].dtype(), &Device::Cpu)? * value)?);
        let mut net = ConvNet::new();
        let pictures = net.input();
        let pooled = net.max_pool(pictures, 3, 2, 1);
        let unit = ConvNorm {
            weight: Var::from_tensor(&x[1])?,
            stride: 1,
            padding: 0,
            scale: full(1.0)?,
            shift: full(0.0)?,
            running_mean: full(0.0)?,
            running_var: full(1.0)?,
            eps: 1e-5,
        };
        net.unit(pooled, unit, None, true);
        net.forward(&x[0], NormMode::Eval)
    })
}

#[test]
fn nan_propagates_through_operators_on_sequences() -> Result<()> {
    let heads: &[usize] = &[2, 2, 9, 5];
    check("attention", &[heads, heads, heads], |x| {
        attention(&x[0], &x[1], &x[2], &mask(2, 9, &x[0])?, None, Precision::F32)
    })?;
    // The reference multiplies a dropped NaN by 0.
    compare("attention with dropout", &[heads, heads, heads], false, |x| {
        let drop = Dropout { p: 0.5, stream: Stream::new(0, Purpose::Dropout, "nan") };
        attention(&x[0], &x[1], &x[2], &mask(2, 9, &x[0])?, Some(drop), Precision::F32)
    })?;
    for reverse in [false, true] {
        let shapes: [&[usize]; 5] = [&[3, 6, 4], &[20, 4], &[20, 5], &[20], &[20]];
        let states = |x: &[Tensor]| lstm(&x[0], [&x[1], &x[2], &x[3], &x[4]], &mask(3, 6, &x[0])?, reverse);
        check("lstm", &shapes, states)?;
    }
    check("last state", &[&[3, 6, 4], &[20, 4], &[20, 5], &[20], &[20]], |x| {
        let mask = mask(3, 6, &x[0])?;
        let precision = Precision::F32;
        let (w_ih, w_hh, b_ih, b_hh) = (&x[1], &x[2], &x[3], &x[4]);
        let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask: Some(&mask), reverse: false, precision };
        layer.last(Sequence::Vectors(&x[0]))
    })?;
    let (w, f) = (6, 10);
    let shapes: [&[usize]; 13] = [
        &[2, 7, w],
        &[3 * w, w],
        &[3 * w],
        &[w, w],
        &[w],
        &[f, w],
        &[f],
        &[w, f],
        &[w],
        &[w],
        &[w],
        &[w],
        &[w],
    ];
    check("encoder layer", &shapes, |x| {
        let layer = EncoderLayer {
            heads: 2,
            norm: EncoderNorm::After,
            activation: EncoderActivation::Gelu,
            in_proj: (&x[1], &x[2]),
            out_proj: (&x[3], &x[4]),
            linear1: (&x[5], &x[6]),
            linear2: (&x[7], &x[8]),
            norm1: (&x[9], &x[10]),
            norm2: (&x[11], &x[12]),
            eps: 1e-5,
            dropouts: [None; 3],
            precision: Precision::F32,
        };
        layer.forward(&x[0], &mask(2, 7, &x[0])?)
    })
}
