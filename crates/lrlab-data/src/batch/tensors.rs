//! Batches as tensors.

use candle_core::Tensor;

/// A batch of examples as tensors; a split creates them on the CPU.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The inputs of the model.
    pub features: Features,
    /// Classes, u32 `(batch)`.
    pub labels: Tensor,
    /// The index of each example in its split.
    pub indices: Vec<u32>,
}

/// The examples of a batch.
#[derive(Debug, Clone)]
pub enum Features {
    /// f32 `(batch, channels, height, width)`, normalised per channel by the mean and the standard deviation of the training
    /// split.
    Pictures(Tensor),
    /// Sequences padded at the end to the longest of the batch.
    Tokens {
        /// u32 `(batch, length)`; 0 is padding.
        ids: Tensor,
        /// f32 `(batch, length)`: 1 at tokens, 0 at padding.
        mask: Tensor,
    },
}
