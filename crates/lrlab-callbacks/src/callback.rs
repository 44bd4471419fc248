//! The two traits this crate is built on: [`Callback`] decides, [`Host`] acts.

use std::any::Any;

use lrlab_runs::{Decision, EpochMetrics};
use lrlab_schedulers::{Mark, Observation};
use serde::{Deserialize, Serialize};

/// The order within one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Derive values from what is known.
    Measure,
    /// Save the weights that the event's figures were measured on, before control may replace them.
    Keep,
    /// Change the rate, rewind, stop.
    Control,
    /// Save the state that training goes on from, after control.
    Snapshot,
    /// Tell the world.
    Report,
}

impl Phase {
    /// All phases in their order.
    pub const ALL: [Self; 5] = [Self::Measure, Self::Keep, Self::Control, Self::Snapshot, Self::Report];
}

/// The closed set of events a run consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment<'a> {
    /// Before the first update, also after a resume.
    FitStart,
    /// Before an epoch's first update.
    EpochStart,
    /// After an update.
    Update {
        /// Mean loss over the update's examples.
        loss: f64,
        /// Global gradient norm before clipping, where it was computed.
        grad_norm: Option<f64>,
    },
    /// After an epoch's validation: its figures. `None` is what was not measured, `Some` of NaN what was and is not
    /// finite.
    Epoch(&'a EpochMetrics),
    /// After the last update, or after a stop.
    FitEnd,
    /// The run is about to fail.
    Failed {
        /// Why.
        error: &'a str,
    },
}

/// What a callback may know. Read only.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What just happened.
    pub moment: Moment<'a>,
    /// Updates made so far.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// Updates of the whole run.
    pub updates: u64,
    /// Updates of one epoch.
    pub updates_per_epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// The rate of the last update made (of the first one to make, before it).
    pub lr: f64,
    /// The schedule's rate for the next update, without any gain or clamp.
    pub schedule_lr: f64,
    /// Product of all controllers' gains in force.
    pub gain: f64,
    /// The schedule's marks, in order.
    pub marks: &'a [Mark],
    /// Seconds since the run began, over all attempts.
    pub elapsed_s: f64,
    /// Completed epochs' figures, oldest first.
    pub history: &'a [EpochMetrics],
    /// Decisions taken so far, oldest first.
    pub decisions: &'a [Decision],
}

/// What a callback asks the loop to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// This callback's gain becomes `gain`, from the next update on. The loop fills in the rates before and
    /// after and records the decision.
    SetGain {
        /// The new gain, > 0.
        gain: f64,
        /// The metric looked at.
        metric: String,
        /// Its value.
        value: f64,
        /// Why.
        reason: String,
    },
    /// Train `updates` updates from here at the rate in force times `factor`, observe the validation loss, and restore
    /// everything ([`Host::trial`]). The observation goes to [`Callback::tried`].
    Try {
        /// What the rate in force is multiplied by, > 0.
        factor: f64,
        /// How many updates.
        updates: u64,
    },
    /// Training ends after this event.
    Stop {
        /// The metric looked at, or empty.
        metric: String,
        /// Its value.
        value: f64,
        /// Why.
        reason: String,
    },
    /// The run diverged: training ends, the outcome says so.
    Diverge {
        /// Why.
        reason: String,
    },
    /// Keep weights and optimizer under this tag, replacing what was there.
    Save {
        /// The tag: `best`, `last`, …
        tag: String,
    },
    /// Forget what is kept under this tag.
    Discard {
        /// The tag.
        tag: String,
    },
    /// Weights and optimizer go back to what is kept under this tag.
    Restore {
        /// The tag.
        tag: String,
        /// Why.
        reason: String,
    },
    /// Feed or apply an average of the weights.
    Average(Averaging),
    /// Recompute batch-norm statistics on the training split with the weights in force.
    RecomputeNormStatistics,
}

impl Action {
    /// Whether the weights in force may differ afterwards.
    pub(crate) fn changes_weights(&self) -> bool {
        matches!(self, Self::Restore { .. } | Self::Average(_) | Self::RecomputeNormStatistics)
    }

    /// Has `host` carry out an action on weights: save, discard, restore, average, recompute. Returns `false` for the
    /// other actions, on rate, trials and end, which are left to the loop.
    ///
    /// # Errors
    /// The host's.
    pub fn carry_out(&self, host: &mut dyn Host) -> Result<bool, Error> {
        match self {
            Self::Save { tag } => host.save(tag)?,
            Self::Discard { tag } => host.discard(tag)?,
            Self::Restore { tag, .. } => host.restore(tag)?,
            Self::Average(rule) => host.average(*rule)?,
            Self::RecomputeNormStatistics => host.recompute_norm_statistics()?,
            Self::SetGain { .. } | Self::Try { .. } | Self::Stop { .. } | Self::Diverge { .. } => {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What a host can do with averages of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// `average ← decay · average + (1 − decay) · weights`.
    Exponential {
        /// The decay, 0 … 1.
        decay: f64,
    },
    /// `average ← average + (weights − average) / n`, n the number of weights seen (SWA).
    Uniform,
    /// Mean of the last `k` weights (LAWA).
    Latest {
        /// How many.
        k: usize,
    },
    /// Put the average in the weights' place.
    Apply,
}

/// What can go wrong in a callback.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of a logger or checkpoint.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A saved state that does not fit.
    #[error("state of {callback}: {source}")]
    State {
        /// The callback's name.
        callback: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A metric that no run has.
    #[error("{callback} monitors {name:?}, which is no metric; there are: {known}")]
    UnknownMetric {
        /// The callback's name.
        callback: String,
        /// What it asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Bad configuration.
    #[error("{callback}: {message}")]
    Config {
        /// The callback's name.
        callback: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The host could not do what was asked.
    #[error("the host failed to {action}: {message}")]
    Host {
        /// What was asked.
        action: String,
        /// Why.
        message: String,
    },
}

/// Watches a run and may act on it by returning [`Action`]s.
///
/// `Any`, so that [`Callbacks::get`](crate::Callbacks::get) can hand a callback back to whoever built it.
pub trait Callback: Any {
    /// A name for logs, decisions and saved state; unique within a run.
    fn name(&self) -> &str;

    /// The metrics it looks at; a name that is none fails at [`Moment::FitStart`].
    fn monitors(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Called once per phase of every event.
    ///
    /// # Errors
    /// A file or configuration that makes going on senseless.
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error>;

    /// Called with what the trial came to that this callback asked for ([`Action::Try`]).
    ///
    /// # Errors
    /// As for [`Callback::on`].
    fn tried(&mut self, _seen: &Observation) -> Result<Vec<Action>, Error> {
        Ok(Vec::new())
    }

    /// Everything it remembers, never its configuration; `Null` where it remembers nothing.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Takes back what [`Callback::state`] gave.
    ///
    /// # Errors
    /// A state of another shape.
    fn restore(&mut self, state: serde_json::Value) -> Result<(), Error> {
        let _ = state;
        Ok(())
    }
}

/// What carries out actions: the training loop, or a user's own.
pub trait Host {
    /// Keeps weights and optimizer under `tag`.
    ///
    /// # Errors
    /// Storage fails.
    fn save(&mut self, tag: &str) -> Result<(), Error>;
    /// Goes back to what is kept under `tag`.
    ///
    /// # Errors
    /// Nothing is kept under it, or storage fails.
    fn restore(&mut self, tag: &str) -> Result<(), Error>;
    /// Forgets what is kept under `tag`; nothing where there is none.
    ///
    /// # Errors
    /// Storage fails.
    fn discard(&mut self, tag: &str) -> Result<(), Error>;
    /// Feeds or applies an average of the weights.
    ///
    /// # Errors
    /// Storage fails, or nothing was averaged yet.
    fn average(&mut self, rule: Averaging) -> Result<(), Error>;
    /// Recomputes batch-norm statistics on the training split.
    ///
    /// # Errors
    /// The forward pass fails.
    fn recompute_norm_statistics(&mut self) -> Result<(), Error>;
    /// Trains from here, one update at each of the rates `lrs`, observes the validation loss, and restores everything:
    /// weights, statistics, optimizer and the count of updates.
    ///
    /// # Errors
    /// Training fails.
    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error>;
    /// Receives each decision as it is recorded; does nothing by default.
    fn decided(&mut self, _decision: &Decision) {}
}
