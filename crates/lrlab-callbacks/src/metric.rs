//! A monitored metric: its name, its direction, and what counts as better.

use lrlab_runs::EpochMetrics;

use crate::{Context, Error, Moment};

/// A metric of [`EpochMetrics`] that can be compared. The direction is the metric's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) higher_is_better: bool,
}

impl Metric {
    pub(crate) fn new(callback: &str, name: &str) -> Result<Self, Error> {
        if !EpochMetrics::NAMES.contains(&name) {
            return Err(Error::unknown_metric(callback, name));
        }
        let higher_is_better = EpochMetrics::higher_is_better(name).ok_or_else(|| {
            Error::config(
                callback,
                format!("{name:?} is neither better high nor low, so it cannot be monitored"),
            )
        })?;
        Ok(Self { name: name.to_owned(), higher_is_better })
    }

    /// What was measured, finite or not; none where nothing was.
    pub(crate) fn value(&self, metrics: &EpochMetrics) -> Option<f64> {
        metrics.get(&self.name).flatten()
    }

    /// Whether `value` beats `best` by more than `min_delta`. NaN and infinity beat nothing, anything finite beats `None`.
    pub(crate) fn better(&self, value: f64, best: Option<f64>, min_delta: f64) -> bool {
        value.is_finite()
            && match best {
                None => true,
                Some(best) if self.higher_is_better => value > best + min_delta,
                Some(best) => value < best - min_delta,
            }
    }
}

/// `factor` times `loss`, for a loss of either sign: `factor` − 1 of its magnitude above it.
pub(crate) fn times_worse(loss: f64, factor: f64) -> f64 {
    loss + (factor - 1.0) * loss.abs()
}

impl Error {
    pub(crate) fn config(callback: &str, message: impl Into<String>) -> Self {
        Self::Config { callback: callback.to_owned(), message: message.into() }
    }

    pub(crate) fn unknown_metric(callback: &str, name: &str) -> Self {
        Self::UnknownMetric {
            callback: callback.to_owned(),
            name: name.to_owned(),
            known: EpochMetrics::NAMES.join(", "),
        }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}

impl Context<'_> {
    /// Whether the next update is the first of a new cycle of the schedule.
    pub(crate) fn restarts(&self) -> bool {
        use lrlab_schedulers::MarkKind::Restart;
        let first = self.marks.partition_point(|mark| mark.update < self.update);
        let here = self.marks[first..].iter().take_while(|mark| mark.update == self.update);
        self.update > 0 && self.update < self.updates && here.into_iter().any(|mark| mark.kind == Restart)
    }

    /// Whether this is an epoch's last update, so that its figures are still to come.
    pub(crate) fn epoch_ends(&self) -> bool {
        self.updates_per_epoch > 0 && self.update.is_multiple_of(self.updates_per_epoch)
    }

    /// As [`Context::restarts`], but once per restart, and after the epoch's figures where an epoch ends with
    /// the cycle: those figures still belong to the old one.
    pub(crate) fn cycle_ended(&self) -> bool {
        match self.moment {
            Moment::Update { .. } => !self.epoch_ends() && self.restarts(),
            Moment::Epoch(_) => self.epoch_ends() && self.restarts(),
            _ => false,
        }
    }
}
