//! A Transformer encoder's layer as one operator (Vaswani et al., 2017; torch's parameters).
//!
//! Sequences are independent, so a task computes the whole layer of one sequence while it is in the cache.

mod backward;
mod forward;
mod layer;
mod op;
mod parts;

use candle_core::{Result, Tensor, bail};

use crate::attention::Keys;
use crate::{Dropout, Precision, attention, check, dropout, gelu, host, layer_norm, linear, relu};
use layer::{Dims, Layer};
use op::Encoder;

/// The placement of a layer's norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderNorm {
    /// Before each sub-layer (Xiong et al., ICML 2020).
    Before,
    /// After each residual sum (Vaswani et al., 2017).
    After,
}

/// The function between a layer's two linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderActivation {
    /// max(0, x)
    Relu,
    /// x Φ(x), exact.
    Gelu,
}

/// A layer: self-attention and two linear maps, each with dropout, residual sum and layer norm. Pairs are weight and
/// bias, or scale and shift.
#[derive(Debug, Clone, Copy)]
pub struct EncoderLayer<'a> {
    /// Divides the width w.
    pub heads: usize,
    /// The placement of the norms.
    pub norm: EncoderNorm,
    /// Between the linear maps.
    pub activation: EncoderActivation,
    /// Query, key and value: `(3w, w)`, `(3w)`.
    pub in_proj: (&'a Tensor, &'a Tensor),
    /// `(w, w)`, `(w)`
    pub out_proj: (&'a Tensor, &'a Tensor),
    /// `(f, w)`, `(f)`
    pub linear1: (&'a Tensor, &'a Tensor),
    /// `(w, f)`, `(w)`
    pub linear2: (&'a Tensor, &'a Tensor),
    /// Of the attention: `(w)`, `(w)`.
    pub norm1: (&'a Tensor, &'a Tensor),
    /// Of the linear maps: `(w)`, `(w)`.
    pub norm2: (&'a Tensor, &'a Tensor),
    /// Added to the norms' variance.
    pub eps: f64,
    /// On the attention's weights, its output and the second linear map's output.
    pub dropouts: [Option<Dropout>; 3],
    /// The precision of the products of the four maps and of the attention.
    pub precision: Precision,
}

/// The names of [`EncoderLayer::parameters`].
const PARAMETERS: [&str; 12] = [
    "in_proj weight",
    "in_proj bias",
    "out_proj weight",
    "out_proj bias",
    "linear1 weight",
    "linear1 bias",
    "linear2 weight",
    "linear2 bias",
    "norm1 scale",
    "norm1 shift",
    "norm2 scale",
    "norm2 shift",
];

impl EncoderLayer<'_> {
    /// Maps `x (b, l, w)` to `(b, l, w)` under `mask (b, l)`, 1 at tokens and 0 at padding. As in
    /// [`attention`](crate::attention()), padding has no influence on the output at tokens, even if it is NaN, and a
    /// sequence without tokens attends to nothing. Gradients are sums over all rows, so that they are NaN if a row at
    /// padding is.
    ///
    /// # Errors
    /// Returns an error if shapes, types or devices do not fit, something is empty, the mask has another value than 0
    /// and 1 (not checked on a GPU), eps is not above 0, or a dropout's p is outside [0, 1).
    pub fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let dims = self.dims(x)?;
        let named = PARAMETERS.into_iter().zip(self.parameters());
        check::floats("encoder", std::iter::once(("x", x)).chain(named))?;
        let keys = check::mask("encoder", mask, (dims.b, dims.l), ("x", x))?;
        check::eps("encoder", self.eps, "1e-5")?;
        for drop in self.dropouts.iter().flatten() {
            drop.check("encoder")?;
        }
        let keys = keys.map(|mask| mask.chunks(dims.l).map(Keys::new).collect::<Vec<_>>());
        let parameters = self.parameters();
        let mut all = parameters.to_vec();
        all.push(x);
        #[cfg(feature = "cuda")]
        if crate::cuda::is_f32(&all)
            && crate::cuda::all_leaves(parameters)
            && dims.w <= crate::cuda::MOST_WIDE
        {
            let layer = crate::cuda::EncoderLayer {
                heads: self.heads,
                before: self.norm == EncoderNorm::Before,
                gelu: self.activation == EncoderActivation::Gelu,
                parameters,
                eps: self.eps,
                dropouts: self.dropouts,
                precision: self.precision,
            };
            return crate::cuda::encoder(x, mask, dims.f, &layer);
        }
        // Only the attention operator handles masked keys between others.
        let Some(keys) = keys.filter(|keys| host::is_f32(&all) && !keys.iter().any(Keys::has_gaps)) else {
            return self.composed(x, mask, dims);
        };
        let layer = Layer {
            dims,
            before: self.norm == EncoderNorm::Before,
            gelu: self.activation == EncoderActivation::Gelu,
            eps: self.eps,
            precision: self.precision,
            keys,
            dropouts: self.dropouts.map(|drop| drop.filter(|drop| drop.p > 0.0)),
        };
        let flat = parameters.iter().map(|p| p.flatten_all()).collect::<Result<Vec<_>>>()?;
        x.contiguous()?.apply_op2(&Tensor::cat(&flat, 0)?, Encoder::new(layer))
    }

    /// In the order in which they are packed.
    fn parameters(&self) -> [&Tensor; 12] {
        let Self { in_proj, out_proj, linear1, linear2, norm1, norm2, .. } = *self;
        [
            in_proj.0, in_proj.1, out_proj.0, out_proj.1, linear1.0, linear1.1, linear2.0, linear2.1,
            norm1.0, norm1.1, norm2.0, norm2.1,
        ]
    }

    fn dims(&self, x: &Tensor) -> Result<Dims> {
        let [b, l, w] = check::dims("encoder", "x", x, "(b, l, w)")?;
        let [f, _] = check::dims("encoder", "linear1 weight", self.linear1.0, "(f, w)")?;
        if b * l * w * f * self.heads == 0 {
            bail!("encoder: empty input {:?}, feed forward {f} or heads {}", x.shape(), self.heads);
        }
        if !w.is_multiple_of(self.heads) {
            bail!("encoder: {} heads do not divide a width of {w}", self.heads);
        }
        let dims = Dims { b, l, w, f, heads: self.heads };
        for ((what, found), expected) in PARAMETERS.iter().zip(self.parameters()).zip(dims.shapes()) {
            if found.dims() != expected {
                let (found, x) = (found.shape(), x.shape());
                bail!("encoder: {what} of shape {found:?}, expected {expected:?} for input {x:?}");
            }
        }
        Ok(dims)
    }

    fn composed(&self, x: &Tensor, mask: &Tensor, dims: Dims) -> Result<Tensor> {
        let norm = |x: &Tensor, (scale, shift): (&Tensor, &Tensor)| layer_norm(x, scale, shift, self.eps);
        let drop = |x: Tensor, i: usize| match self.dropouts[i] {
            Some(drop) => dropout(&x, drop),
            None => Ok(x),
        };
        let attend = |x: &Tensor| drop(self.attend(x, mask, dims)?, 1);
        let feed = |x: &Tensor| {
            let inner = linear(x, self.linear1.0, Some(self.linear1.1), self.precision)?;
            let inner = match self.activation {
                EncoderActivation::Relu => relu(&inner)?,
                EncoderActivation::Gelu => gelu(&inner)?,
            };
            drop(linear(&inner, self.linear2.0, Some(self.linear2.1), self.precision)?, 2)
        };
        match self.norm {
            EncoderNorm::Before => {
                let x = (x + attend(&norm(x, self.norm1)?)?)?;
                &x + feed(&norm(&x, self.norm2)?)?
            }
            EncoderNorm::After => {
                let x = norm(&(x + attend(x)?)?, self.norm1)?;
                norm(&(&x + feed(&x)?)?, self.norm2)
            }
        }
    }

    fn attend(&self, x: &Tensor, mask: &Tensor, Dims { b, l, w, heads, .. }: Dims) -> Result<Tensor> {
        let qkv = linear(x, self.in_proj.0, Some(self.in_proj.1), self.precision)?.reshape((
            b,
            l,
            3,
            heads,
            w / heads,
        ))?;
        let part = |i| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let y = attention(&part(0)?, &part(1)?, &part(2)?, mask, self.dropouts[0], self.precision)?;
        linear(
            &y.transpose(1, 2)?.reshape((b, l, w))?,
            self.out_proj.0,
            Some(self.out_proj.1),
            self.precision,
        )
    }
}

#[cfg(test)]
mod tests;
