use candle_core::{DType, Var};
use lrlab_random::{Purpose, Stream};

use super::*;
use crate::testing::{assert_close, assert_error, draw, grads_of, values};

fn check(
    dims: Dims,
    lengths: &[usize],
    norm: EncoderNorm,
    activation: EncoderActivation,
    p: f64,
) -> Result<()> {
    for (found, expected) in both(Precision::F32, dims, lengths, norm, activation, p)? {
        assert_close(&found, &expected, 5e-5);
    }
    // What lies next to the middle of two bf16 is rounded apart in f32 and f64, and a ReLU next to 0 lets a
    // gradient through in one of them: single values are off by more than all are together.
    for (i, (found, expected)) in
        both(Precision::Bf16, dims, lengths, norm, activation, p)?.into_iter().enumerate()
    {
        let length = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
        let off = length(&mut values(&found).iter().zip(&expected).map(|(f, e)| f - e));
        let size = length(&mut expected.iter().copied());
        assert!(off <= 5e-2 * size + 1e-6, "{dims:?}, tensor {i}: off by {off} of {size}");
    }
    Ok(())
}

/// Gradients and output in f32 by the operator, and in f64 by candle's.
fn both(
    precision: Precision,
    dims: Dims,
    lengths: &[usize],
    norm: EncoderNorm,
    activation: EncoderActivation,
    p: f64,
) -> Result<Vec<(Tensor, Vec<f64>)>> {
    let Dims { b, l, w, heads, .. } = dims;
    let real: Vec<f32> =
        lengths.iter().flat_map(|n| (0..l).map(move |t| f32::from(u8::from(t < *n)))).collect();
    let mask = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
    let dropouts = ["a", "b", "c"]
        .map(|name| (p > 0.0).then(|| Dropout { p, stream: Stream::new(1, Purpose::Dropout, name) }));
    let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
        let mut vars = Vec::new();
        for (i, shape) in dims.shapes().into_iter().enumerate() {
            let scale = if shape.len() == 2 { 1.0 / (shape[1] as f64).sqrt() } else { 0.5 };
            vars.push(Var::from_tensor(&(draw(shape, &format!("{i}")).to_dtype(dtype)? * scale)?)?);
        }
        let x = Var::from_tensor(&draw((b, l, w), "x").to_dtype(dtype)?)?;
        let pair = |i: usize| (vars[2 * i].as_tensor(), vars[2 * i + 1].as_tensor());
        let layer = EncoderLayer {
            heads,
            norm,
            activation,
            in_proj: pair(0),
            out_proj: pair(1),
            linear1: pair(2),
            linear2: pair(3),
            norm1: pair(4),
            norm2: pair(5),
            eps: 1e-5,
            dropouts,
            precision,
        };
        let y = layer.forward(&x, &mask)?;
        let weighted = (&y * draw((b, l, w), "r").to_dtype(dtype)?)?;
        let mut wanted: Vec<&Var> = vars.iter().collect();
        wanted.push(&x);
        let mut out = grads_of(&weighted, &wanted)?;
        out.push(y);
        Ok(out)
    });
    let [found, expected] = results;
    Ok(found?.into_iter().zip(expected?.iter().map(values)).collect())
}

#[test]
fn output_and_gradients_against_f64() -> Result<()> {
    for norm in [EncoderNorm::Before, EncoderNorm::After] {
        for activation in [EncoderActivation::Relu, EncoderActivation::Gelu] {
            for p in [0.0, 0.2] {
                check(Dims { b: 3, l: 5, w: 8, f: 12, heads: 2 }, &[5, 2, 0], norm, activation, p)?;
                check(Dims { b: 18, l: 3, w: 6, f: 5, heads: 3 }, &[3; 18], norm, activation, p)?;
                check(Dims { b: 2, l: 37, w: 48, f: 65, heads: 3 }, &[37, 30], norm, activation, p)?;
            }
        }
    }
    let one = Dims { b: 1, l: 1, w: 1, f: 1, heads: 1 };
    check(one, &[1], EncoderNorm::Before, EncoderActivation::Relu, 0.5)
}

#[test]
fn invalid_arguments_are_rejected() {
    let dims = Dims { b: 2, l: 3, w: 4, f: 5, heads: 2 };
    let parameters: Vec<Tensor> = dims.shapes().into_iter().map(|shape| draw(shape, "p")).collect();
    let pair = |i: usize| (&parameters[2 * i], &parameters[2 * i + 1]);
    let layer = EncoderLayer {
        heads: 2,
        norm: EncoderNorm::After,
        activation: EncoderActivation::Relu,
        in_proj: pair(0),
        out_proj: pair(1),
        linear1: pair(2),
        linear2: pair(3),
        norm1: pair(4),
        norm2: pair(5),
        eps: 1e-5,
        dropouts: [None; 3],
        precision: Precision::F32,
    };
    let (x, mask) = (draw((2, 3, 4), "x"), draw((2, 3), "m").ones_like().expect("ones"));
    assert!(layer.forward(&x, &mask).is_ok());
    assert_error("encoder: 2 heads do not divide a width of 5", layer.forward(&draw((2, 3, 5), "x"), &mask));
    assert_error("encoder: empty input [0, 3, 4]", layer.forward(&draw((0, 3, 4), "x"), &mask));
    let long = draw((2, 4), "m").ones_like().expect("ones");
    assert_error("encoder: mask of shape [2, 4], expected [2, 3]", layer.forward(&x, &long));
    let three = EncoderLayer { heads: 3, ..layer };
    assert_error("encoder: 3 heads do not divide a width of 4", three.forward(&x, &mask));
    let other = EncoderLayer { linear2: pair(1), ..layer };
    assert_error("encoder: linear2 weight of shape [4, 4], expected", other.forward(&x, &mask));
    let drop = Dropout { p: 1.0, stream: Stream::new(1, Purpose::Dropout, "a") };
    let all = EncoderLayer { dropouts: [None, Some(drop), None], ..layer };
    assert_error("encoder: p is 1.0, expected 0", all.forward(&x, &mask));
}
