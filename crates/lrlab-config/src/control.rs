//! Settings of interventions in a run: gains at restarts, early stopping, the divergence guard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Metric;

/// The effect of a warm restart of the schedule on a controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainPolicy {
    /// The controller keeps its gain.
    #[default]
    Keep,
    /// The controller is reset, with gain 1.
    #[serde(rename = "reset")]
    ResetAtRestart,
}

/// The effect of a warm restart of the schedule, at which the loss rises by design, on the patience.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtRestart {
    /// None.
    #[default]
    Ignore,
    /// Patience and best value are reset in each cycle.
    BeginAnew,
    /// Patience counts cycles instead of epochs: a cycle is bad if its best epoch does not improve on all earlier cycles. A
    /// cycle ends with its last update; if that is also the last update of an epoch, the epoch's metrics belong to the cycle.
    /// A cycle without measurements does not count. The part after the last restart is a cycle that never ends.
    CountCycles,
}

/// The rule of early stopping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// The monitored metric, which determines the direction. Default: `val_loss`.
    #[schemars(with = "Metric")]
    pub metric: String,
    /// The number of consecutive measured epochs (or cycles, with `at_restart = "count_cycles"`) without improvement after
    /// which training stops, as in Keras and Lightning; 0 acts as 1.
    pub patience: u64,
    /// The minimum absolute change that counts as an improvement (exclusive).
    #[schemars(range(min = 0))]
    pub min_delta: f64,
    /// The first epoch that counts, from 1.
    #[schemars(range(min = 1))]
    pub start_epoch: u64,
    /// Restore the weights of the best epoch at the end, even if the run was not stopped, and evaluate them.
    pub restore_best: bool,
    /// A value that the metric has to improve on within the patience; until then, improvements do not reset the patience.
    pub baseline: Option<f64>,
    /// The effect of a warm restart of the schedule. Default: `ignore`.
    pub at_restart: AtRestart,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self {
            metric: "val_loss".to_owned(),
            patience: 3,
            min_delta: 0.0,
            start_epoch: 1,
            restore_best: false,
            baseline: None,
            at_restart: AtRestart::default(),
        }
    }
}

/// The definition of divergence and the action on it. A NaN or infinite loss always counts as divergence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DivergenceConfig {
    /// A loss above `first + (explosion − 1) · |first|` explodes, where `first` is the loss of the first update: for a
    /// positive `first`, this multiple of it; > 1. Without it only NaN and infinity in loss and gradient norm count.
    #[schemars(extend("exclusiveMinimum" = 1))]
    pub explosion: Option<f64>,
    /// The number of consecutive exploding updates that count as divergence. NaN and infinity count immediately.
    #[schemars(range(min = 1))]
    pub patience: u64,
    /// The action on divergence. Default: `diverge`.
    pub action: OnDivergence,
}

impl Default for DivergenceConfig {
    fn default() -> Self {
        Self { explosion: None, patience: 1, action: OnDivergence::Diverge }
    }
}

/// The action on divergence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDivergence {
    /// The run ends as diverged.
    Diverge,
    /// The run ends as stopped, with the weights that it has. A run of the runner whose loss is not finite still ends as
    /// diverged.
    Stop,
    /// Weights and optimizer are reset to the end of the last finite epoch (or the start), and the gain is multiplied by
    /// `factor`. Time is not reset: updates, epochs, schedule and the order of the data continue. A validation loss that is
    /// not finite counts too, unless the run is over.
    Rewind {
        /// The factor of the gain, above 0 and at most 1.
        #[serde(default = "half")]
        #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
        factor: f64,
        /// The maximum number of times; then the run ends as diverged.
        #[serde(default = "thrice")]
        #[schemars(range(min = 1))]
        limit: u64,
    },
    /// The gain is multiplied by `factor`. A loss that is not finite ends the run as diverged, because a smaller rate does
    /// not recover the weights.
    Cut {
        /// The factor of the gain, above 0 and below 1.
        #[serde(default = "half")]
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        factor: f64,
        /// The maximum number of times; then the run ends as diverged.
        #[serde(default = "thrice")]
        #[schemars(range(min = 1))]
        limit: u64,
    },
}

const fn half() -> f64 {
    0.5
}

const fn thrice() -> u64 {
    3
}
