//! One encoder block: self-attention and a feed-forward network, each with residual, dropout and layer norm.

use candle_core::{Result, Tensor, Var};
use lrlab_config::{Activation, NormPlacement, TransformerConfig};
use lrlab_kernels::{EncoderActivation, EncoderNorm, Precision, Role};

use crate::{
    Mode,
    init::{Builder, Init},
    layers::{Affine, Dropout, LayerNorm, NORM_EPS},
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
    precision: Precision,
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
            precision: b.precision(),
        })
    }

    /// `x (batch, length, width)`, `mask (batch, length)`.
    pub(super) fn forward(&self, x: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let attention = &self.attention;
        let layer = lrlab_kernels::EncoderLayer {
            heads: attention.heads,
            norm: match self.placement {
                NormPlacement::Pre => EncoderNorm::Before,
                NormPlacement::Post => EncoderNorm::After,
            },
            activation: match self.activation {
                Activation::Relu => EncoderActivation::Relu,
                Activation::Gelu => EncoderActivation::Gelu,
            },
            in_proj: (&attention.in_proj_weight, &attention.in_proj_bias),
            out_proj: attention.out_proj.parameters(),
            linear1: self.linear1.parameters(),
            linear2: self.linear2.parameters(),
            norm1: self.norm1.parameters(),
            norm2: self.norm2.parameters(),
            eps: NORM_EPS,
            dropouts: [&attention.dropout, &self.dropout1, &self.dropout2].map(|drop| drop.draws(mode)),
            precision: self.precision,
        };
        layer.forward(x, mask)
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
}
