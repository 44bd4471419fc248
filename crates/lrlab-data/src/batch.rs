//! One pass over a split: the examples of each batch, and the batch as tensors.

mod batches;
mod order;
mod plan;
mod prefetch;
mod recipe;
mod recipes;
mod tensors;

pub use batches::Batches;
pub use plan::{BatchPlan, Order};
pub use prefetch::Prefetch;
pub use recipe::{Examples, Raw, Recipe, View};
pub use recipes::Recipes;
pub use tensors::{Batch, Features};

#[cfg(test)]
mod tests;
