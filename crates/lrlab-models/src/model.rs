//! The interface between the training loop and a network.

use candle_core::{Result, Tensor};
use lrlab_kernels::Params;

/// The input of a network.
#[derive(Debug, Clone)]
pub enum Input {
    /// Normalised pictures, f32 `(batch, channels, height, width)`.
    Pictures(Tensor),
    /// Padded token sequences.
    Tokens {
        /// u32 `(batch, length)`; 0 is padding.
        ids: Tensor,
        /// f32 `(batch, length)`: 1 at tokens, 0 at padding. Padding follows the tokens.
        mask: Tensor,
    },
}

/// Training or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is on; batch norm uses the batch's statistics and updates the running ones.
    Train {
        /// The run's seed.
        seed: u64,
        /// Index of the batch over the whole run; dropout masks depend on it, the seed and the layer's name.
        batch: u64,
    },
    /// Dropout is off; batch norm uses the running statistics.
    Eval,
}

/// A classifier.
pub trait Model: Send {
    /// Logits `(batch, classes)`.
    ///
    /// # Errors
    /// Returns an error if the input is not of this model's kind, or shapes do not fit.
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor>;

    /// The parameters and buffers, under torch's names if torch has the model.
    fn params(&self) -> &Params;
}
