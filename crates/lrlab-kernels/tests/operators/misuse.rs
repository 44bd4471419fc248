//! Shapes that do not fit, nothing at all, and sizes beyond the address space are errors: no panic, no undefined
//! behaviour.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    AdamStep, Dropout, Norm, SgdStep, adam_update, attention, batch_norm2d, conv2d, cross_entropy,
    cross_entropy_each, dropout, embedding, global_avg_pool2d, layer_norm, linear, lstm, max_pool2d,
    sgd_update,
};
use lrlab_random::{Purpose, Stream};

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap()
}

/// One value seen as many.
fn huge(dims: &[usize]) -> Tensor {
    zeros(&vec![1; dims.len()]).broadcast_as(dims).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "each caller has just made it")]
fn refused<T>(what: &str, came: Result<T>) {
    assert!(came.is_err(), "{what} was accepted");
}

#[test]
fn convolutions() {
    let run = |x: &[usize], w: &[usize], stride, padding| conv2d(&zeros(x), &zeros(w), stride, padding);
    assert!(run(&[1, 3, 4, 4], &[2, 3, 3, 3], 1, 1).is_ok());
    refused("another number of channels", run(&[1, 3, 4, 4], &[2, 4, 3, 3], 1, 1));
    refused("rank 3", run(&[3, 4, 4], &[2, 3, 3, 3], 1, 1));
    refused("stride 0", run(&[1, 3, 4, 4], &[2, 3, 3, 3], 0, 1));
    refused("a kernel larger than the picture", run(&[1, 3, 2, 4], &[2, 3, 3, 3], 1, 0));
    refused("an empty batch", run(&[0, 3, 4, 4], &[2, 3, 3, 3], 1, 1));
    refused("no channels", run(&[1, 0, 4, 4], &[2, 0, 3, 3], 1, 1));
    refused("an empty weight", run(&[1, 3, 4, 4], &[0, 3, 3, 3], 1, 1));
    refused("an empty kernel", run(&[1, 3, 4, 4], &[2, 3, 0, 3], 1, 1));
    for padding in [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 1, 1 << 62, 1 << 40] {
        refused("a padding beyond memory", run(&[1, 3, 4, 4], &[2, 3, 3, 3], 1, padding));
    }
    let wide = huge(&[1 << 20, 1, 1 << 20, 1 << 20]);
    refused("a picture beyond memory", conv2d(&wide, &zeros(&[1 << 5, 1, 1, 1]), 1, 0));
}

#[test]
fn batch_norms() {
    let run = |x: &[usize], c: usize, mode, residual: Option<&[usize]>| {
        let (row, statistics) = (zeros(&[c]), Var::ones(c, DType::F32, &Device::Cpu)?);
        let other = Var::ones(c, DType::F32, &Device::Cpu)?;
        let residual = residual.map(zeros);
        batch_norm2d(&zeros(x), &row, &row, &statistics, &other, 1e-5, mode, residual.as_ref(), true)
    };
    let train = Norm::Train { momentum: 0.1 };
    assert!(run(&[2, 3, 4, 4], 3, train, Some(&[2, 3, 4, 4])).is_ok());
    refused("another number of channels", run(&[2, 3, 4, 4], 4, train, None));
    refused("rank 2", run(&[2, 3], 3, train, None));
    refused("a single value", run(&[1, 3, 1, 1], 3, train, None));
    refused("another residual", run(&[2, 3, 4, 4], 3, train, Some(&[2, 3, 4, 5])));
    for mode in [train, Norm::Eval] {
        refused("an empty batch", run(&[0, 3, 4, 4], 3, mode, None));
        refused("no channels", run(&[2, 0, 4, 4], 0, mode, None));
    }
}

#[test]
fn pools() {
    let run = |x: &[usize], kernel, stride, padding| max_pool2d(&zeros(x), kernel, stride, padding);
    assert!(run(&[1, 2, 4, 4], 3, 2, 1).is_ok());
    refused("kernel 0", run(&[1, 2, 4, 4], 0, 1, 0));
    refused("stride 0", run(&[1, 2, 4, 4], 2, 0, 0));
    refused("more padding than half the kernel", run(&[1, 2, 4, 4], 3, 1, 2));
    refused("a kernel larger than the picture", run(&[1, 2, 4, 4], 5, 1, 0));
    refused("an empty batch", run(&[0, 2, 4, 4], 2, 2, 0));
    refused("rank 3", run(&[2, 4, 4], 2, 2, 0));
    for size in [usize::MAX, usize::MAX / 2 + 1, 1 << 62] {
        refused("a padding that overflows", run(&[1, 2, 4, 4], 2, 1, size));
        refused("a kernel that overflows", run(&[1, 2, 4, 4], size, 1, size / 2));
    }
    refused("an empty average", global_avg_pool2d(&zeros(&[2, 3, 0, 4])));
    refused("an average of rank 3", global_avg_pool2d(&zeros(&[2, 3, 4])));
}

#[test]
fn linears_and_layer_norms() {
    let run = |x: &[usize], w: &[usize], b: &[usize]| linear(&zeros(x), &zeros(w), Some(&zeros(b)));
    assert!(run(&[2, 3], &[4, 3], &[4]).is_ok());
    refused("other inputs", run(&[2, 4], &[4, 3], &[4]));
    refused("another bias", run(&[2, 3], &[4, 3], &[3]));
    refused("an empty batch", run(&[0, 3], &[4, 3], &[4]));
    refused("no inputs", run(&[2, 0], &[4, 0], &[4]));
    refused("no outputs", run(&[2, 3], &[0, 3], &[0]));
    refused("a scalar", linear(&zeros(&[]), &zeros(&[4, 3]), None));
    let run = |x: &[usize], d: usize| layer_norm(&zeros(x), &zeros(&[d]), &zeros(&[d]), 1e-5);
    assert!(run(&[2, 3], 3).is_ok());
    refused("another width", run(&[2, 3], 4));
    refused("an empty batch", run(&[0, 3], 3));
    refused("no width", run(&[2, 0], 0));
    refused("a scalar", run(&[], 1));
}

#[test]
fn texts() {
    let ids = |dims: &[usize], id: u32| {
        let count = dims.iter().product();
        Tensor::from_vec(vec![id; count], dims, &Device::Cpu).unwrap()
    };
    assert!(embedding(&ids(&[2, 3], 4), &zeros(&[5, 2])).is_ok());
    refused("an id too large", embedding(&ids(&[2, 3], 5), &zeros(&[5, 2])));
    refused("ids of rank 1", embedding(&ids(&[3], 0), &zeros(&[5, 2])));
    refused("a table of rank 1", embedding(&ids(&[2, 3], 0), &zeros(&[5])));

    let run = |x: &[usize], w_ih: &[usize], w_hh: &[usize], bias: usize, mask: &[usize]| {
        let bias = zeros(&[bias]);
        lstm(&zeros(x), &zeros(w_ih), &zeros(w_hh), &bias, &bias, &zeros(mask), false)
    };
    assert!(run(&[2, 3, 4], &[20, 4], &[20, 5], 20, &[2, 3]).is_ok());
    refused("other inputs", run(&[2, 3, 4], &[20, 3], &[20, 5], 20, &[2, 3]));
    refused("other gates", run(&[2, 3, 4], &[15, 4], &[15, 5], 15, &[2, 3]));
    refused("another bias", run(&[2, 3, 4], &[20, 4], &[20, 5], 19, &[2, 3]));
    refused("another mask", run(&[2, 3, 4], &[20, 4], &[20, 5], 20, &[3, 2]));
    refused("an empty batch", run(&[0, 3, 4], &[20, 4], &[20, 5], 20, &[0, 3]));
    refused("no steps", run(&[2, 0, 4], &[20, 4], &[20, 5], 20, &[2, 0]));
    refused("no state", run(&[2, 3, 4], &[0, 4], &[0, 0], 0, &[2, 3]));

    let drop = |p| Some(Dropout { p, stream: Stream::new(0, Purpose::Dropout, "m") });
    let run = |q: &[usize], k: &[usize], mask: &[usize], drop| {
        attention(&zeros(q), &zeros(k), &zeros(k), &zeros(mask), drop)
    };
    assert!(run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 4], drop(0.5)).is_ok());
    refused("other keys", run(&[2, 3, 4, 5], &[2, 3, 5, 5], &[2, 4], None));
    refused("another mask", run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 5], None));
    refused("an empty batch", run(&[0, 3, 4, 5], &[0, 3, 4, 5], &[0, 4], None));
    refused("no width", run(&[2, 3, 4, 0], &[2, 3, 4, 0], &[2, 4], None));
    for p in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        refused("a probability", run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 4], drop(p)));
        refused("a probability", dropout(&zeros(&[3]), drop(p).unwrap()));
    }
}

#[test]
fn losses() {
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let run = |dims: &[usize], of: &[u32], smoothing| cross_entropy(&zeros(dims), &labels(of), smoothing);
    assert!(run(&[2, 3], &[0, 2], 0.1).is_ok());
    refused("a label too large", run(&[2, 3], &[0, 3], 0.0));
    refused("too few labels", run(&[2, 3], &[0], 0.0));
    refused("an empty batch", run(&[0, 3], &[], 0.0));
    refused("no classes", run(&[2, 0], &[0, 0], 0.0));
    for smoothing in [-0.1, 1.1, f64::NAN] {
        refused("a smoothing", run(&[2, 3], &[0, 2], smoothing));
    }
    refused("a label too large", cross_entropy_each(&zeros(&[1, 3]), &labels(&[3])));
    refused("too few labels", cross_entropy_each(&zeros(&[2, 3]), &labels(&[0])));
}

#[test]
fn updates() -> Result<()> {
    let var = |n: usize| Var::zeros(n, DType::F32, &Device::Cpu);
    let (w, m, v) = (var(4)?, var(4)?, var(4)?);
    let sgd = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, first: true };
    let adam = |step| AdamStep {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
        decoupled: false,
        step,
    };
    let grad = zeros(&[4]);
    assert!(sgd_update(&w, &grad, Some(&m), sgd).is_ok() && adam_update(&w, &grad, &m, &v, adam(1)).is_ok());
    refused("another gradient", sgd_update(&w, &zeros(&[3]), None, sgd));
    refused("another buffer", sgd_update(&w, &grad, Some(&var(5)?), sgd));
    refused("a tensor twice", sgd_update(&w, &grad, Some(&w), sgd));
    refused("another gradient", adam_update(&w, &zeros(&[2, 2]), &m, &v, adam(1)));
    refused("another moment", adam_update(&w, &grad, &m, &var(3)?, adam(1)));
    refused("a tensor twice", adam_update(&w, &grad, &m, &m, adam(1)));
    refused("step 0", adam_update(&w, &grad, &m, &v, adam(0)));
    Ok(())
}
