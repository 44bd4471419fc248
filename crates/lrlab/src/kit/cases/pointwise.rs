//! Activations, dropout, layer norm, linear maps, cross entropy, the norm of a vector.

use lrlab_kernels::{
    Dropout, cross_entropy, cross_entropy_each, dropout, gelu, layer_norm, linear, linear_in, relu,
    squared_norm,
};
use lrlab_random::{Purpose, Stream};

use super::joined;
use crate::kit::compare::Case;

/// Shapes of maps from value to value.
const SHAPES: [&[usize]; 4] = [&[1], &[3, 5], &[7, 33, 20], &[40_001]];

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = SHAPES.into_iter().map(relus).collect();
    all.extend(SHAPES.into_iter().map(gelus));
    for p in [0.1, 0.5, 0.9] {
        all.extend(SHAPES.into_iter().map(|dims| dropouts(dims, p)));
    }
    let norms: [&[usize]; 5] = [&[3, 4], &[5, 2, 33], &[2, 7, 128], &[300, 17], &[4, 1000]];
    all.extend(norms.into_iter().map(layer_norms));
    all.extend(linears());
    for (n, c) in [(1, 2), (7, 10), (128, 10), (5, 1000), (3, 17)] {
        all.extend([0.0, 0.1, 1.0].map(|smoothing| cross_entropies(n, c, smoothing)));
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
        layer_norms(&[3, 17]),
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

fn layer_norms(dims: &'static [usize]) -> Case {
    Case::new("layer_norm", joined(dims), move |side| {
        let width = &dims[dims.len() - 1..];
        let x = side.var_around("x", dims, 0.5, 2.0)?;
        let (scale, shift) = (side.var_around("scale", width, 1.0, 0.3)?, side.var("shift", width, 0.5)?);
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
        Case::new("linear", "without a precision", |side| {
            let (x, weight) = (side.var("x", &[5, 20], 1.0)?, side.var("weight", &[7, 20], 0.2)?);
            Ok(vec![("y", linear(&x, &weight, Some(&side.var("bias", &[7], 1.0)?))?)])
        })
        .products(),
    );
    all.push(
        Case::new("linear", "data without a gradient", |side| {
            let (x, weight) = (side.data("x", &[9, 20], 1.0)?, side.var("weight", &[7, 20], 0.2)?);
            let bias = side.var("bias", &[7], 1.0)?;
            Ok(vec![("y", linear_in(side.precision, &x, &weight, Some(&bias))?)])
        })
        .mixed(),
    );
    all
}

fn affine(dims: &'static [usize], out: usize, bias: bool) -> Case {
    let what = format!("x {}, {out} outputs{}", joined(dims), if bias { "" } else { ", no bias" });
    Case::new("linear", what, move |side| {
        let inputs = dims[dims.len() - 1];
        let x = side.var("x", dims, 1.0)?;
        let weight = side.var("weight", &[out, inputs], 1.0 / (inputs as f64).sqrt())?;
        let bias = if bias { Some(side.var("bias", &[out], 1.0)?) } else { None };
        let bias = bias.as_ref();
        Ok(vec![("y", linear_in(side.precision, &x, &weight, bias)?)])
    })
    .mixed()
}

fn cross_entropies(n: usize, c: usize, smoothing: f64) -> Case {
    Case::new("cross_entropy", format!("{n}×{c}, smoothing {smoothing}"), move |side| {
        let (logits, labels) = (side.var("logits", &[n, c], 3.0)?, side.ids("labels", &[n], c)?);
        Ok(vec![("loss", cross_entropy(&logits, &labels, smoothing)?)])
    })
}

fn each(n: usize, c: usize) -> Case {
    Case::new("cross_entropy_each", format!("{n}×{c}"), move |side| {
        let (logits, labels) = (side.data("logits", &[n, c], 3.0)?, side.ids("labels", &[n], c)?);
        side.note("losses", cross_entropy_each(&logits, &labels)?);
        Ok(Vec::new())
    })
}
