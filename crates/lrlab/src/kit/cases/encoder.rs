//! The Transformer encoder's layer.

use candle_core::{Tensor, Var, bail};
use lrlab_kernels::{Dropout, EncoderActivation, EncoderLayer, EncoderNorm};
use lrlab_random::{Purpose, Stream};

use super::text::lengths;
use crate::kit::compare::Case;
use crate::kit::side::{Side, Wanted};

/// Batch, length, width, feed forward, heads.
const SIZES: [[usize; 5]; 6] = [
    [1, 1, 4, 3, 1],
    [3, 7, 8, 12, 2],
    [4, 16, 32, 64, 4],
    [5, 9, 20, 33, 4],
    [3, 64, 64, 128, 4],
    [2, 40, 128, 256, 4],
];
/// Sizes with one sequence or one token.
const SINGLE: [[usize; 5]; 3] = [[1, 1, 64, 33, 4], [1, 33, 32, 64, 4], [6, 1, 32, 64, 4]];

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for sizes in SIZES {
        for norm in [EncoderNorm::Before, EncoderNorm::After] {
            for activation in [EncoderActivation::Relu, EncoderActivation::Gelu] {
                all.extend([0.0, 0.1].map(|p| layer(sizes, norm, activation, p, Wanted::All)));
            }
        }
    }
    for norm in [EncoderNorm::Before, EncoderNorm::After] {
        let of = |sizes, wanted| layer(sizes, norm, EncoderActivation::Gelu, 0.1, wanted);
        all.extend(SINGLE.map(|sizes| of(sizes, Wanted::All)));
        for sizes in [SIZES[1], SIZES[4]] {
            let of = |padding, p| padded(sizes, norm, EncoderActivation::Gelu, p, Wanted::All, padding);
            all.extend([of(Padding::Between, 0.1), of(Padding::Nan, 0.0)]);
        }
        for sizes in [SIZES[1], SIZES[3]] {
            all.extend([Wanted::Parameters, Wanted::Input].map(|wanted| of(sizes, wanted)));
        }
    }
    all.push(Case::new("EncoderLayer", "NaN in the weight of q, keys dropped", |side| {
        let weight = side.data("weight", &[12, 4], 0.5)?;
        let weight = Tensor::cat(&[(weight.narrow(0, 0, 1)? * f64::NAN)?, weight.narrow(0, 1, 11)?], 0)?;
        let x = side.data("x", &[16, 1, 4], 1.0)?;
        let (y, _) = strange(side, &x, &weight, &[1; 16], Some(0.8))?;
        side.note_nan("where y is NaN", &y)?;
        Ok(Vec::new())
    }));
    all.push(Case::new("EncoderLayer", "scores beyond f32, padding", |side| {
        let x = side.data("x", &[1, 3, 4], 1.0)?;
        let x = Tensor::cat(&[(x.narrow(1, 0, 1)? * 1e20)?, x.narrow(1, 1, 2)?], 1)?;
        let (_, dx) = strange(side, &x, &side.data("weight", &[12, 4], 0.5)?, &[2], None)?;
        side.note_nan("where the gradient is NaN at padding", &dx.narrow(1, 2, 1)?)?;
        Ok(Vec::new())
    }));
    all
}

/// Computes a layer with this map to q, k and v, and the gradient of x.
fn strange(
    side: &Side,
    x: &Tensor,
    in_proj: &Tensor,
    lengths: &[usize],
    p: Option<f64>,
) -> candle_core::Result<(Tensor, Tensor)> {
    let (_, l, w) = x.dims3()?;
    let ones = |dims: &[usize]| Tensor::ones(dims, x.dtype(), x.device());
    let eye = Tensor::eye(w, x.dtype(), x.device())?;
    let (bias, one) = ((ones(&[3 * w])? * 0.0)?, ones(&[w])?);
    let zero = (&one * 0.0)?;
    let x = Var::from_tensor(&x.contiguous()?)?;
    let layer = EncoderLayer {
        heads: 1,
        norm: EncoderNorm::After,
        activation: EncoderActivation::Gelu,
        in_proj: (in_proj, &bias),
        out_proj: (&eye, &zero),
        linear1: (&eye, &zero),
        linear2: (&eye, &zero),
        norm1: (&one, &zero),
        norm2: (&one, &zero),
        eps: 1e-5,
        dropouts: [p.map(|p| Dropout { p, stream: Stream::new(7, Purpose::Dropout, "kit") }), None, None],
        precision: side.precision,
    };
    let y = layer.forward(&x, &side.mask(lengths, l)?)?;
    let weights = side.data("weights", y.dims(), 1.0)?;
    let grads = lrlab_kernels::backward(&(&y * weights)?.sum_all()?)?;
    let Some(dx) = grads.get(&x) else { bail!("there is no gradient of x") };
    Ok((y, dx.clone()))
}

pub(super) fn for_nan() -> Vec<Case> {
    [EncoderNorm::Before, EncoderNorm::After]
        .map(|norm| layer([3, 7, 8, 12, 2], norm, EncoderActivation::Gelu, 0.0, Wanted::All))
        .into()
}

/// The padding of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// After the tokens.
    After,
    /// Before, between and after tokens.
    Between,
    /// Like [`Padding::Between`], with NaN at padding; the output is compared at tokens, and there are no gradients, because
    /// they are NaN.
    Nan,
}

fn layer(
    sizes: [usize; 5],
    norm: EncoderNorm,
    activation: EncoderActivation,
    p: f64,
    wanted: Wanted,
) -> Case {
    padded(sizes, norm, activation, p, wanted, Padding::After)
}

fn padded(
    [b, l, w, f, heads]: [usize; 5],
    norm: EncoderNorm,
    activation: EncoderActivation,
    p: f64,
    wanted: Wanted,
    padding: Padding,
) -> Case {
    let what = format!(
        "x {b}×{l}×{w}, {heads} heads, feed forward {f}, norm {}, {}{}{}{}",
        if norm == EncoderNorm::Before { "before" } else { "after" },
        if activation == EncoderActivation::Relu { "relu" } else { "gelu" },
        if p > 0.0 { format!(", dropout {p}") } else { String::new() },
        wanted.words(),
        match padding {
            Padding::After => "",
            Padding::Between => ", padding between tokens",
            Padding::Nan => ", NaN at padding between tokens",
        },
    );
    let parameters = if padding == Padding::Nan { Wanted::Input } else { wanted };
    Case::new("EncoderLayer", what, move |side| {
        let x = match padding {
            Padding::Nan => side.data("x", &[b, l, w], 1.0)?,
            Padding::After | Padding::Between => side.input(wanted, "x", &[b, l, w], 1.0)?,
        };
        let map = |name: &str, out: usize, inputs: usize| {
            let deviation = 1.0 / (inputs as f64).sqrt();
            let weight =
                side.weight(parameters, &format!("{name}'s weight"), &[out, inputs], 0.0, deviation)?;
            let bias = side.weight(parameters, &format!("{name}'s bias"), &[out], 0.0, 0.2)?;
            Ok::<_, candle_core::Error>((weight, bias))
        };
        let norms = |name: &str| {
            let scale = side.weight(parameters, &format!("{name}'s scale"), &[w], 1.0, 0.2)?;
            let shift = side.weight(parameters, &format!("{name}'s shift"), &[w], 0.0, 0.2)?;
            Ok::<_, candle_core::Error>((scale, shift))
        };
        let (in_proj, out_proj) = (map("in_proj", 3 * w, w)?, map("out_proj", w, w)?);
        let (linear1, linear2) = (map("linear1", f, w)?, map("linear2", w, f)?);
        let (norm1, norm2) = (norms("norm1")?, norms("norm2")?);
        let drop = |name: &str| Dropout { p, stream: Stream::new(7, Purpose::Dropout, name) };
        let dropouts = ["attention", "first", "second"].map(|name| (p > 0.0).then(|| drop(name)));
        let layer = EncoderLayer {
            heads,
            norm,
            activation,
            in_proj: (&in_proj.0, &in_proj.1),
            out_proj: (&out_proj.0, &out_proj.1),
            linear1: (&linear1.0, &linear1.1),
            linear2: (&linear2.0, &linear2.1),
            norm1: (&norm1.0, &norm1.1),
            norm2: (&norm2.0, &norm2.1),
            eps: 1e-5,
            dropouts,
            precision: side.precision,
        };
        let mask = match padding {
            Padding::After => side.mask(&lengths(b, l), l)?,
            Padding::Between | Padding::Nan => side.mask_with_gaps(b, l)?,
        };
        if padding != Padding::Nan {
            return Ok(vec![("y", layer.forward(&x, &mask)?)]);
        }
        let y = layer.forward(&side.spoiled(&x, &mask)?, &mask)?;
        let token = mask.ne(0.0)?.unsqueeze(2)?.broadcast_as(y.shape())?;
        Ok(vec![("y at tokens", token.where_cond(&y, &y.zeros_like()?)?)])
    })
    .mixed()
    .kinks(activation == EncoderActivation::Relu)
}
