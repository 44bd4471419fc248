//! Transformer encoder as a text classifier (Vaswani et al.: "Attention is all you need", `NeurIPS` 2017).

use candle_core::{Result, Tensor, Var, bail};
use lrlab_config::{NormPlacement, Pooling, Positions, TransformerConfig};
use lrlab_kernels::{Params, Role, embedding_at_positions};

use crate::{
    Input, Mode, Model, TextSizes,
    init::{Builder, Init},
    layers::{Affine, Dropout, LayerNorm, positive},
    pooling::pool,
};

mod layer;

use layer::EncoderLayer;

/// Embedding and positions, `torch.nn.TransformerEncoder` with a key-padding mask, pooling, linear head.
#[derive(Debug)]
pub struct Transformer {
    embedding: Var,
    /// The factor of the embedding.
    gain: f64,
    positions: Tensor,
    dropout: Dropout,
    layers: Vec<EncoderLayer>,
    norm: Option<LayerNorm>,
    pooling: Pooling,
    fc: Affine,
    params: Params,
}

impl Transformer {
    /// Parameters `embedding.weight`, `position.weight` (learned positions), `encoder.layers.0.self_attn.in_proj_weight`,
    /// `encoder.layers.0.linear1.weight`, …, `encoder.norm.weight` (pre-norm), `fc.weight`, `fc.bias`.
    ///
    /// The encoder starts as `torch.nn.TransformerEncoderLayer` does: Glorot's uniform for `in_proj_weight`, attention
    /// biases 0, and the rest as `torch.nn.Linear`. With learned positions both tables start N(0, 0.02²) (BERT, Devlin
    /// et al., 2019: `initializer_range`). With sinusoidal ones the embedding starts N(0, 1/width) and is multiplied
    /// by √width (Vaswani et al., section 3.4; tensor2tensor), so that tokens and positions have the same scale.
    ///
    /// # Errors
    /// Returns an error if a size is zero, the heads do not divide the width, the dropout is outside [0, 1), or
    /// `params` holds these names already.
    pub fn new(config: &TransformerConfig, sizes: TextSizes, seed: u64, params: Params) -> Result<Self> {
        let &TransformerConfig { width, heads, feed_forward, layers, .. } = config;
        let TextSizes { vocabulary, max_length, classes } = sizes;
        positive(&[
            ("vocabulary", vocabulary),
            ("maximum length", max_length),
            ("width", width),
            ("heads", heads),
            ("feed forward", feed_forward),
            ("layers", layers),
            ("classes", classes),
        ])?;
        if !width.is_multiple_of(heads) {
            bail!("{heads} heads do not divide a width of {width}");
        }
        let mut b = Builder::new(seed, params);
        let (gain, std) = match config.positions {
            Positions::Learned => (1.0, 0.02),
            Positions::Sinusoidal => ((width as f64).sqrt(), 1.0 / (width as f64).sqrt()),
        };
        let normal = Init::Normal { std };
        let embedding = b.create("embedding.weight", &[vocabulary, width], normal, Role::Weight)?;
        let positions = match config.positions {
            Positions::Learned => {
                b.create("position.weight", &[max_length, width], normal, Role::Weight)?.as_tensor().clone()
            }
            Positions::Sinusoidal => b.constant(sinusoids(max_length, width), &[max_length, width])?,
        };
        let layers = (0..layers).map(|i| EncoderLayer::new(&mut b, &format!("encoder.layers.{i}"), config));
        Ok(Self {
            embedding,
            gain,
            positions,
            dropout: Dropout::new("embedding.dropout", config.dropout)?,
            layers: layers.collect::<Result<_>>()?,
            norm: match config.norm {
                NormPlacement::Pre => Some(LayerNorm::new(&mut b, "encoder.norm", width)?),
                NormPlacement::Post => None,
            },
            pooling: config.pooling,
            fc: Affine::new(&mut b, "fc", width, classes)?,
            params: b.finish(),
        })
    }

    fn embed(&self, ids: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, length) = ids.dims2()?;
        let longest = self.positions.dim(0)?;
        if length > longest {
            bail!("a sequence of {length} tokens, expected at most {longest}");
        }
        let positions = self.positions.narrow(0, 0, length)?;
        embedding_at_positions(ids, &self.embedding, self.gain, &positions, self.dropout.draws(mode))
    }
}

impl Model for Transformer {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Tokens { ids, mask } = input else { bail!("a Transformer reads tokens") };
        let mut x = self.embed(ids, mode)?;
        let mask = mask.to_dtype(x.dtype())?;
        for layer in &self.layers {
            x = layer.forward(&x, &mask, mode)?;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        self.fc.forward(&pool(self.pooling, &x, &mask)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

/// Row `p`, columns 2i and 2i + 1: sine and cosine of `p` / 10000^(2i / width).
fn sinusoids(length: usize, width: usize) -> Vec<f32> {
    let value = |position: usize, column: usize| {
        let pair = (column - column % 2) as f64;
        let angle = position as f64 / libm::pow(10_000.0, pair / width as f64);
        if column.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) }
    };
    (0..length).flat_map(|p| (0..width).map(move |c| value(p, c) as f32)).collect()
}
