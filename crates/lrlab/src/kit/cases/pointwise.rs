//! Activations, dropout, layer norm, linear maps, cross entropy, the norm of a vector.

use candle_core::{DType, Result, Tensor, Var, bail};
use lrlab_kernels::{
    Dropout, Precision, cross_entropy, cross_entropy_each, dropout, gelu, layer_norm, linear, relu,
    squared_norm,
};
use lrlab_random::{Purpose, Stream};

use super::dims::joined;
use crate::kit::compare::Case;
use crate::kit::side::Wanted;

/// Shapes for elementwise operators.
const SHAPES: [&[usize]; 4] = [&[1], &[3, 5], &[7, 33, 20], &[40_001]];

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = SHAPES.into_iter().map(relus).collect();
    all.extend(SHAPES.into_iter().map(gelus));
    for p in [0.1, 0.5, 0.9] {
        all.extend(SHAPES.into_iter().map(|dims| dropouts(dims, p)));
    }
    all.push(Case::new("gelu", "a gradient of NaN", |side| {
        // The slope at −20 is 0 in f32.
        let x = Var::from_tensor(&Tensor::new(&[-20.0_f32, -1.0, 0.0, 2.0], &side.device)?)?;
        let grads = lrlab_kernels::backward(&(gelu(&x)? * f64::NAN)?.sum_all()?)?;
        let Some(grad) = grads.get(&x) else { bail!("there is no gradient of x") };
        side.note_nan("where the gradient is NaN", grad)?;
        Ok(Vec::new())
    }));
    all.push(Case::new("dropout", "an empty view", |side| {
        let drop = Dropout { p: 0.5, stream: Stream::new(3, Purpose::Dropout, "kit") };
        let y = dropout(&side.data("x", &[3, 5], 1.0)?.narrow(0, 0, 0)?, drop)?;
        side.note("shape", y.dims().iter().map(|side| *side as f64).collect());
        Ok(Vec::new())
    }));
    let norms: [&[usize]; 5] = [&[3, 4], &[5, 2, 33], &[2, 7, 128], &[300, 17], &[4, 1000]];
    all.extend(norms.into_iter().map(|dims| layer_norms(dims, Wanted::All)));
    all.extend([Wanted::Parameters, Wanted::Input].map(|wanted| layer_norms(&[5, 2, 33], wanted)));
    all.extend(linears());
    for (n, c) in [(1, 2), (1, 10), (7, 10), (128, 10), (5, 1000), (3, 17), (3, 1500)] {
        all.extend([0.0, 0.1, 1.0].map(|smoothing| cross_entropies(n, c, smoothing)));
    }
    for (n, c) in [(1, 2), (7, 10), (128, 10), (5, 1000)] {
        all.push(impossible(n, c));
        all.extend([0.0, 0.1].map(|smoothing| invalid_label(n, c, smoothing)));
    }
    all.extend([(1, 2), (128, 10), (9, 1000)].map(|(n, c)| each(n, c)));
    all.extend([1, 7, 40_001, 300_000].map(|count| {
        Case::new("squared_norm", format!("{count} values"), move |side| {
            side.note("norm", vec![squared_norm(&side.data("x", &[count], 1.0)?)?]);
            Ok(Vec::new())
        })
    }));
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    vec![
        relus(&[3, 5]),
        gelus(&[3, 5]),
        dropouts(&[7, 20], 0.5),
        layer_norms(&[3, 17], Wanted::All),
        affine(&[4, 17], 10, true),
        cross_entropies(4, 10, 0.1),
        Case::new("cross_entropy_each", "4×10", |side| {
            let logits = side.var("logits", &[4, 10], 3.0)?;
            side.note("losses", cross_entropy_each(&logits, &side.ids("labels", &[4], 10)?)?);
            Ok(Vec::new())
        }),
        Case::new("squared_norm", "33 values", |side| {
            side.note("norm", vec![squared_norm(&side.var("x", &[33], 1.0)?)?]);
            Ok(Vec::new())
        }),
    ]
}

fn relus(dims: &'static [usize]) -> Case {
    Case::new("relu", joined(dims), move |side| Ok(vec![("y", relu(&side.var("x", dims, 1.0)?)?)]))
        .kinks(true)
}

fn gelus(dims: &'static [usize]) -> Case {
    Case::new("gelu", joined(dims), move |side| Ok(vec![("y", gelu(&side.var("x", dims, 1.5)?)?)]))
}

fn dropouts(dims: &'static [usize], p: f64) -> Case {
    Case::new("dropout", format!("{} at {p}", joined(dims)), move |side| {
        let drop = Dropout { p, stream: Stream::new(3, Purpose::Dropout, "kit") };
        Ok(vec![("y", dropout(&side.var("x", dims, 1.0)?, drop)?)])
    })
    .drops()
}

fn layer_norms(dims: &'static [usize], wanted: Wanted) -> Case {
    Case::new("layer_norm", format!("{}{}", joined(dims), wanted.words()), move |side| {
        let width = &dims[dims.len() - 1..];
        let x = (side.input(wanted, "x", dims, 2.0)? + 0.5)?;
        let scale = side.weight(wanted, "scale", width, 1.0, 0.3)?;
        let shift = side.weight(wanted, "shift", width, 0.0, 0.5)?;
        Ok(vec![("y", layer_norm(&x, &scale, &shift, 1e-5)?)])
    })
}

fn linears() -> Vec<Case> {
    let shapes: [(&[usize], usize); 6] = [
        (&[1, 1], 1),
        (&[3, 17], 10),
        (&[2, 7, 33], 5),
        (&[128, 64], 10),
        (&[4, 50, 128], 256),
        (&[601, 3], 2),
    ];
    let mut all: Vec<Case> = shapes
        .into_iter()
        .flat_map(|(dims, out)| [true, false].map(|bias| affine(dims, out, bias)))
        .collect();
    all.push(
        Case::new("linear", "no precision", |side| {
            let (x, weight) = (side.var("x", &[5, 20], 1.0)?, side.var("weight", &[7, 20], 0.2)?);
            Ok(vec![("y", linear(&x, &weight, Some(&side.var("bias", &[7], 1.0)?), Precision::F32)?)])
        })
        .products(),
    );
    // More columns than the counters of a sum have at first.
    all.push(affine(&[2, 1], 600_001, true));
    all.push(
        Case::new("linear", "a bias alone has a gradient, results beyond bf16", |side| {
            let (x, weight) = (side.data("x", &[5, 20], 1.0)?, side.data("weight", &[7, 20], 0.2)?);
            let y = linear(&x, &weight, Some(&side.var("bias", &[7], 1.0)?), side.precision)?;
            side.note_rounded("whether the results are rounded", &y)?;
            Ok(vec![("y", y)])
        })
        .mixed(),
    );
    for (x, weight) in [(false, true), (true, false), (false, false), (true, true)] {
        // Skips cases without gradients.
        let biases =
            [Some(true), Some(false), None].into_iter().filter(|bias| x || weight || *bias == Some(true));
        all.extend(biases.map(|bias| affine_of(x, weight, bias)));
    }
    all
}

/// Creates a case in which the operands that are `true` are variables; the others have no gradient.
fn affine_of(x: bool, weight: bool, bias: Option<bool>) -> Case {
    let all = [(Some(x), "x"), (Some(weight), "weight"), (bias, "bias")];
    let named = |of: bool| {
        let names: Vec<&str> = all.iter().filter(|(is, _)| *is == Some(of)).map(|(_, name)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") }
    };
    let what = format!("gradients of {}, none of {}", named(true), named(false));
    Case::new("linear", what, move |side| {
        let x = side.variable_or_data(x, "x", &[3, 9, 20], 1.0)?;
        let weight = side.variable_or_data(weight, "weight", &[7, 20], 0.2)?;
        let bias = bias.map(|bias| side.variable_or_data(bias, "bias", &[7], 1.0)).transpose()?;
        Ok(vec![("y", linear(&x, &weight, bias.as_ref(), side.precision)?)])
    })
    .mixed()
}

fn affine(dims: &'static [usize], out: usize, bias: bool) -> Case {
    let what = format!("x {}, {out} outputs{}", joined(dims), if bias { "" } else { ", no bias" });
    Case::new("linear", what, move |side| {
        let inputs = dims[dims.len() - 1];
        let x = side.var("x", dims, 1.0)?;
        let weight = side.var("weight", &[out, inputs], 1.0 / (inputs as f64).sqrt())?;
        let bias = if bias { Some(side.var("bias", &[out], 1.0)?) } else { None };
        let bias = bias.as_ref();
        Ok(vec![("y", linear(&x, &weight, bias, side.precision)?)])
    })
    .mixed()
}

fn cross_entropies(n: usize, c: usize, smoothing: f64) -> Case {
    Case::new("cross_entropy", format!("{n}×{c}, smoothing {smoothing}"), move |side| {
        let (logits, labels) = (side.var("logits", &[n, c], 3.0)?, side.ids("labels", &[n], c)?);
        Ok(vec![("loss", cross_entropy(&logits, &labels, smoothing)?)])
    })
}

/// In each row, one class other than the label has probability 0.
fn impossible(n: usize, c: usize) -> Case {
    Case::new("cross_entropy", format!("{n}×{c}, a class of probability 0"), move |side| {
        let labels = side.ids("labels", &[n], c)?;
        let mut holes = vec![0.0_f32; n * c];
        for (row, label) in holes.chunks_mut(c).zip(labels.to_vec1::<u32>()?) {
            row[(label as usize + 1) % c] = f32::NEG_INFINITY;
        }
        let logits = side.var("logits", &[n, c], 3.0)?;
        let holes = Tensor::from_vec(holes, (n, c), &side.device)?.to_dtype(logits.dtype())?;
        let logits = (logits + holes)?;
        // With smoothing, the target probability of the class is positive.
        let smoothed = cross_entropy(&logits, &labels, 0.1)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        side.note(
            "whether the smoothed loss is infinite",
            vec![f64::from(u8::from(smoothed == f64::INFINITY))],
        );
        Ok(vec![("loss", cross_entropy(&logits, &labels, 0.0)?)])
    })
}

/// The last row's label is not a class.
fn invalid_label(n: usize, c: usize, smoothing: f64) -> Case {
    let what = format!("{n}×{c}, smoothing {smoothing}, a label out of range");
    Case::new("cross_entropy", what, move |side| {
        for beyond in [0, 1, 1000] {
            let mut labels = side.ids("labels", &[n], c)?.to_vec1::<u32>()?;
            labels[n - 1] = (c + beyond) as u32;
            let labels = Tensor::from_vec(labels, n, &side.device)?;
            let logits = Var::from_tensor(&side.data("logits", &[n, c], 3.0)?)?;
            if !is_rejected(&logits, &labels, smoothing)? {
                bail!("label {} of {c} classes has a finite loss or gradient", c + beyond);
            }
        }
        // As u32, they would be classes.
        for label in [-1_i64, 1 << 32, (1 << 32) + 1, -(1 << 32)] {
            let mut labels = vec![0_i64; n];
            labels[n - 1] = label;
            let labels = Tensor::from_vec(labels, n, &side.device)?;
            let logits = Var::from_tensor(&side.data("logits", &[n, c], 3.0)?)?;
            if !is_rejected(&logits, &labels, smoothing)? {
                bail!("label {label} of {c} classes has a finite loss or gradient");
            }
        }
        side.note("labels refused", vec![3.0]);
        Ok(Vec::new())
    })
}

/// Returns whether the loss is an error, or the loss and the gradient of the last row are NaN.
fn is_rejected(logits: &Var, labels: &Tensor, smoothing: f64) -> Result<bool> {
    let Ok(loss) = cross_entropy(logits, labels, smoothing) else { return Ok(true) };
    let grads = lrlab_kernels::backward(&loss)?;
    let Some(grad) = grads.get(logits) else { bail!("there is no gradient of logits") };
    let last = grad.get(grad.dim(0)? - 1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok(loss.is_nan() && last.iter().all(|slope| slope.is_nan()))
}

fn each(n: usize, c: usize) -> Case {
    Case::new("cross_entropy_each", format!("{n}×{c}"), move |side| {
        let (logits, labels) = (side.data("logits", &[n, c], 3.0)?, side.ids("labels", &[n], c)?);
        side.note("losses", cross_entropy_each(&logits, &labels)?);
        Ok(Vec::new())
    })
}
