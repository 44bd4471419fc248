//! The state of a session: what a checkpoint has of it.

use lrlab_runs::{Decision, EpochMetrics, exact, exact_history};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rate::Gains;

/// The state of a [`Session`](crate::Session) between two updates, without the states of its callbacks and the elapsed time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// The number of updates per epoch; earlier versions did not save it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_per_epoch: Option<u64>,
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
pub(super) struct Saved {
    pub(super) count: SessionState,
    pub(super) elapsed_s: f64,
    pub(super) callbacks: Value,
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
