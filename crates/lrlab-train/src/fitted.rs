//! How training ended, and what it gave.

use std::collections::BTreeMap;

use candle_core::Tensor;
use lrlab_runs::{Decision, EpochMetrics, Evaluation, Timing, Updates, Work};
use serde::{Deserialize, Serialize};

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Every update was made.
    Completed,
    /// A callback asked for it.
    Stopped,
    /// The loss or the gradient left the finite numbers, or a callback said so.
    Diverged,
    /// It was asked to from outside, now. Nothing was evaluated at the end.
    Interrupted,
    /// It was asked to from outside, at this epoch. Nothing was evaluated at the end.
    Paused,
}

/// What training gives.
#[derive(Debug)]
pub struct Fitted {
    /// Why it ended.
    pub stop: Stop,
    /// Updates made, each counted once, and those of an epoch.
    pub updates: Updates,
    /// One entry per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// After the last update. Where a callback put the best epoch's weights back at the end, that epoch; where an average
    /// along the run took the weights' place, the average.
    pub last: Evaluation,
    /// The best epoch by `settings.select`, ties to the earliest, or the average where that is better.
    pub best: Evaluation,
    /// What callbacks decided.
    pub decisions: Vec<Decision>,
    /// Clocks of all attempts on the way here; `started` and `finished` are left to the caller.
    pub timing: Timing,
    /// What this attempt did.
    pub work: Work,
    /// The best epoch's weights and buffers by name.
    pub weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that `last` speaks of.
    pub last_weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that callbacks keep, by tag.
    pub kept: BTreeMap<String, BTreeMap<String, Tensor>>,
    /// Trained elements of the model.
    pub parameters: usize,
}
