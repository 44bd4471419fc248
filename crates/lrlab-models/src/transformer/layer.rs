//! One encoder block: self-attention and a feed-forward network, each with residual, dropout and layer norm.

use candle_core::{Result, Tensor, Var};
use lrlab_kernels::{Role, attention, gelu, linear, relu};

use super::{Activation, NormPlacement, TransformerConfig};
use crate::{
    Mode,
    init::{Builder, Init},
    layers::{Affine, Dropout, LayerNorm},
};

/// `torch.nn.TransformerEncoderLayer`, without its dropout between the two linear layers (Vaswani et al., 5.4).
#[derive(Debug)]
pub(super) struct EncoderLayer {
    attention: SelfAttention,
    linear1: Affine,
    linear2: Affine,
    activation: Activation,
    placement: NormPlacement,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
}

impl EncoderLayer {
    pub(super) fn new(b: &mut Builder, name: &str, config: &TransformerConfig) -> Result<Self> {
        let &TransformerConfig { width, feed_forward, dropout, .. } = config;
        Ok(Self {
            attention: SelfAttention::new(b, &format!("{name}.self_attn"), config)?,
            linear1: Affine::new(b, &format!("{name}.linear1"), width, feed_forward)?,
            linear2: Affine::new(b, &format!("{name}.linear2"), feed_forward, width)?,
            activation: config.activation,
            placement: config.norm,
            norm1: LayerNorm::new(b, &format!("{name}.norm1"), width)?,
            norm2: LayerNorm::new(b, &format!("{name}.norm2"), width)?,
            dropout1: Dropout::new(format!("{name}.dropout1"), dropout)?,
            dropout2: Dropout::new(format!("{name}.dropout2"), dropout)?,
        })
    }

    /// `x (batch, length, width)`, `mask (batch, length)`.
    pub(super) fn forward(&self, x: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let attend = |x: &Tensor| self.dropout1.forward(&self.attention.forward(x, mask, mode)?, mode);
        let feed = |x: &Tensor| self.dropout2.forward(&self.feed_forward(x)?, mode);
        match self.placement {
            NormPlacement::Pre => {
                let x = (x + attend(&self.norm1.forward(x)?)?)?;
                &x + feed(&self.norm2.forward(&x)?)?
            }
            NormPlacement::Post => {
                let x = self.norm1.forward(&(x + attend(x)?)?)?;
                self.norm2.forward(&(&x + feed(&x)?)?)
            }
        }
    }

    fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.linear1.forward(x)?;
        self.linear2.forward(&match self.activation {
            Activation::Relu => relu(&inner)?,
            Activation::Gelu => gelu(&inner)?,
        })
    }
}

/// Multi-head self-attention with torch's packed projection: query, key and value one after another.
#[derive(Debug)]
struct SelfAttention {
    in_proj_weight: Var,
    in_proj_bias: Var,
    out_proj: Affine,
    dropout: Dropout,
    heads: usize,
}

impl SelfAttention {
    fn new(b: &mut Builder, name: &str, config: &TransformerConfig) -> Result<Self> {
        let width = config.width;
        let init = Init::xavier(width, 3 * width);
        let zero = Init::Constant(0.0);
        Ok(Self {
            in_proj_weight: b.create(
                &format!("{name}.in_proj_weight"),
                &[3 * width, width],
                init,
                Role::Weight,
            )?,
            in_proj_bias: b.create(&format!("{name}.in_proj_bias"), &[3 * width], zero, Role::NoDecay)?,
            out_proj: Affine::zero_bias(b, &format!("{name}.out_proj"), width, width)?,
            dropout: Dropout::new(format!("{name}.dropout"), config.dropout)?,
            heads: config.heads,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        // Three products with a third of the weight each: cutting the weight is cheaper than cutting what comes out.
        let project = |part: usize| {
            let weight = self.in_proj_weight.narrow(0, part * width, width)?;
            let bias = self.in_proj_bias.narrow(0, part * width, width)?;
            linear(x, &weight, Some(&bias))?
                .reshape((batch, length, self.heads, width / self.heads))?
                .transpose(1, 2)?
                .contiguous()
        };
        let y = attention(&project(0)?, &project(1)?, &project(2)?, mask, self.dropout.draws(mode))?;
        self.out_proj.forward(&y.transpose(1, 2)?.reshape((batch, length, width))?)
    }
}
