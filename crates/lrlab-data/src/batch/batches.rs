//! The batches of one pass.

use super::plan::BatchPlan;
use super::recipes::Recipes;
use super::tensors::Batch;
use crate::Error;
use crate::dataset::Split;

impl Split {
    /// Returns the batches of one pass over the examples.
    #[must_use]
    pub fn batches(&self, plan: BatchPlan) -> Batches {
        Batches { recipes: self.recipes(plan) }
    }
}

/// The batches of one pass, in order: each is made from its [`Recipe`](crate::Recipe).
#[derive(Debug, Clone)]
pub struct Batches {
    recipes: Recipes,
}

impl Batches {
    /// Returns the number of batches of the whole pass, including skipped ones; 0 for a batch size of 0.
    #[must_use]
    pub fn total(&self) -> usize {
        self.recipes.total()
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
