//! What a batch is made of: which examples, and what is done to each. Nothing of it is as large as the batch.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::{Batch, BatchPlan, order};
use crate::dataset::{Split, Store};
use crate::{Error, pictures, tokens};

/// A batch that is yet to be made from what [`Split::raw`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What goes into the model.
    pub examples: Examples,
    /// Each example's class.
    pub labels: Vec<u32>,
    /// Each example's place in its split.
    pub indices: Vec<u32>,
}

/// The examples of a batch that is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examples {
    /// How to look at which of [`Raw::Pictures`].
    Pictures(Vec<View>),
    /// Where each sequence lies in [`Raw::Tokens`]; it is padded with 0 to the longest of the batch.
    Tokens(Vec<Range<u32>>),
}

/// How one picture is looked at: moved, then mirrored, then blanked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The picture's place among the pixels.
    pub picture: u32,
    /// Rows and columns by which it is moved up and to the left. What comes in at the other side is black, byte 0.
    pub shift: (isize, isize),
    /// Whether left and right are exchanged.
    pub flip: bool,
    /// Rows and columns whose values become 0.0.
    pub blank: (Range<usize>, Range<usize>),
}

/// Examples as they lie in memory, those of other splits perhaps among them: splits may share a memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// Pictures.
    Pictures {
        /// Bytes `(picture, channel, row, column)`.
        pixels: &'a [u8],
        /// Channels, height and width of a picture.
        shape: [usize; 3],
        /// What each byte of each channel becomes.
        tables: &'a [[f32; 256]],
    },
    /// Sequences, one after the other.
    Tokens {
        /// Their ids.
        ids: &'a [u32],
    },
}

/// The recipes of the batches of one pass, in order.
#[derive(Debug, Clone)]
pub struct Recipes {
    split: Split,
    plan: BatchPlan,
    order: Vec<u32>,
    next: usize,
}

impl Recipes {
    pub(crate) fn new(split: Split, plan: BatchPlan) -> Self {
        let order = order::order(&split, &plan);
        Self { next: plan.first_batch, split, plan, order }
    }

    /// Batches of the whole pass, those left out at the start included; 0 for a batch size of 0.
    #[must_use]
    pub fn total(&self) -> usize {
        if self.plan.batch_size == 0 { 0 } else { self.order.len().div_ceil(self.plan.batch_size) }
    }

    /// The split that is passed over.
    pub(super) fn split(&self) -> &Split {
        &self.split
    }

    fn recipe(&self, indices: &[u32]) -> Recipe {
        let examples = match &self.split.store {
            Store::Pictures(split) => Examples::Pictures(split.views(indices, self.plan.augment.as_ref())),
            Store::Tokens(split) => Examples::Tokens(split.spans(indices)),
        };
        let labels = indices.iter().map(|&i| self.split.labels[i as usize]).collect();
        Recipe { examples, labels, indices: indices.to_vec() }
    }
}

impl Iterator for Recipes {
    type Item = Result<Recipe, Error>;

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
        (start < end).then(|| Ok(self.recipe(&self.order[start..end])))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.total().saturating_sub(self.next);
        (left, Some(left.max(1)))
    }
}

impl Split {
    /// What recipes of this split speak of.
    #[must_use]
    pub fn raw(&self) -> Raw<'_> {
        match &self.store {
            Store::Pictures(split) => split.raw(),
            Store::Tokens(split) => Raw::Tokens { ids: &split.sequences.ids },
        }
    }

    /// The batch of one of this split's recipes, on the CPU.
    pub(super) fn batch(&self, recipe: Recipe) -> Result<Batch, Error> {
        let Recipe { examples, labels, indices } = recipe;
        let features = match (&self.store, &examples) {
            (Store::Pictures(split), Examples::Pictures(views)) => pictures::features(split, views)?,
            (Store::Tokens(split), Examples::Tokens(spans)) => tokens::features(&split.sequences, spans)?,
            _ => {
                let other = "a recipe of another split".to_owned();
                return Err(candle_core::Error::Msg(other).into());
            }
        };
        let count = labels.len();
        Ok(Batch { features, labels: Tensor::from_vec(labels, count, &Device::Cpu)?, indices })
    }
}
