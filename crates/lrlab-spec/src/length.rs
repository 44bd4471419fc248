//! The length of a run, as far as its specification determines it.

use lrlab_config::{Limit, ResNetConfig, Stem, Validation, ValidationSplit};
use lrlab_schedulers::Horizon;

use crate::{DataSpec, ModelSpec, RunSpec};

impl DataSpec {
    /// The number of training examples; `None` for a custom data set.
    #[must_use]
    pub fn training_examples(&self) -> Option<usize> {
        let rows = self.source.rows()?;
        let held_out = match self.validation {
            None => self.source.default_validation(rows),
            Some(Validation::Examples(examples)) => examples,
            Some(Validation::Split(ValidationSplit::Test)) => 0,
        };
        let left = rows.saturating_sub(held_out);
        Some(self.limit.train.map_or(left, |limit| left.min(limit)))
    }
}

impl DataSpec {
    /// Returns the keys of limits that are not below the number of examples, with that number.
    pub(crate) fn limits_without_effect(&self) -> Vec<(&'static str, usize)> {
        let (Some(rows), Some(test)) = (self.source.rows(), self.source.test_rows()) else {
            return Vec::new();
        };
        let without = Self { limit: Limit::default(), ..self.clone() };
        let train = without.training_examples().unwrap_or(rows);
        let validation = if self.validates_on_test() { test } else { rows - train };
        [
            ("data.limit.train", self.limit.train, train),
            ("data.limit.validation", self.limit.validation, validation),
            ("data.limit.test", self.limit.test, test),
        ]
        .into_iter()
        .filter(|(_, limit, examples)| limit.is_some_and(|limit| limit >= *examples))
        .map(|(path, _, examples)| (path, examples))
        .collect()
    }

    /// Returns whether validation reads the test split, so that choices by validation depend on the test examples.
    #[must_use]
    pub fn validates_on_test(&self) -> bool {
        self.validation == Some(Validation::TEST_SPLIT)
    }
}

impl RunSpec {
    /// The run's length; `None` for a custom data set.
    #[must_use]
    pub fn horizon(&self) -> Option<Horizon> {
        self.data.training_examples().map(|examples| self.horizon_on(examples))
    }

    /// The run's length for this number of training examples.
    #[must_use]
    pub fn horizon_on(&self, examples: usize) -> Horizon {
        let batches = examples.div_ceil(self.batch_size.max(1));
        let updates_per_epoch = batches.div_ceil(self.accumulate.max(1)) as u64;
        Horizon { updates: updates_per_epoch.saturating_mul(self.epochs), updates_per_epoch }
    }
}

/// Height and width of the last stage's feature maps for pictures of `side` × `side`.
fn last_side(network: &ResNetConfig, side: usize) -> usize {
    let stem = if network.stem == Stem::ImageNet { 2 } else { 0 };
    let stages = if matches!(network.depth, 18 | 34 | 50) { 4 } else { 3 };
    // Each halving rounds up.
    (0..stem + stages - 1).fold(side, |side, _| side.div_ceil(2))
}

/// A batch of a single example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoneExample {
    /// A description of the batch.
    pub message: String,
    /// A suggestion.
    pub suggestion: String,
}

impl RunSpec {
    /// Returns the batch of a single example, if an epoch of this number of training examples has one. A network fails
    /// within its first epoch if its batch norm gets only one value per channel from this batch.
    #[must_use]
    pub fn lone_example(&self, examples: usize) -> Option<LoneExample> {
        let lone = |size: usize| size <= 1 || examples % size == 1;
        let size = self.batch_size;
        if examples == 0 || !lone(size) {
            return None;
        }
        let which = if size == 1 { "each batch is" } else { "the last batch of an epoch is" };
        let message = format!("`batch_size` is {size}, so {which} 1 of {examples} examples");
        let others: Vec<String> =
            [(2..size).rev().find(|size| !lone(*size)), (size + 1..=examples).find(|size| !lone(*size))]
                .into_iter()
                .flatten()
                .map(|size| size.to_string())
                .collect();
        let suggestion = if others.is_empty() {
            "use more examples for training".to_owned()
        } else {
            format!("a batch size of {} avoids it, as does another number of examples", others.join(" or "))
        };
        Some(LoneExample { message, suggestion })
    }

    /// Like [`lone_example`](Self::lone_example), if the network reduces pictures of `side` × `side` to one value per channel.
    pub(crate) fn lone_value(&self, examples: usize, side: usize) -> Option<LoneExample> {
        let ModelSpec::Resnet(network) = &self.model else { return None };
        let LoneExample { message, suggestion } =
            self.lone_example(examples).filter(|_| last_side(network, side) <= 1)?;
        let message = format!(
            "{message}, and from pictures of {side} × {side} this network's last stage is 1 × 1: one value per channel \
             has no variance for its batch norm"
        );
        Some(LoneExample { message, suggestion })
    }
}

/// A valid setting that exceeds the available number of examples or batches, which is probably unintended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    /// The key of the run.
    pub key: &'static str,
    /// The warning.
    pub message: String,
    /// A suggestion.
    pub suggestion: String,
}

impl RunSpec {
    /// Returns settings that exceed an epoch of this number of training examples: `batch_size` above the number of examples,
    /// `accumulate` above the number of batches.
    #[must_use]
    pub fn oversized(&self, examples: usize) -> Vec<Oversized> {
        let plural = |n: usize, word: &str, words: &str| format!("{n} {}", if n == 1 { word } else { words });
        let mut found = Vec::new();
        if self.batch_size > examples {
            found.push(Oversized {
                key: "batch_size",
                message: format!(
                    "`batch_size` is {}, but an epoch has {}, so its only batch is smaller",
                    self.batch_size,
                    plural(examples, "training example", "training examples")
                ),
                suggestion: format!("set `batch_size` to {examples} or less"),
            });
        }
        let batches = examples.div_ceil(self.batch_size.max(1));
        if self.accumulate > batches {
            found.push(Oversized {
                key: "accumulate",
                message: format!(
                    "`accumulate` is {}, but an epoch has {}, so larger values have no effect",
                    self.accumulate,
                    plural(batches, "batch", "batches")
                ),
                suggestion: format!("set `accumulate` to {batches} or less, or make `batch_size` smaller"),
            });
        }
        found
    }
}
