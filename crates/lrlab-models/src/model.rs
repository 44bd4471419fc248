//! What the training loop needs of a network.

use candle_core::{Result, Tensor};
use lrlab_kernels::Params;

/// What goes into a network.
#[derive(Debug, Clone)]
pub enum Input {
    /// Normalised pictures, f32 `(batch, channels, height, width)`.
    Pictures(Tensor),
    /// Padded token sequences.
    Tokens {
        /// u32 `(batch, length)`; 0 is padding.
        ids: Tensor,
        /// f32 `(batch, length)`: 1 at tokens, 0 at padding. Padding stands after the tokens.
        mask: Tensor,
    },
}

/// Whether dropout draws and norms learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout on, batch statistics in force and remembered.
    Train {
        /// The run's seed.
        seed: u64,
        /// Index of the batch over the whole run: dropout masks are a function of seed, layer name and it.
        batch: u64,
    },
    /// Dropout off, running statistics in force.
    Eval,
}

/// A classifier.
pub trait Model: Send {
    /// Logits `(batch, classes)`.
    ///
    /// # Errors
    /// The input is not of this model's kind, or shapes do not fit.
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor>;

    /// Its parameters and buffers, under torch's names where torch has the model.
    fn params(&self) -> &Params;
}
