//! Speed of one training step, random data: `steps [resnet20|lstm|transformer|copy] [--fresh]`.
//!
//! Prints pictures or sequences per second, the median over the timed steps. Two threads: `RAYON_NUM_THREADS=2`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::alloc::Allocator;
use lrlab_kernels::{
    AdamStep, Dropout, EncoderActivation, EncoderLayer, EncoderNorm, LstmLayer, Norm, Sequence, SgdStep,
    adam_update, backward, batch_norm2d, conv2d, cross_entropy, embedding_at_positions, global_avg_pool2d,
    linear, sgd_update, weighted_sum,
};
use lrlab_random::{Purpose, Stream};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::keeping_pages();

/// Parameters by name, made when first asked for.
#[derive(Default)]
struct Net {
    vars: BTreeMap<String, Var>,
    state: BTreeMap<String, (Var, Var)>,
    step: u64,
    /// Seconds in the backward pass and in the update.
    clock: (f64, f64),
}

fn draw(shape: &[usize], name: &str, scale: f64) -> Tensor {
    let stream = Stream::new(0, Purpose::Init, name);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count as u64).map(|i| (stream.normal(i) * scale) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

impl Net {
    fn get(&mut self, name: &str, shape: &[usize], scale: f64) -> Var {
        let make = || Var::from_tensor(&draw(shape, name, scale)).unwrap();
        self.vars.entry(name.to_owned()).or_insert_with(make).clone()
    }

    fn full(&mut self, name: &str, n: usize, value: f32) -> Var {
        let make = || Var::from_tensor(&Tensor::full(value, n, &Device::Cpu).unwrap()).unwrap();
        self.vars.entry(name.to_owned()).or_insert_with(make).clone()
    }

    fn update(&mut self, loss: &Tensor, sgd: bool) -> Result<()> {
        let start = Instant::now();
        let grads = backward(loss)?;
        self.clock.0 += start.elapsed().as_secs_f64();
        let start = Instant::now();
        self.step += 1;
        for (name, var) in &self.vars {
            let Some(grad) = grads.get(var) else { continue };
            let zeros = || Var::zeros(var.shape(), DType::F32, &Device::Cpu).unwrap();
            let (m, v) = self.state.entry(name.clone()).or_insert_with(|| (zeros(), zeros()));
            if sgd {
                let first = self.step == 1;
                let step = SgdStep { lr: 0.05, momentum: 0.9, nesterov: false, weight_decay: 1e-4, first };
                sgd_update(var, grad, Some(m), step)?;
            } else {
                let (beta1, beta2, eps, step) = (0.9, 0.999, 1e-8, self.step);
                let step =
                    AdamStep { lr: 1e-3, beta1, beta2, eps, weight_decay: 0.0, decoupled: false, step };
                adam_update(var, grad, m, v, step)?;
            }
        }
        self.clock.1 += start.elapsed().as_secs_f64();
        Ok(())
    }
}

struct Unit<'a> {
    name: &'a str,
    out: usize,
    kernel: usize,
    stride: usize,
}

fn unit(net: &mut Net, x: &Tensor, u: &Unit, residual: Option<&Tensor>, relu: bool) -> Result<Tensor> {
    let c = x.dim(1)?;
    let scale = (2.0 / (c * u.kernel * u.kernel) as f64).sqrt();
    let weight = net.get(&format!("{}.conv", u.name), &[u.out, c, u.kernel, u.kernel], scale);
    let x = conv2d(x, &weight, u.stride, u.kernel / 2)?;
    let gain = net.full(&format!("{}.scale", u.name), u.out, 1.0);
    let shift = net.full(&format!("{}.shift", u.name), u.out, 0.0);
    let mean = net.full(&format!("{}.mean", u.name), u.out, 0.0);
    let var = net.full(&format!("{}.var", u.name), u.out, 1.0);
    batch_norm2d(&x, &gain, &shift, &mean, &var, 1e-5, Norm::Train { momentum: 0.1 }, residual, relu)
}

fn resnet20(net: &mut Net, x: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let mut x = unit(net, x, &Unit { name: "stem", out: 16, kernel: 3, stride: 1 }, None, true)?;
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..3 {
            let name = format!("{stage}.{block}");
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let part = |part: &str| format!("{name}.{part}");
            let first = Unit { name: &part("a"), out: width, kernel: 3, stride };
            let inner = unit(net, &x, &first, None, true)?;
            let shortcut = if stride == 2 {
                unit(net, &x, &Unit { name: &part("s"), out: width, kernel: 1, stride }, None, false)?
            } else {
                x
            };
            let second = Unit { name: &part("b"), out: width, kernel: 3, stride: 1 };
            x = unit(net, &inner, &second, Some(&shortcut), true)?;
        }
    }
    let pooled = global_avg_pool2d(&x)?;
    let logits = linear(&pooled, &net.get("fc", &[10, 64], 0.1), Some(&net.full("fc.bias", 10, 0.0)))?;
    cross_entropy(&logits, labels, 0.0)
}

fn lstm_net(net: &mut Net, ids: &Tensor, mask: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let table = net.get("embedding", &[20_000, 128], 0.1);
    let (w_ih, w_hh) = (net.get("w_ih", &[512, 128], 0.05), net.get("w_hh", &[512, 128], 0.05));
    let (b_ih, b_hh) = (net.full("b_ih", 512, 0.0), net.full("b_hh", 512, 0.0));
    let layer = LstmLayer { w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh, mask, reverse: false };
    let last = layer.last(Sequence::Tokens { ids, table: &table })?;
    let logits = linear(&last, &net.get("fc", &[2, 128], 0.1), Some(&net.full("fc.bias", 2, 0.0)))?;
    cross_entropy(&logits, labels, 0.0)
}

fn transformer(net: &mut Net, ids: &Tensor, mask: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (_, l) = ids.dims2()?;
    let width = 128;
    let batch = net.step;
    let drop = |name: &str| Dropout { p: 0.1, stream: Stream::new(0, Purpose::Dropout, name).child(batch) };
    let pair = |net: &mut Net, name: &str, to: usize, from: usize| {
        (net.get(name, &[to, from], 0.05), net.full(&format!("{name}.bias"), to, 0.0))
    };
    let norm = |net: &mut Net, name: &str| {
        (net.full(&format!("{name}.scale"), width, 1.0), net.full(&format!("{name}.shift"), width, 0.0))
    };
    let table = net.get("embedding", &[20_000, width], 0.1);
    let positions = net.get("positions", &[l, width], 0.1);
    let mut x = embedding_at_positions(ids, &table, 1.0, &positions, Some(drop("in")))?;
    for layer in 0..2 {
        let name = |part: &str| format!("{layer}.{part}");
        let (in_proj, out_proj) =
            (pair(net, &name("in"), 3 * width, width), pair(net, &name("out"), width, width));
        let (up, down) = (pair(net, &name("up"), 256, width), pair(net, &name("down"), width, 256));
        let (norm1, norm2) = (norm(net, &name("norm1")), norm(net, &name("norm2")));
        let layer = EncoderLayer {
            heads: 4,
            norm: EncoderNorm::After,
            activation: EncoderActivation::Relu,
            in_proj: (&in_proj.0, &in_proj.1),
            out_proj: (&out_proj.0, &out_proj.1),
            linear1: (&up.0, &up.1),
            linear2: (&down.0, &down.1),
            norm1: (&norm1.0, &norm1.1),
            norm2: (&norm2.0, &norm2.1),
            eps: 1e-5,
            dropouts: ["attention", "a", "b"].map(|part| Some(drop(&name(part)))),
        };
        x = layer.forward(&x, mask)?;
    }
    let pooled = weighted_sum(&x, &(mask * (1.0 / l as f64))?)?;
    let (weight, bias) = pair(net, "fc", 2, width);
    cross_entropy(&linear(&pooled, &weight, Some(&bias))?, labels, 0.0)
}

fn report(
    name: &str,
    batch: usize,
    steps: usize,
    mut step: impl FnMut(&mut Net) -> Result<()>,
) -> Result<()> {
    let net = &mut Net::default();
    step(net)?;
    step(net)?;
    net.clock = (0.0, 0.0);
    let mut seconds = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        step(net)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let best = batch as f64 / seconds[0];
    println!("{name}: per_s {:.1} (best {best:.1}), ms {:.1}", batch as f64 / median, median * 1e3);
    let mean = |total: f64| total / steps as f64 * 1e3;
    println!("  mean ms: backward {:.1}, update {:.1}", mean(net.clock.0), mean(net.clock.1));
    Ok(())
}

fn copies() {
    let from = vec![1.0_f32; 64 << 20];
    for round in 0..4 {
        let start = Instant::now();
        let to = from.clone();
        println!("copy of 256 MB, round {round}: {:.1} GB/s", 0.268_435_456 / start.elapsed().as_secs_f64());
        drop(to);
    }
}

fn main() -> Result<()> {
    let which = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| which.is_empty() || which == name;
    println!("{}, {} threads", lrlab_kernels::numerics_class(), rayon::current_num_threads());
    let labels = |n: usize, classes: u32| {
        Tensor::from_vec((0..n as u32).map(|i| i % classes).collect(), n, &Device::Cpu)
    };
    let ids = || {
        let stream = Stream::new(0, Purpose::Synthetic, "ids");
        Tensor::from_vec(
            (0..64 * 200).map(|i| stream.below(i, 20_000) as u32).collect(),
            (64, 200),
            &Device::Cpu,
        )
    };
    let mask = Tensor::ones((64, 200), DType::F32, &Device::Cpu)?;
    if wanted("copy") {
        copies();
    }
    if wanted("resnet20") {
        let (x, labels) = (draw(&[128, 3, 32, 32], "pictures", 1.0), labels(128, 10)?);
        report("resnet20", 128, 5, |net| {
            let loss = resnet20(net, &x, &labels)?;
            net.update(&loss, true)
        })?;
    }
    if wanted("lstm") {
        let (ids, labels) = (ids()?, labels(64, 2)?);
        report("lstm", 64, 15, |net| {
            let loss = lstm_net(net, &ids, &mask, &labels)?;
            net.update(&loss, false)
        })?;
    }
    if wanted("transformer") {
        let (ids, labels) = (ids()?, labels(64, 2)?);
        report("transformer", 64, 7, |net| {
            let loss = transformer(net, &ids, &mask, &labels)?;
            net.update(&loss, false)
        })?;
    }
    Ok(())
}
