//! How long a run is, as far as its specification tells.

use lrlab_schedulers::Horizon;

use crate::{DataSpec, RunSpec, SourceSpec};

impl SourceSpec {
    /// Examples for training and validation together; `None` for a data set of the user's own.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        match self {
            Self::Cifar10(_) => Some(50_000),
            Self::Imdb(_) => Some(25_000),
            Self::SyntheticPictures(spec) => Some(spec.train),
            Self::SyntheticReviews(spec) => Some(spec.train),
            Self::Custom(_) => None,
        }
    }
}

impl DataSpec {
    /// Examples of the training split; `None` for a data set of the user's own.
    #[must_use]
    pub fn training_examples(&self) -> Option<usize> {
        let rows = self.source.rows()?;
        let share = if matches!(self.source, SourceSpec::Cifar10(_) | SourceSpec::Imdb(_)) { 10 } else { 5 };
        let left = rows.saturating_sub(self.validation.unwrap_or(rows / share));
        Some(self.limit.train.map_or(left, |limit| left.min(limit)))
    }
}

impl RunSpec {
    /// The run's length; `None` for a data set of the user's own.
    #[must_use]
    pub fn horizon(&self) -> Option<Horizon> {
        self.data.training_examples().map(|examples| self.horizon_on(examples))
    }

    /// The run's length on so many training examples.
    #[must_use]
    pub fn horizon_on(&self, examples: usize) -> Horizon {
        let batches = examples.div_ceil(self.batch_size.max(1));
        let updates_per_epoch = batches.div_ceil(self.accumulate.max(1)) as u64;
        Horizon { updates: updates_per_epoch.saturating_mul(self.epochs), updates_per_epoch }
    }
}
