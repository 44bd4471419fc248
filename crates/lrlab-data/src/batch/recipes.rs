//! The recipes of the batches of one pass, and the batches made from them.

use candle_core::{Device, Tensor};

use super::order;
use super::plan::BatchPlan;
use super::recipe::{Examples, Raw, Recipe};
use super::tensors::Batch;
use crate::dataset::{Split, Store};
use crate::{Error, pictures, tokens};

/// The recipes of the batches of one pass, in order.
#[derive(Debug, Clone)]
pub struct Recipes {
    split: Split,
    plan: BatchPlan,
    order: Vec<u32>,
    next: usize,
}

impl Recipes {
    /// Returns the number of batches of the whole pass, including skipped ones; 0 for a batch size of 0.
    #[must_use]
    pub fn total(&self) -> usize {
        if self.plan.batch_size == 0 { 0 } else { self.order.len().div_ceil(self.plan.batch_size) }
    }

    /// Returns the split.
    pub(super) fn split(&self) -> &Split {
        &self.split
    }

    fn recipe(&self, indices: &[u32]) -> Recipe {
        let examples = match &self.split.store {
            Store::Pictures(split) => Examples::Pictures(split.views(indices, self.plan.augmentation())),
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
    /// Returns the recipes of the batches of [`Split::batches`], in the same order, for callers that assemble the batches themselves.
    #[must_use]
    pub fn recipes(&self, plan: BatchPlan) -> Recipes {
        let order = order::order(self, &plan);
        Recipes { next: plan.first_batch, split: self.clone(), plan, order }
    }

    /// Returns the examples that recipes of this split refer to; `None` if they are not in memory.
    #[must_use]
    pub fn raw(&self) -> Option<Raw<'_>> {
        match &self.store {
            Store::Pictures(split) => split.raw(),
            Store::Tokens(split) => split.sequences.in_memory().map(|ids| Raw::Tokens { ids }),
        }
    }

    /// Assembles the batch of a recipe of this split on the CPU.
    pub(super) fn batch(&self, recipe: Recipe) -> Result<Batch, Error> {
        let Recipe { examples, labels, indices } = recipe;
        let features = match (&self.store, &examples) {
            (Store::Pictures(split), Examples::Pictures(views)) => pictures::features(split, views)?,
            (Store::Tokens(split), Examples::Tokens(_)) => tokens::features(split, &indices)?,
            _ => {
                let other = "the recipe belongs to another kind of data".to_owned();
                return Err(candle_core::Error::Msg(other).into());
            }
        };
        let count = labels.len();
        Ok(Batch { features, labels: Tensor::from_vec(labels, count, &Device::Cpu)?, indices })
    }
}
