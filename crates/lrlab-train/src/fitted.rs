//! The result of training.

use std::collections::BTreeMap;

use candle_core::Tensor;
use lrlab_runs::{Decision, EpochMetrics, Evaluation, Timing, Updates, Work};
use serde::{Deserialize, Serialize};

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// All updates were completed.
    Completed,
    /// A callback stopped the run.
    Stopped,
    /// The loss or the gradient became non-finite, or a callback declared divergence.
    Diverged,
    /// The run was interrupted. No final evaluation took place.
    Interrupted,
    /// The run paused at the requested epoch. No final evaluation took place.
    Paused,
}

/// The result of training.
#[derive(Debug)]
pub struct Fitted {
    /// Why training ended.
    pub stop: Stop,
    /// The number of distinct updates, and the number per epoch.
    pub updates: Updates,
    /// The metrics of each completed epoch.
    pub history: Vec<EpochMetrics>,
    /// The evaluation after the last update: of the best epoch if a callback restored its weights at the end, and of the
    /// averaged weights if an average replaced them.
    pub last: Evaluation,
    /// The best epoch by `settings.select`, the earliest among ties, or the averaged weights if they are better.
    pub best: Evaluation,
    /// The decisions of callbacks.
    pub decisions: Vec<Decision>,
    /// The times of all attempts; the caller fills in `started` and `finished`.
    pub timing: Timing,
    /// The work of this attempt.
    pub work: Work,
    /// The weights and buffers that `best` describes, by name.
    pub weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that `last` describes, by name.
    pub last_weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that callbacks saved, by tag.
    pub kept: BTreeMap<String, BTreeMap<String, Tensor>>,
    /// The number of trainable elements of the model.
    pub parameters: usize,
}
