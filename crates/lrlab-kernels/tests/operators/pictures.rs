//! Convolution, batch norm, pooling.

use candle_core::{Result, Tensor, Var};
use lrlab_kernels::{BatchNorm2d, NormMode, Precision, conv2d, global_avg_pool2d, max_pool2d};

use crate::harness::{Array, Draw, check, close, tensor, values};
use crate::reference;

fn convolution(draw: &mut Draw, x: [usize; 4], [o, kh, kw]: [usize; 3], stride: usize, padding: usize) {
    let weight = [o, x[1], kh, kw];
    let operands = [draw.normal(&x, 1.0), draw.normal(&weight, 0.3)];
    check(
        &format!("conv2d with stride {stride} and padding {padding}"),
        draw,
        &operands,
        1e-4,
        |v| conv2d(&v[0], &v[1], stride, padding, Precision::F32),
        |v| reference::conv2d(&v[0], &v[1], stride, padding),
    );
}

#[test]
fn convolutions_of_random_shapes() {
    let mut draw = Draw::new("conv");
    for _ in 0..24 {
        let (kh, kw) = (draw.size(1, 4), draw.size(1, 4));
        let (stride, padding) = (draw.size(1, 3), draw.size(0, 3));
        let side = |draw: &mut Draw, kernel: usize| draw.size(kernel.saturating_sub(2 * padding).max(1), 9);
        let (h, w) = (side(&mut draw, kh), side(&mut draw, kw));
        let x = [draw.size(1, 3), draw.size(1, 6), h, w];
        let o = draw.size(1, 6);
        convolution(&mut draw, x, [o, kh, kw], stride, padding);
    }
}

/// The kernels and strides of residual networks, at numbers of channels around the vectors' width and pictures around
/// the tiles' size.
#[test]
fn convolutions_of_residual_networks() {
    let mut draw = Draw::new("residual conv");
    for (kernel, stride) in [(3, 1), (3, 1), (3, 1), (3, 2), (3, 2), (1, 2), (1, 1), (7, 2)] {
        let channels = [1, 3, 15, 16, 17, 33];
        let (c, o) = (draw.pick(&channels), draw.pick(&channels));
        let (h, w) = (draw.size(1, 7), draw.size(1, 7));
        let batch = draw.size(1, 2);
        convolution(&mut draw, [batch, c, h, w], [o, kernel, kernel], stride, kernel / 2);
    }
    convolution(&mut draw, [2, 16, 8, 8], [16, 3, 3], 1, 1);
    convolution(&mut draw, [1, 16, 9, 17], [32, 3, 3], 1, 1);
    convolution(&mut draw, [1, 32, 8, 8], [16, 3, 3], 2, 1);
    convolution(&mut draw, [33, 2, 1, 1], [2, 3, 3], 1, 1);
    convolution(&mut draw, [1, 3, 32, 32], [4, 3, 3], 1, 1);
    convolution(&mut draw, [1, 3, 16, 16], [5, 7, 7], 2, 3);
}

#[test]
fn batch_norms() -> Result<()> {
    let mut draw = Draw::new("batch norm");
    let (eps, momentum) = (1e-5, 0.1);
    for case in 0..24 {
        let dims = [draw.size(1, 5), draw.pick(&[1, 2, 3, 16, 17]), draw.size(1, 5), draw.size(1, 6)];
        let (train, residual, relu) = (draw.flip(), draw.flip(), draw.flip());
        if train && dims[0] * dims[2] * dims[3] < 4 {
            // The variance of few values is tiny, and f32 cannot resolve the large gradients.
            continue;
        }
        let c = dims[1];
        let mut operands = vec![draw.normal(&dims, 2.0), draw.normal(&[c], 1.0), draw.normal(&[c], 1.0)];
        operands[0] = operands[0].map(|v| v + 0.5);
        if residual {
            operands.push(draw.normal(&dims, 1.0));
        }
        let means = draw.normal(&[c], 1.0);
        let variances = draw.normal(&[c], 1.0).map(|v| f64::from((v * v + 0.5) as f32));
        let mode = if train { NormMode::Train { momentum } } else { NormMode::Eval };
        let running = || Ok::<_, candle_core::Error>((var(&means)?, var(&variances)?));
        check(
            &format!("batch_norm2d {case}, {mode:?}, relu {relu}"),
            &mut draw,
            &operands,
            1e-4,
            |v| {
                let (mean, variance) = running()?;
                BatchNorm2d {
                    scale: &v[1],
                    shift: &v[2],
                    running_mean: &mean,
                    running_var: &variance,
                    eps,
                    mode,
                    residual: v.get(3),
                    relu,
                }
                .forward(&v[0])
            },
            |v| {
                let seen = reference::channel_statistics(&v[0]);
                let fixed = (means.data.clone(), variances.data.clone());
                let (m, s) = if train { seen } else { fixed };
                reference::batch_norm(&v[0], &v[1], &v[2], (&m, &s), eps, v.get(3), relu)
            },
        );
        let (mean, variance) = running()?;
        let v: Vec<Tensor> = operands.iter().map(tensor).collect();
        BatchNorm2d {
            scale: &v[1],
            shift: &v[2],
            running_mean: &mean,
            running_var: &variance,
            eps,
            mode,
            residual: v.get(3),
            relu,
        }
        .forward(&v[0])?;
        let (m, s) = reference::channel_statistics(&operands[0]);
        let count = (dims[0] * dims[2] * dims[3]) as f64;
        let remembered = |old: &Array, new: &[f64], factor: f64| -> Vec<f64> {
            let share = if train { momentum } else { 0.0 };
            old.data.iter().zip(new).map(|(o, n)| o * (1.0 - share) + factor * n * share).collect()
        };
        close("running mean", &values(&mean), &remembered(&means, &m, 1.0), 1e-5);
        let unbiased = count / (count - 1.0).max(1.0);
        close("running variance", &values(&variance), &remembered(&variances, &s, unbiased), 1e-5);
    }
    Ok(())
}

fn var(x: &Array) -> Result<Var> {
    Var::from_tensor(&tensor(x))
}

#[test]
fn pools() {
    let mut draw = Draw::new("pool");
    for _ in 0..24 {
        let (kernel, stride) = (draw.size(1, 4), draw.size(1, 3));
        let padding = draw.size(0, kernel / 2);
        let mut side = || draw.size(kernel.saturating_sub(2 * padding).max(1), 9);
        let (h, w) = (side(), side());
        let dims = [draw.size(1, 3), draw.pick(&[1, 3, 16, 18]), h, w];
        let operands = [draw.normal(&dims, 1.0)];
        check(
            &format!("max_pool2d {kernel}, stride {stride}, padding {padding}"),
            &mut draw,
            &operands,
            1e-6,
            |v| max_pool2d(&v[0], kernel, stride, padding),
            |v| reference::max_pool2d(&v[0], kernel, stride, padding),
        );
        check(
            "global_avg_pool2d",
            &mut draw,
            &operands,
            1e-5,
            |v| global_avg_pool2d(&v[0]),
            |v| reference::global_avg_pool2d(&v[0]),
        );
    }
}

/// If all values of a window are equal, one of them gets the whole gradient.
#[test]
fn max_pool_passes_the_gradient_of_a_tie_once() -> Result<()> {
    let x = Var::from_tensor(&Tensor::full(-1.0_f32, (1, 2, 4, 4), &candle_core::Device::Cpu)?)?;
    let grads = max_pool2d(&x, 2, 2, 0)?.backward()?;
    let grad = grads.get(&x).unwrap();
    assert_eq!(values(&max_pool2d(grad, 1, 1, 0)?.sum_all()?), [8.0]);
    let windows = global_avg_pool2d(&grad.reshape((4, 2, 2, 2))?)?;
    assert!(values(&windows).iter().all(|v| (0.0..=1.0).contains(v)));
    Ok(())
}
