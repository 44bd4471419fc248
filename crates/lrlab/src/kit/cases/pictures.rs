//! Convolution, batch norm, pools.

use lrlab_kernels::{BatchNorm2d, NormMode, Precision, conv2d, global_avg_pool2d, max_pool2d};

use super::dims::joined;
use crate::kit::compare::Case;
use crate::kit::side::Wanted;

pub(super) fn cases() -> Vec<Case> {
    let mut all = convolutions();
    all.extend(norms());
    all.extend(pools());
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    let mut all =
        vec![convolution([2, 3, 8, 8], [10, 3, 3], 1, 1), convolution([2, 3, 9, 7], [5, 1, 1], 2, 0)];
    for train in [true, false] {
        all.push(norm([2, 3, 4, 5], train, None, true, Wanted::All));
    }
    all.push(max_pool([2, 3, 7, 7], 3, 2, 1));
    all.push(average([2, 3, 5, 4]));
    all
}

fn convolutions() -> Vec<Case> {
    let mut all: Vec<Case> = [
        // x, (outputs, kernel height, kernel width), stride, padding
        ([4, 3, 32, 32], [16, 3, 3], 1, 1),
        ([3, 10, 7, 9], [17, 3, 3], 1, 1),
        ([2, 16, 16, 16], [16, 3, 3], 1, 1),
        ([4, 64, 8, 8], [64, 3, 3], 1, 1),
        ([4, 16, 8, 8], [32, 3, 3], 2, 1),
        ([2, 17, 9, 7], [10, 3, 3], 2, 1),
        ([2, 17, 5, 6], [10, 1, 1], 1, 0),
        ([2, 16, 9, 9], [32, 1, 1], 2, 0),
        ([2, 3, 33, 31], [64, 7, 7], 2, 3),
        ([1, 3, 11, 10], [5, 7, 7], 1, 3),
        ([33, 2, 1, 1], [2, 3, 3], 1, 1),
        ([2, 5, 11, 8], [6, 3, 3], 3, 0),
        ([2, 3, 6, 5], [4, 4, 2], 1, 1),
        ([16, 128, 4, 4], [128, 3, 3], 1, 1),
    ]
    .into_iter()
    .map(|(x, kernel, stride, padding)| convolution(x, kernel, stride, padding))
    .collect();
    // The first layer: pictures have no gradient.
    all.push(
        Case::new("conv2d", "pictures without a gradient", |side| {
            let x = side.data("x", &[2, 3, 15, 17], 1.0)?;
            let weight = side.var("weight", &[10, 3, 3, 3], 0.2)?;
            Ok(vec![("y", conv2d(&x, &weight, 1, 1, Precision::F32)?)])
        })
        .products(),
    );
    all.push(
        Case::new("conv2d", "weight without a gradient", |side| {
            let (x, weight) =
                (side.var("x", &[2, 3, 15, 17], 1.0)?, side.data("weight", &[10, 3, 3, 3], 0.2)?);
            Ok(vec![("y", conv2d(&x, &weight, 1, 1, Precision::F32)?)])
        })
        .products(),
    );
    all
}

fn convolution(x: [usize; 4], [o, kh, kw]: [usize; 3], stride: usize, padding: usize) -> Case {
    let what = format!("x {}, {o} of {kh}×{kw}, stride {stride}, padding {padding}", joined(&x));
    Case::new("conv2d", what, move |side| {
        let deviation = 1.0 / ((x[1] * kh * kw) as f64).sqrt();
        let weight = [o, x[1], kh, kw];
        let (x, weight) = (side.var("x", &x, 1.0)?, side.var("weight", &weight, deviation)?);
        Ok(vec![("y", conv2d(&x, &weight, stride, padding, side.precision)?)])
    })
    .mixed()
}

fn norms() -> Vec<Case> {
    let mut all = Vec::new();
    for dims in [[8, 10, 7, 5], [4, 64, 8, 8], [32, 3, 1, 1], [2, 17, 1, 3], [1, 10, 6, 5]] {
        for train in [true, false] {
            for relu in [false, true] {
                all.extend([None, Some(true)].map(|residual| norm(dims, train, residual, relu, Wanted::All)));
            }
        }
    }
    for train in [true, false] {
        for residual in [None, Some(false), Some(true)] {
            for wanted in [Wanted::Parameters, Wanted::Input] {
                all.push(norm([3, 10, 7, 5], train, residual, true, wanted));
            }
        }
        all.push(norm([3, 10, 7, 5], train, Some(false), true, Wanted::All));
    }
    all
}

/// Creates a case; `residual` is whether the residual, if there is one, has a gradient.
fn norm(dims: [usize; 4], train: bool, residual: Option<bool>, relu: bool, wanted: Wanted) -> Case {
    let mode = if train { NormMode::Train { momentum: 0.1 } } else { NormMode::Eval };
    let mut what = format!("x {}, {}", joined(&dims), if train { "training" } else { "evaluation" });
    what.push_str(match residual {
        Some(true) => ", residual",
        Some(false) => ", residual without a gradient",
        None => "",
    });
    what.push_str(if relu { ", relu" } else { "" });
    what.push_str(wanted.words());
    Case::new("batch_norm2d", what, move |side| {
        let channels = &dims[1..2];
        let x = (side.input(wanted, "x", &dims, 2.0)? + 0.5)?;
        let scale = side.weight(wanted, "scale", channels, 1.0, 0.3)?;
        let shift = side.weight(wanted, "shift", channels, 0.0, 0.5)?;
        let residual = match residual {
            Some(true) => Some(side.var("residual", &dims, 1.0)?),
            Some(false) => Some(side.data("residual", &dims, 1.0)?),
            None => None,
        };
        let (mean, variance) =
            (side.signed_state("running mean", channels)?, side.state("running variance", channels)?);
        let residual = residual.as_ref();
        let y = BatchNorm2d {
            scale: &scale,
            shift: &shift,
            running_mean: &mean,
            running_var: &variance,
            eps: 1e-5,
            mode,
            residual,
            relu,
        }
        .forward(&x)?;
        Ok(vec![("y", y)])
    })
    .kinks(relu)
}

fn pools() -> Vec<Case> {
    let windows = [(3, 2, 1), (2, 2, 0), (3, 1, 1), (1, 2, 0), (2, 3, 1)];
    let shapes = [[2, 10, 9, 7], [3, 64, 16, 16]];
    let mut all: Vec<Case> = shapes
        .into_iter()
        .flat_map(|dims| windows.map(|(kernel, stride, padding)| max_pool(dims, kernel, stride, padding)))
        .collect();
    all.extend([[2, 10, 9, 7], [4, 64, 8, 8], [3, 17, 1, 1], [1, 3, 31, 33]].map(average));
    all
}

fn max_pool(dims: [usize; 4], kernel: usize, stride: usize, padding: usize) -> Case {
    let what = format!("x {}, {kernel}×{kernel}, stride {stride}, padding {padding}", joined(&dims));
    Case::new("max_pool2d", what, move |side| {
        Ok(vec![("y", max_pool2d(&side.var("x", &dims, 1.0)?, kernel, stride, padding)?)])
    })
    .kinks(true)
}

fn average(dims: [usize; 4]) -> Case {
    Case::new("global_avg_pool2d", format!("x {}", joined(&dims)), move |side| {
        Ok(vec![("y", global_avg_pool2d(&side.var_around("x", &dims, 0.5, 1.0)?)?)])
    })
}
