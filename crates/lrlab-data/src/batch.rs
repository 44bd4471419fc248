//! One pass over a split: which examples make a batch, and the batch as tensors.

use candle_core::{Device, Tensor};

use crate::dataset::{Split, Store};
use crate::{Error, pictures, tokens};

mod order;
mod prefetch;

pub use prefetch::Prefetch;

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

/// Some examples as tensors on the CPU.
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

/// The batches of one pass, in order.
#[derive(Debug, Clone)]
pub struct Batches {
    split: Split,
    plan: BatchPlan,
    order: Vec<u32>,
    next: usize,
}

impl Batches {
    pub(crate) fn new(split: Split, plan: BatchPlan) -> Self {
        let order = order::order(&split, &plan);
        Self { next: plan.first_batch, split, plan, order }
    }

    /// Batches of the whole pass, those left out at the start included; 0 for a batch size of 0.
    #[must_use]
    pub fn total(&self) -> usize {
        if self.plan.batch_size == 0 { 0 } else { self.order.len().div_ceil(self.plan.batch_size) }
    }

    /// The same batches in the same order, up to `depth` of them made ahead of time by a thread of their own; 0 makes
    /// them when they are asked for.
    #[must_use]
    pub fn prefetch(self, depth: usize) -> Prefetch {
        Prefetch::new(self, depth)
    }

    fn batch(&self, indices: &[u32]) -> Result<Batch, Error> {
        let features = match &self.split.store {
            Store::Pictures(split) => pictures::features(split, indices, self.plan.augment.as_ref())?,
            Store::Tokens(split) => tokens::features(split, indices)?,
        };
        let labels: Vec<u32> = indices.iter().map(|&i| self.split.labels[i as usize]).collect();
        let labels = Tensor::from_vec(labels, indices.len(), &Device::Cpu)?;
        Ok(Batch { features, labels, indices: indices.to_vec() })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.plan.batch_size == 0 {
            self.order.clear();
            self.plan.batch_size = 1;
            return Some(Err(Error::Setting {
                setting: "batch_size",
                value: "0".to_owned(),
                expected: "at least 1",
            }));
        }
        let start = self.next.saturating_mul(self.plan.batch_size);
        let end = start.saturating_add(self.plan.batch_size).min(self.order.len());
        self.next += 1;
        (start < end).then(|| self.batch(&self.order[start..end]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.total().saturating_sub(self.next);
        (left, Some(left.max(1)))
    }
}

#[cfg(test)]
mod tests;
