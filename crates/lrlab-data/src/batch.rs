//! One pass over a split: which examples make a batch, and the batch as tensors.

use candle_core::Tensor;

use crate::Error;
use crate::dataset::Split;

mod order;
mod prefetch;
mod recipe;

pub use prefetch::Prefetch;
pub use recipe::{Examples, Raw, Recipe, Recipes, View};

/// How to pass over a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Examples per batch, at least 1; the last batch may be smaller.
    pub batch_size: usize,
    /// In which order.
    pub order: Order,
    /// What is done to pictures; without effect on tokens.
    pub augment: Option<Augment>,
    /// Batches to leave out at the start, for a run that goes on in the middle of an epoch.
    pub first_batch: usize,
}

impl BatchPlan {
    /// `batch_size` examples at a time in `order`, unaugmented, from the first batch.
    #[must_use]
    pub fn new(batch_size: usize, order: Order) -> Self {
        Self { batch_size, order, augment: None, first_batch: 0 }
    }
}

/// The order of the examples. Both orders are functions of their arguments and the split alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For evaluation: every example once; pictures as they stand, token sequences by length, which saves
    /// padding. [`Batch::indices`] says which examples a batch holds.
    Sequential,
    /// For training: a new permutation per epoch. Token sequences are then gathered by length within windows
    /// of 50 batches; every example still comes once.
    Shuffled {
        /// The run's seed.
        seed: u64,
        /// The epoch, from 0.
        epoch: u64,
    },
}

/// Random changes to pictures, a function of seed, epoch and the example's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augment {
    /// Pad by so many black pixels on every side and crop back at a random place; 0 is off.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Set a square of this side around a random centre to the mean picture's colour, cut at the borders
    /// (`DeVries` and Taylor, 2017); 0 is off.
    pub cutout: usize,
    /// The run's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
}

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

/// The batches of one pass, in order: each is made from its [`Recipe`].
#[derive(Debug, Clone)]
pub struct Batches {
    recipes: Recipes,
}

impl Batches {
    pub(crate) fn new(split: Split, plan: BatchPlan) -> Self {
        Self { recipes: Recipes::new(split, plan) }
    }

    /// Batches of the whole pass, those left out at the start included; 0 for a batch size of 0.
    #[must_use]
    pub fn total(&self) -> usize {
        self.recipes.total()
    }

    /// The same batches in the same order, up to `depth` of them made ahead of time by a thread of their own; 0 makes
    /// them when they are asked for.
    #[must_use]
    pub fn prefetch(self, depth: usize) -> Prefetch {
        Prefetch::new(self, depth)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let recipe = self.recipes.next()?;
        Some(recipe.and_then(|recipe| self.recipes.split().batch(recipe)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.recipes.size_hint()
    }
}

#[cfg(test)]
mod tests;
