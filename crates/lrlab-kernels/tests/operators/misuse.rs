//! Shapes that do not fit, empty tensors, and sizes beyond the address space are errors: no panic, no undefined
//! behaviour.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    AdamStep, BatchNorm2d, Dropout, NormMode, Precision, SgdStep, adam_update, attention, conv2d,
    cross_entropy, cross_entropy_each, dropout, embedding, global_avg_pool2d, layer_norm, linear, max_pool2d,
    sgd_update,
};
use lrlab_random::{Purpose, Stream};

use crate::harness::lstm;

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap()
}

/// One value, broadcast.
fn huge(dims: &[usize]) -> Tensor {
    zeros(&vec![1; dims.len()]).broadcast_as(dims).unwrap()
}

/// Asserts that the result is an error whose message contains `words`.
#[track_caller]
fn assert_error<T>(words: &str, result: Result<T>) {
    let error = result.map_or_else(|error| error.to_string(), |_| "no error".to_owned());
    assert!(error.contains(words), "{error}");
}

#[test]
fn convolutions() {
    let run = |x: &[usize], w: &[usize], stride, padding| {
        conv2d(&zeros(x), &zeros(w), stride, padding, Precision::F32)
    };
    assert!(run(&[1, 3, 4, 4], &[2, 3, 3, 3], 1, 1).is_ok());
    assert_error("conv2d: input has 3 channels, weight 4", run(&[1, 3, 4, 4], &[2, 4, 3, 3], 1, 1));
    assert_error("conv2d: x of shape [3, 4, 4], expected (n, c, h, w)", run(&[3, 4, 4], &[2, 3, 3, 3], 1, 1));
    assert_error("conv2d: stride 0, expected at least 1", run(&[1, 3, 4, 4], &[2, 3, 3, 3], 0, 1));
    assert_error(
        "conv2d: kernel (3, 3) is larger than the padded input (2, 4)",
        run(&[1, 3, 2, 4], &[2, 3, 3, 3], 1, 0),
    );
    assert_error(
        "conv2d: empty input (0, 3, 4, 4) or weight (2, 3, 3, 3)",
        run(&[0, 3, 4, 4], &[2, 3, 3, 3], 1, 1),
    );
    assert_error(
        "conv2d: empty input (1, 0, 4, 4) or weight (2, 0, 3, 3)",
        run(&[1, 0, 4, 4], &[2, 0, 3, 3], 1, 1),
    );
    assert_error(
        "conv2d: empty input (1, 3, 4, 4) or weight (0, 3, 3, 3)",
        run(&[1, 3, 4, 4], &[0, 3, 3, 3], 1, 1),
    );
    assert_error(
        "conv2d: empty input (1, 3, 4, 4) or weight (2, 3, 0, 3)",
        run(&[1, 3, 4, 4], &[2, 3, 0, 3], 1, 1),
    );
    for padding in [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 1, 1 << 62, 1 << 40] {
        assert_error("overflow", run(&[1, 3, 4, 4], &[2, 3, 3, 3], 1, padding));
    }
    let wide = huge(&[1 << 20, 1, 1 << 20, 1 << 20]);
    assert_error(
        "conv2d: sizes [1048576, 16, 1048576, 1048576] overflow",
        conv2d(&wide, &zeros(&[1 << 5, 1, 1, 1]), 1, 0, Precision::F32),
    );
}

#[test]
fn batch_norms() {
    let run = |x: &[usize], c: usize, mode, residual: Option<&[usize]>| {
        let (row, statistics) = (zeros(&[c]), Var::ones(c, DType::F32, &Device::Cpu)?);
        let other = Var::ones(c, DType::F32, &Device::Cpu)?;
        let residual = residual.map(zeros);
        BatchNorm2d {
            scale: &row,
            shift: &row,
            running_mean: &statistics,
            running_var: &other,
            eps: 1e-5,
            mode,
            residual: residual.as_ref(),
            relu: true,
        }
        .forward(&zeros(x))
    };
    let train = NormMode::Train { momentum: 0.1 };
    assert!(run(&[2, 3, 4, 4], 3, train, Some(&[2, 3, 4, 4])).is_ok());
    assert_error("batch_norm2d: scale is [4] for 3 channels", run(&[2, 3, 4, 4], 4, train, None));
    assert_error("batch_norm2d: x of shape [2, 3], expected (n, c, h, w)", run(&[2, 3], 3, train, None));
    assert_error(
        "batch_norm2d: one value per channel has no variance, input [1, 3, 1, 1]",
        run(&[1, 3, 1, 1], 3, train, None),
    );
    assert_error(
        "batch_norm2d: residual [2, 3, 4, 5] for input [2, 3, 4, 4]",
        run(&[2, 3, 4, 4], 3, train, Some(&[2, 3, 4, 5])),
    );
    for mode in [train, NormMode::Eval] {
        assert_error("batch_norm2d: empty input [0, 3, 4, 4]", run(&[0, 3, 4, 4], 3, mode, None));
        assert_error("batch_norm2d: empty input [2, 0, 4, 4]", run(&[2, 0, 4, 4], 0, mode, None));
    }
}

#[test]
fn pools() {
    let run = |x: &[usize], kernel, stride, padding| max_pool2d(&zeros(x), kernel, stride, padding);
    assert!(run(&[1, 2, 4, 4], 3, 2, 1).is_ok());
    assert_error("max_pool2d: kernel 0, expected at least 1", run(&[1, 2, 4, 4], 0, 1, 0));
    assert_error("max_pool2d: stride 0, expected at least 1", run(&[1, 2, 4, 4], 2, 0, 0));
    assert_error("max_pool2d: padding 2, expected at most half the kernel of 3", run(&[1, 2, 4, 4], 3, 1, 2));
    assert_error(
        "max_pool2d: kernel 5 is larger than the input [1, 2, 4, 4] with padding 0",
        run(&[1, 2, 4, 4], 5, 1, 0),
    );
    assert_error("max_pool2d: empty input [0, 2, 4, 4]", run(&[0, 2, 4, 4], 2, 2, 0));
    assert_error("max_pool2d: x of shape [2, 4, 4], expected (n, c, h, w)", run(&[2, 4, 4], 2, 2, 0));
    for size in [usize::MAX, usize::MAX / 2 + 1, 1 << 62] {
        assert_error("expected at most half the kernel of 2", run(&[1, 2, 4, 4], 2, 1, size));
        assert_error("on input [1, 2, 4, 4] overflows", run(&[1, 2, 4, 4], size, 1, size / 2));
    }
    assert_error("global_avg_pool2d: empty input [2, 3, 0, 4]", global_avg_pool2d(&zeros(&[2, 3, 0, 4])));
    assert_error(
        "global_avg_pool2d: x of shape [2, 3, 4], expected (n, c, h, w)",
        global_avg_pool2d(&zeros(&[2, 3, 4])),
    );
}

#[test]
fn linears_and_layer_norms() {
    let run =
        |x: &[usize], w: &[usize], b: &[usize]| linear(&zeros(x), &zeros(w), Some(&zeros(b)), Precision::F32);
    assert!(run(&[2, 3], &[4, 3], &[4]).is_ok());
    assert_error("linear: input [2, 4] against weight [4, 3]", run(&[2, 4], &[4, 3], &[4]));
    assert_error("linear: bias [3] for 4 outputs", run(&[2, 3], &[4, 3], &[3]));
    assert_error("linear: empty input [0, 3] or weight [4, 3]", run(&[0, 3], &[4, 3], &[4]));
    assert_error("linear: empty input [2, 0] or weight [4, 0]", run(&[2, 0], &[4, 0], &[4]));
    assert_error("linear: empty input [2, 3] or weight [0, 3]", run(&[2, 3], &[0, 3], &[0]));
    assert_error(
        "linear: input [] against weight [4, 3]",
        linear(&zeros(&[]), &zeros(&[4, 3]), None, Precision::F32),
    );
    let run = |x: &[usize], d: usize| layer_norm(&zeros(x), &zeros(&[d]), &zeros(&[d]), 1e-5);
    assert!(run(&[2, 3], 3).is_ok());
    assert_error("layer_norm: scale [4], shift [4] for input [2, 3]", run(&[2, 3], 4));
    assert_error("layer_norm: empty input [0, 3]", run(&[0, 3], 3));
    assert_error("layer_norm: empty input [2, 0]", run(&[2, 0], 0));
    assert_error("layer_norm: x of shape [], expected (…, d)", run(&[], 1));
}

#[test]
fn texts() {
    let ids = |dims: &[usize], id: u32| {
        let count = dims.iter().product();
        Tensor::from_vec(vec![id; count], dims, &Device::Cpu).unwrap()
    };
    assert!(embedding(&ids(&[2, 3], 4), &zeros(&[5, 2])).is_ok());
    assert_error(
        "embedding: 5 in ids at [0, 0], expected 0 to 4",
        embedding(&ids(&[2, 3], 5), &zeros(&[5, 2])),
    );
    assert_error("embedding: ids of shape [3], expected (b, l)", embedding(&ids(&[3], 0), &zeros(&[5, 2])));
    assert_error("embedding: table of shape [5], expected (v, d)", embedding(&ids(&[2, 3], 0), &zeros(&[5])));

    let run = |x: &[usize], w_ih: &[usize], w_hh: &[usize], bias: usize, mask: &[usize]| {
        let bias = zeros(&[bias]);
        lstm(&zeros(x), [&zeros(w_ih), &zeros(w_hh), &bias, &bias], &zeros(mask), false)
    };
    assert!(run(&[2, 3, 4], &[20, 4], &[20, 5], 20, &[2, 3]).is_ok());
    assert_error(
        "lstm: input (2, 3, 4), w_ih [20, 3], w_hh [20, 5], b_ih [20], b_hh [20] do not fit",
        run(&[2, 3, 4], &[20, 3], &[20, 5], 20, &[2, 3]),
    );
    assert_error(
        "lstm: input (2, 3, 4), w_ih [15, 4], w_hh [15, 5], b_ih [15], b_hh [15] do not fit",
        run(&[2, 3, 4], &[15, 4], &[15, 5], 15, &[2, 3]),
    );
    assert_error(
        "lstm: input (2, 3, 4), w_ih [20, 4], w_hh [20, 5], b_ih [19], b_hh [19] do not fit",
        run(&[2, 3, 4], &[20, 4], &[20, 5], 19, &[2, 3]),
    );
    assert_error(
        "lstm: mask of shape [3, 2], expected [2, 3]",
        run(&[2, 3, 4], &[20, 4], &[20, 5], 20, &[3, 2]),
    );
    assert_error(
        "lstm: empty input (0, 3, 4) or weight [20, 5]",
        run(&[0, 3, 4], &[20, 4], &[20, 5], 20, &[0, 3]),
    );
    assert_error(
        "lstm: empty input (2, 0, 4) or weight [20, 5]",
        run(&[2, 0, 4], &[20, 4], &[20, 5], 20, &[2, 0]),
    );
    assert_error(
        "lstm: empty input (2, 3, 4) or weight [0, 0]",
        run(&[2, 3, 4], &[0, 4], &[0, 0], 0, &[2, 3]),
    );

    let drop = |p| Some(Dropout { p, stream: Stream::new(0, Purpose::Dropout, "m") });
    let run = |q: &[usize], k: &[usize], mask: &[usize], drop| {
        attention(&zeros(q), &zeros(k), &zeros(k), &zeros(mask), drop, Precision::F32)
    };
    assert!(run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 4], drop(0.5)).is_ok());
    assert_error(
        "attention: q [2, 3, 4, 5], k [2, 3, 5, 5], v [2, 3, 5, 5] differ in shape",
        run(&[2, 3, 4, 5], &[2, 3, 5, 5], &[2, 4], None),
    );
    assert_error(
        "attention: mask of shape [2, 5], expected [2, 4]",
        run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 5], None),
    );
    assert_error("attention: empty input [0, 3, 4, 5]", run(&[0, 3, 4, 5], &[0, 3, 4, 5], &[0, 4], None));
    assert_error("attention: empty input [2, 3, 4, 0]", run(&[2, 3, 4, 0], &[2, 3, 4, 0], &[2, 4], None));
    for p in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        assert_error("attention: p is ", run(&[2, 3, 4, 5], &[2, 3, 4, 5], &[2, 4], drop(p)));
        assert_error("dropout: p is ", dropout(&zeros(&[3]), drop(p).unwrap()));
    }
}

#[test]
fn losses() {
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let run = |dims: &[usize], of: &[u32], smoothing| cross_entropy(&zeros(dims), &labels(of), smoothing);
    assert!(run(&[2, 3], &[0, 2], 0.1).is_ok());
    assert_error("cross_entropy: 3 in labels at [1], expected 0 to 2", run(&[2, 3], &[0, 3], 0.0));
    assert_error(
        "cross_entropy: labels of shape [1], expected [2] for 2 rows of logits",
        run(&[2, 3], &[0], 0.0),
    );
    assert_error("cross_entropy: empty logits [0, 3]", run(&[0, 3], &[], 0.0));
    assert_error("cross_entropy: empty logits [2, 0]", run(&[2, 0], &[0, 0], 0.0));
    for smoothing in [-0.1, 1.1, f64::NAN] {
        assert_error("cross_entropy: smoothing is ", run(&[2, 3], &[0, 2], smoothing));
    }
    assert_error(
        "cross_entropy_each: 3 in labels at [0], expected 0 to 2",
        cross_entropy_each(&zeros(&[1, 3]), &labels(&[3])),
    );
    assert_error(
        "cross_entropy_each: labels of shape [1], expected [2] for 2 rows of logits",
        cross_entropy_each(&zeros(&[2, 3]), &labels(&[0])),
    );
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
    assert_error("sgd_update: [3] for a parameter of [4]", sgd_update(&w, &zeros(&[3]), None, sgd));
    assert_error("sgd_update: [5] for a parameter of [4]", sgd_update(&w, &grad, Some(&var(5)?), sgd));
    assert_error("sgd_update: a tensor is given twice", sgd_update(&w, &grad, Some(&w), sgd));
    assert_error(
        "adam_update: [2, 2] for a parameter of [4]",
        adam_update(&w, &zeros(&[2, 2]), &m, &v, adam(1)),
    );
    assert_error("adam_update: [3] for a parameter of [4]", adam_update(&w, &grad, &m, &var(3)?, adam(1)));
    assert_error("adam_update: a tensor is given twice", adam_update(&w, &grad, &m, &m, adam(1)));
    assert_error(
        "adam_update: step 0, expected 1 or more: steps count from 1",
        adam_update(&w, &grad, &m, &v, adam(0)),
    );
    Ok(())
}
