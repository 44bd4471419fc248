//! Activations, dropout, layer norm, linear, cross entropy, norms of vectors.

use candle_core::{Device, Result, Tensor};
use lrlab_kernels::{
    Dropout, Precision, cross_entropy, cross_entropy_each, dropout, gelu, layer_norm, linear, relu,
    squared_norm,
};
use lrlab_random::{Purpose, Stream};

use crate::harness::{Array, Draw, check, close, tensor};
use crate::reference;

/// A shape of rank 1 to 4 with dimensions of `low` to `high`.
fn shape(draw: &mut Draw, low: usize, high: usize) -> Vec<usize> {
    let rank = draw.size(1, 4);
    (0..rank).map(|_| draw.size(low, high)).collect()
}

#[test]
fn activations() {
    let mut draw = Draw::new("activation");
    for _ in 0..8 {
        let dims = shape(&mut draw, 1, 7);
        let x = [draw.normal(&dims, 1.5)];
        check("relu", &mut draw, &x, 1e-6, |v| relu(&v[0]), |v| v[0].map(|x| x.max(0.0)));
        check("gelu", &mut draw, &x, 1e-5, |v| gelu(&v[0]), |v| v[0].map(reference::gelu));
    }
}

#[test]
fn dropouts() {
    let mut draw = Draw::new("dropout");
    for case in 0..8 {
        let drop =
            Dropout { p: draw.pick(&[0.1, 0.5, 0.9]), stream: Stream::new(case, Purpose::Dropout, "t") };
        let dims = shape(&mut draw, 1, 9);
        let x = [draw.normal(&dims, 1.0)];
        check(
            "dropout",
            &mut draw,
            &x,
            1e-6,
            |v| dropout(&v[0], drop),
            |v| {
                let mut y = v[0].clone();
                y.data.iter_mut().enumerate().for_each(|(i, y)| *y *= reference::dropped(drop, i));
                y
            },
        );
    }
}

#[test]
fn layer_norms() {
    let mut draw = Draw::new("layer norm");
    for _ in 0..12 {
        let mut dims = shape(&mut draw, 1, 5);
        let d = draw.pick(&[4, 7, 15, 16, 17, 32, 33]);
        dims.push(d);
        let operands = [draw.normal(&dims, 2.0), draw.normal(&[d], 1.0), draw.normal(&[d], 1.0)];
        check(
            "layer_norm",
            &mut draw,
            &operands,
            1e-4,
            |v| layer_norm(&v[0], &v[1], &v[2], 1e-5),
            |v| reference::layer_norm(&v[0], &v[1], &v[2], 1e-5),
        );
    }
}

#[test]
fn linears() {
    let mut draw = Draw::new("linear");
    for case in 0..16 {
        let mut dims = shape(&mut draw, 1, 4);
        let (inputs, out) = (draw.pick(&[1, 2, 15, 16, 33]), draw.pick(&[1, 2, 10, 16, 31]));
        dims.push(inputs);
        let mut operands = vec![draw.normal(&dims, 1.0), draw.normal(&[out, inputs], 0.5)];
        if case % 2 == 0 {
            operands.push(draw.normal(&[out], 1.0));
        }
        check(
            "linear",
            &mut draw,
            &operands,
            1e-5,
            |v| linear(&v[0], &v[1], v.get(2), Precision::F32),
            |v| reference::linear(&v[0], &v[1], v.get(2)),
        );
    }
    // More rows than one task processes.
    let operands = [draw.normal(&[601, 3], 1.0), draw.normal(&[2, 3], 0.5), draw.normal(&[2], 1.0)];
    check(
        "linear",
        &mut draw,
        &operands,
        1e-4,
        |v| linear(&v[0], &v[1], v.get(2), Precision::F32),
        |v| reference::linear(&v[0], &v[1], v.get(2)),
    );
}

#[test]
fn cross_entropies() -> Result<()> {
    let mut draw = Draw::new("cross entropy");
    for _ in 0..12 {
        let (n, c) = (draw.size(1, 9), draw.pick(&[1, 2, 10, 17, 40]));
        let smoothing = draw.pick(&[0.0, 0.1, 1.0]);
        let labels: Vec<u32> = (0..n).map(|_| draw.size(0, c - 1) as u32).collect();
        let given = Tensor::from_vec(labels.clone(), n, &Device::Cpu)?;
        let logits = [draw.normal(&[n, c], 3.0)];
        check(
            &format!("cross_entropy smoothed by {smoothing}"),
            &mut draw,
            &logits,
            1e-5,
            |v| cross_entropy(&v[0], &given, smoothing),
            |v| {
                let each = reference::cross_entropies(&v[0], &labels, smoothing);
                Array { dims: Vec::new(), data: vec![each.iter().sum::<f64>() / n as f64] }
            },
        );
        let each = cross_entropy_each(&tensor(&logits[0]), &given)?;
        close("cross_entropy_each", &each, &reference::cross_entropies(&logits[0], &labels, 0.0), 1e-6);
    }
    // Logits whose exp overflows.
    let logits = Tensor::new(&[[1e4_f32, 0.0], [-1e4, 1e4]], &Device::Cpu)?;
    let labels = Tensor::new(&[0_u32, 0], &Device::Cpu)?;
    assert_eq!(cross_entropy(&logits, &labels, 0.0)?.to_scalar::<f32>()?, 1e4);
    Ok(())
}

#[test]
fn squared_norms() -> Result<()> {
    let mut draw = Draw::new("norm");
    for count in [0, 1, 7, 16, 33, 40_001] {
        let x = draw.normal(&[count], 1.0);
        let expected: f64 = x.data.iter().map(|v| v * v).sum();
        close("squared_norm", &[squared_norm(&tensor(&x))?], &[expected], 1e-12);
    }
    let x = draw.normal(&[6, 5], 1.0);
    let expected: f64 = x.data.iter().map(|v| v * v).sum();
    close("squared_norm", &[squared_norm(&tensor(&x).t()?)?], &[expected], 1e-12);
    Ok(())
}
