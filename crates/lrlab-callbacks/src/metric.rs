//! A monitored metric: its name and its direction.

use lrlab_runs::EpochMetrics;

use crate::{Context, Error, Hook};

/// A metric of [`EpochMetrics`] with a better direction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    /// The name in the configuration: `val_loss`, or `max:top5` for a user-defined metric.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) higher_is_better: bool,
}

impl Metric {
    pub(crate) fn new(callback: &str, name: &str) -> Result<Self, Error> {
        if let Some((direction, own)) = EpochMetrics::custom(name) {
            if EpochMetrics::NAMES.contains(&own) {
                let message = format!("{own:?} has a fixed direction; write it without \"{direction}:\"");
                return Err(Error::config(callback, message));
            }
            let higher_is_better = direction == "max";
            return Ok(Self { key: name.to_owned(), name: own.to_owned(), higher_is_better });
        }
        if !EpochMetrics::NAMES.contains(&name) {
            return Err(Error::unknown_metric(callback, name));
        }
        let higher_is_better = EpochMetrics::higher_is_better(name).ok_or_else(|| {
            Error::config(callback, format!("{name:?} has no better direction, so it cannot be monitored"))
        })?;
        Ok(Self { key: name.to_owned(), name: name.to_owned(), higher_is_better })
    }

    /// Returns the measured value, finite or not; `None` if it was not measured.
    pub(crate) fn value(&self, metrics: &EpochMetrics) -> Option<f64> {
        metrics.get(&self.name).flatten()
    }

    /// Returns whether `value` is better than `best` by more than `min_delta`. A non-finite value is never better; any finite
    /// value is better than `None`.
    pub(crate) fn better(&self, value: f64, best: Option<f64>, min_delta: f64) -> bool {
        value.is_finite()
            && match best {
                None => true,
                Some(best) if self.higher_is_better => value > best + min_delta,
                Some(best) => value < best - min_delta,
            }
    }
}

/// Returns `loss + (factor − 1) · |loss|`, which is `factor` times a positive loss.
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

    pub(crate) fn unsupported(action: &str, method: &str) -> Self {
        let message = format!("it does not implement `Host::{method}`, which a callback of this run needs");
        Self::Host { action: action.to_owned(), message }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}

impl Context<'_> {
    /// Returns whether the next update is the first of a new cycle of the schedule.
    pub(crate) fn restarts(&self) -> bool {
        use lrlab_schedulers::MarkKind::Restart;
        let first = self.marks.partition_point(|mark| mark.update < self.update);
        let here = self.marks[first..].iter().take_while(|mark| mark.update == self.update);
        self.update > 0 && self.update < self.updates && here.into_iter().any(|mark| mark.kind == Restart)
    }

    /// Returns whether the last update ended an epoch, whose metrics follow. The last epoch of a run may be shorter.
    pub(crate) fn epoch_ends(&self) -> bool {
        let ends = self.updates_per_epoch > 0 && self.update.is_multiple_of(self.updates_per_epoch);
        ends || self.update >= self.updates
    }

    /// Like [`Context::restarts`], but `true` once per restart, and after the metrics of an epoch that ends with the cycle,
    /// because these metrics still belong to the old cycle.
    pub(crate) fn cycle_ended(&self) -> bool {
        match self.hook {
            Hook::UpdateEnd { .. } => !self.epoch_ends() && self.restarts(),
            Hook::EpochEnd(_) => self.epoch_ends() && self.restarts(),
            _ => false,
        }
    }
}
