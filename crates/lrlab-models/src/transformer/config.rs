//! Sizes and choices of a Transformer.

use crate::Pooling;

/// Where layer norm stands in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before each sub-layer, and once at the end (Xiong et al., ICML 2020).
    Pre,
    /// After each residual sum (Vaswani et al., 2017).
    Post,
}

/// How tokens know their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// A trained table.
    Learned,
    /// Sines and cosines (Vaswani et al., section 3.5).
    Sinusoidal,
}

/// The function between a block's two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// x·Φ(x), exact.
    Gelu,
}

/// Sizes of a [`Transformer`](crate::Transformer).
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    /// Entries of the vocabulary, padding included.
    pub vocabulary: usize,
    /// Longest sequence.
    pub max_length: usize,
    /// Width of the embedding and of every layer.
    pub width: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Width between a block's two linear layers.
    pub feed_forward: usize,
    /// Blocks.
    pub layers: usize,
    /// On the embeddings, the attention weights and both sub-layers' outputs.
    pub dropout: f64,
    /// Where layer norm stands.
    pub norm: NormPlacement,
    /// How tokens know their place.
    pub positions: Positions,
    /// Between a block's two linear layers.
    pub activation: Activation,
    /// From states to one vector.
    pub pooling: Pooling,
    /// Classes.
    pub classes: usize,
}
