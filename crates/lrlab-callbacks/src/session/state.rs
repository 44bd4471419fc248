//! The state of a session: what a checkpoint has of it.

use std::time::Instant;

use lrlab_runs::{Decision, EpochMetrics, exact, exact_history};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Session;
use crate::Error;
use crate::callbacks::{from_state, to_state};
use crate::rate::Gains;

/// The state of a [`Session`] between two updates, without the states of its callbacks and the elapsed time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// The rate of the last update; before the first update, the rate of that update.
    #[serde(with = "exact")]
    pub lr: f64,
    /// The metrics of completed epochs, oldest first.
    #[serde(with = "exact_history")]
    pub history: Vec<EpochMetrics>,
    /// The decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// The reason if the run ends early.
    #[serde(alias = "end")]
    pub stop: Option<StopReason>,
    /// The gains by callback.
    pub gains: Gains,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    count: SessionState,
    elapsed_s: f64,
    callbacks: Value,
}

/// Why a run ended before its last update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A callback stopped it.
    #[serde(alias = "Stopped")]
    Stopped,
    /// A callback or the loop detected divergence.
    #[serde(alias = "Diverged")]
    Diverged,
}

impl Session {
    /// Returns the state to save in addition to weights and optimizer, as a JSON value.
    #[must_use]
    pub fn state(&self) -> Value {
        let (count, callbacks) = (self.state.clone(), self.callbacks.state());
        to_state(&Saved { count, elapsed_s: self.elapsed_s(), callbacks })
    }

    /// Restores the output of [`Session::state`]. Schedule, base rate, bounds and callbacks do not change.
    ///
    /// # Errors
    /// Returns an error if the state has another shape.
    pub fn restore(&mut self, state: Value) -> Result<(), Error> {
        let Saved { count, elapsed_s, callbacks } = from_state("session", state)?;
        self.resume(count, callbacks, elapsed_s)
    }

    /// Returns the state without callbacks and elapsed time, for loops with their own file format.
    #[must_use]
    pub fn progress(&self) -> &SessionState {
        &self.state
    }

    /// Restores the parts of a state: [`Session::progress`], [`Callbacks::state`](crate::Callbacks::state), and the elapsed
    /// seconds of all earlier attempts.
    ///
    /// # Errors
    /// Returns an error if the state does not belong to the callbacks of `self`.
    pub fn resume(&mut self, progress: SessionState, callbacks: Value, elapsed_s: f64) -> Result<(), Error> {
        self.callbacks.restore(callbacks)?;
        (self.state, self.earlier_s, self.started) = (progress, elapsed_s, Instant::now());
        Ok(())
    }
}
