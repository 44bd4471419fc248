//! The two traits of this crate: a [`Callback`] decides, a [`Host`] acts.

use std::any::Any;
use std::collections::BTreeMap;

use lrlab_runs::{Decision, EpochMetrics};
use lrlab_schedulers::{Mark, Observation};
use serde::{Deserialize, Serialize};

/// The phases of a hook, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Derive values from known ones.
    Measure,
    /// Save the weights that the metrics were measured on, before a control action may replace them.
    Keep,
    /// Change the learning rate, rewind, stop.
    Control,
    /// Save the state from which training continues, after control.
    Snapshot,
    /// Write logs.
    Report,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 5] = [Self::Measure, Self::Keep, Self::Control, Self::Snapshot, Self::Report];
}

/// A point in a run at which callbacks are called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hook<'a> {
    /// Before the first update, and after a resume.
    FitStart,
    /// Before the first update of an epoch.
    EpochStart,
    /// After an update.
    UpdateEnd {
        /// The mean loss over the examples of the update.
        loss: f64,
        /// The global gradient norm before clipping, if it was computed.
        grad_norm: Option<f64>,
        /// User-defined metrics ([`Session::log`](crate::Session::log)).
        extra: &'a BTreeMap<String, f64>,
    },
    /// After the validation of an epoch, with its metrics: `None` if a metric was not measured, `Some` of a non-finite value if
    /// it was measured and is not finite.
    EpochEnd(&'a EpochMetrics),
    /// After the last update, or after a stop.
    FitEnd,
    /// The run is about to fail.
    Failed {
        /// The error.
        error: &'a str,
    },
}

/// The read-only view of a run that callbacks receive.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The current hook.
    pub hook: Hook<'a>,
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// The number of updates of the run.
    pub updates: u64,
    /// The number of updates per epoch.
    pub updates_per_epoch: u64,
    /// The number of epochs of the run.
    pub epochs: u64,
    /// The learning rate of the last update; before the first update, the rate of that update.
    pub lr: f64,
    /// The rate of the schedule for the next update, without gains and bounds.
    pub schedule_lr: f64,
    /// The product of the gains of all callbacks.
    pub gain: f64,
    /// The marks of the schedule, in order.
    pub marks: &'a [Mark],
    /// Seconds since the run began, over all attempts.
    pub elapsed_s: f64,
    /// The metrics of completed epochs, oldest first.
    pub history: &'a [EpochMetrics],
    /// The decisions so far, oldest first.
    pub decisions: &'a [Decision],
}

/// An action that a callback requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Set the gain of the callback, from the next update on. The loop records the decision with the rates before and after.
    SetGain {
        /// The new gain, > 0.
        gain: f64,
        /// The monitored metric.
        metric: String,
        /// The value of the metric.
        value: f64,
        /// The reason.
        reason: String,
    },
    /// Run a trial: train `updates` updates at the current rate times `factor`, observe the validation loss, and restore the
    /// state ([`Host::trial`]). [`Callback::tried`] receives the observation.
    Try {
        /// The factor of the rate, > 0.
        factor: f64,
        /// The number of updates.
        updates: u64,
    },
    /// Stop training after this hook, if need be within an epoch: [`Session::is_over`](crate::Session::is_over) returns true.
    Stop {
        /// The monitored metric, or empty.
        metric: String,
        /// The value of the metric.
        value: f64,
        /// The reason.
        reason: String,
    },
    /// Stop training and record that the run diverged.
    Diverge {
        /// The reason.
        reason: String,
    },
    /// Save the weights and the optimizer state under a tag, replacing an earlier snapshot.
    Save {
        /// The tag: `best`, `last`, …
        tag: String,
    },
    /// Discard the snapshot under a tag.
    Discard {
        /// The tag.
        tag: String,
    },
    /// Restore the weights and the optimizer state from the snapshot under a tag.
    Restore {
        /// The tag.
        tag: String,
        /// The reason.
        reason: String,
    },
    /// Restore the snapshot under a tag and train on from it: [`Action::Restore`], and the average of the weights becomes that
    /// at the time of the snapshot ([`Host::rewind`]).
    Rewind {
        /// The tag.
        tag: String,
        /// The reason.
        reason: String,
    },
    /// Update or apply an average of the weights.
    Average(Averaging),
    /// Recompute the batch-norm statistics on the training split with the current weights.
    RecomputeNormStatistics,
}

impl Action {
    /// Returns whether the action may change the current weights.
    pub(crate) fn changes_weights(&self) -> bool {
        matches!(
            self,
            Self::Restore { .. } | Self::Rewind { .. } | Self::Average(_) | Self::RecomputeNormStatistics
        )
    }

    /// Carries out an action on weights with `host`: save, discard, restore, rewind, average, recompute. Returns `false` for
    /// the other actions (rate, trials, stop), which the loop carries out.
    ///
    /// # Errors
    /// Returns the error of the host.
    pub fn carry_out(&self, host: &mut dyn Host) -> Result<bool, Error> {
        match self {
            Self::Save { tag } => host.save(tag)?,
            Self::Discard { tag } => host.discard(tag)?,
            Self::Restore { tag, .. } => host.restore(tag)?,
            Self::Rewind { tag, .. } => host.rewind(tag)?,
            Self::Average(rule) => host.average(*rule)?,
            Self::RecomputeNormStatistics => host.recompute_norm_statistics()?,
            Self::SetGain { .. } | Self::Try { .. } | Self::Stop { .. } | Self::Diverge { .. } => {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// An operation on the average of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// `average ← decay · average + (1 − decay) · weights`.
    Exponential {
        /// The decay, 0 … 1.
        decay: f64,
    },
    /// `average ← average + (weights − average) / n`, where n is the number of averaged weights (SWA).
    Uniform,
    /// Mean of the last `k` weights (LAWA).
    Latest {
        /// The number of weights.
        k: usize,
    },
    /// Replace the weights by the average.
    Apply,
}

/// An error of a callback.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A saved state has another shape.
    #[error("state of {callback}: {source}")]
    State {
        /// The name of the callback.
        callback: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The monitored metric does not exist.
    #[error(
        "{callback} monitors {name:?}, which is not a metric; expected one of {known}, or \"min:NAME\" or \"max:NAME\" for one of `EpochMetrics::extra`"
    )]
    UnknownMetric {
        /// The name of the callback.
        callback: String,
        /// The name of the metric.
        name: String,
        /// The existing metrics.
        known: String,
    },
    /// The configuration is invalid.
    #[error("{callback}: {message}")]
    Config {
        /// The name of the callback.
        callback: String,
        /// The value and what was expected.
        message: String,
    },
    /// The host failed to carry out an action.
    #[error("the host failed to {action}: {message}")]
    Host {
        /// The action.
        action: String,
        /// The cause.
        message: String,
    },
}

/// Observes a run and may act on it by returning [`Action`]s.
///
/// The supertrait `Any` lets [`Callbacks::get`](crate::Callbacks::get) return a callback by its type.
pub trait Callback: Any + Send {
    /// Returns the name for logs, decisions and saved state, which is unique within a run.
    fn name(&self) -> &str;

    /// Returns the monitored metrics; one of [`EpochMetrics::extra`] as `min:NAME` or `max:NAME`. An unknown name is an error at [`Hook::FitStart`].
    fn monitors(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Called once per phase of every hook.
    ///
    /// # Errors
    /// Returns an error if a file or the configuration makes it impossible to continue.
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error>;

    /// Called with the observation of a requested trial ([`Action::Try`]).
    ///
    /// # Errors
    /// See [`Callback::on`].
    fn tried(&mut self, _seen: &Observation) -> Result<Vec<Action>, Error> {
        Ok(Vec::new())
    }

    /// Returns the state of the callback, without its configuration; `Null` if it has none.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Restores the output of [`Callback::state`].
    ///
    /// # Errors
    /// Returns an error if the state has another shape.
    fn restore(&mut self, state: serde_json::Value) -> Result<(), Error> {
        let _ = state;
        Ok(())
    }
}

/// Carries out the actions on weights: part of a training loop.
///
/// The first three methods are required. The others serve callbacks that not every run has. Their defaults return an error
/// that names the method to implement, or do nothing if this suits most loops.
pub trait Host {
    /// Saves the weights and the optimizer state under `tag`.
    ///
    /// # Errors
    /// Returns an error if storing fails.
    fn save(&mut self, tag: &str) -> Result<(), Error>;
    /// Restores the snapshot under `tag`.
    ///
    /// # Errors
    /// Returns an error if there is no snapshot under `tag`, or reading it fails.
    fn restore(&mut self, tag: &str) -> Result<(), Error>;
    /// Restores the snapshot under `tag`, from which training continues. A host with an average of the weights also restores
    /// the average at the time of the snapshot, because the later one contains the weights that the rewind discards. By
    /// default this is [`Host::restore`].
    ///
    /// # Errors
    /// As [`Host::restore`].
    fn rewind(&mut self, tag: &str) -> Result<(), Error> {
        self.restore(tag)
    }
    /// Discards the snapshot under `tag`, if there is one.
    ///
    /// # Errors
    /// Returns an error if removing it fails.
    fn discard(&mut self, tag: &str) -> Result<(), Error>;
    /// Updates or applies the average of the weights, for [`WeightAveraging`](crate::WeightAveraging).
    ///
    /// # Errors
    /// Returns an error if the operation fails, if there is no average to apply, or, by default, always. An average that a
    /// rewind emptied leaves the weights as they are.
    fn average(&mut self, _rule: Averaging) -> Result<(), Error> {
        Err(Error::unsupported("average the weights", "average"))
    }
    /// Recomputes the batch-norm statistics on the training split; does nothing by default, which is right for a network
    /// without batch norm.
    ///
    /// # Errors
    /// Returns an error if the forward pass fails.
    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Makes one update at each rate of `lrs`, observes the validation loss, and restores the weights, the statistics, the
    /// optimizer state and the number of updates. Controllers that search, such as `auto_lrs`, need it.
    ///
    /// # Errors
    /// Returns an error if training fails, or, by default, always.
    fn trial(&mut self, _lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        Err(Error::unsupported("run a trial", "trial"))
    }
    /// Stores everything from which the run can continue: the weights, the optimizer state, the average, the snapshots, and
    /// the state of the session, for [`Session::checkpoint_every`](crate::Session::checkpoint_every).
    ///
    /// # Errors
    /// Returns an error if storing fails, or, by default, always.
    fn checkpoint(&mut self, _session: &serde_json::Value) -> Result<(), Error> {
        Err(Error::unsupported("store a checkpoint", "checkpoint"))
    }
    /// Restores the last [`Host::checkpoint`] and returns the state of the session; `None`, the default, if there is no
    /// checkpoint.
    ///
    /// # Errors
    /// Returns an error if a checkpoint exists and cannot be read.
    fn resume(&mut self) -> Result<Option<serde_json::Value>, Error> {
        Ok(None)
    }
    /// Receives each decision as it is recorded; does nothing by default.
    fn decided(&mut self, _decision: &Decision) {}
}
