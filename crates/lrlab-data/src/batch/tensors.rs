//! Batches as tensors.

use candle_core::Tensor;

/// Some examples as tensors, on the CPU where a split made them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What goes into the model.
    pub features: Features,
    /// Classes, u32 `(batch)`.
    pub labels: Tensor,
    /// Each example's place in its split.
    pub indices: Vec<u32>,
}

/// The examples of a batch.
#[derive(Debug, Clone)]
pub enum Features {
    /// f32 `(batch, channels, height, width)`, per channel less the training split's mean, divided by its
    /// standard deviation.
    Pictures(Tensor),
    /// Sequences padded to the longest of the batch; padding stands after the tokens.
    Tokens {
        /// u32 `(batch, length)`; 0 is padding.
        ids: Tensor,
        /// f32 `(batch, length)`: 1 at tokens, 0 at padding.
        mask: Tensor,
    },
}
