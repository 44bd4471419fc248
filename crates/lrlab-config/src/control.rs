//! What may change a run or end it: gains at restarts, early stopping, the divergence guard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Metric;

/// What a warm restart of the schedule does to a controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainPolicy {
    /// Its gain stays, on top of the schedule.
    #[default]
    Keep,
    /// It begins anew with gain 1.
    #[serde(rename = "reset")]
    ResetAtRestart,
}

/// What a warm restart of the schedule does to the patience: the loss rises there by design.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtRestart {
    /// Nothing.
    #[default]
    Ignore,
    /// Patience and best value begin anew in each cycle.
    BeginAnew,
    /// Patience counts cycles, not epochs: a cycle is bad if its best epoch does not beat all earlier cycles. It ends
    /// with its last update; where that is an epoch's last one too, with the epoch's figures. A cycle in which nothing
    /// was measured does not count. What comes after the last restart is a cycle that never ends.
    CountCycles,
}

/// When to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// Its direction is its own. Default: `val_loss`.
    #[schemars(with = "Metric")]
    pub metric: String,
    /// Measured epochs in a row (or cycles, with `at_restart = "count_cycles"`) without improvement at which training
    /// stops; 0 acts as 1. Keras's and Lightning's rule.
    pub patience: u64,
    /// An improvement is a change by more than this, absolute.
    #[schemars(range(min = 0))]
    pub min_delta: f64,
    /// First epoch that counts, from 1.
    #[schemars(range(min = 1))]
    pub start_epoch: u64,
    /// Put the best epoch's weights back at the end, also where the run was not stopped, and evaluate them.
    pub restore_best: bool,
    /// A value to beat within the patience: until then no improvement resets it.
    pub baseline: Option<f64>,
    /// What a warm restart of the schedule does. Default: `ignore`.
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

/// What counts as divergence, and what is done about it. A loss that is no number counts anyway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DivergenceConfig {
    /// A loss above `first + (explosion − 1) · |first|` explodes: this multiple of the first update's loss, where that is
    /// above 0; > 1. Without it only NaN and infinity in loss and gradient norm count.
    #[schemars(extend("exclusiveMinimum" = 1))]
    pub explosion: Option<f64>,
    /// Exploding updates in a row that are divergence. NaN and infinity are at once.
    #[schemars(range(min = 1))]
    pub patience: u64,
    /// Default: `diverge`.
    pub action: OnDivergence,
}

impl Default for DivergenceConfig {
    fn default() -> Self {
        Self { explosion: None, patience: 1, action: OnDivergence::Diverge }
    }
}

/// What is done about divergence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDivergence {
    /// The run ends as diverged.
    Diverge,
    /// The run ends as stopped.
    Stop,
    /// Weights and optimizer go back to the end of the last sane epoch (or the start), and the gain is multiplied by
    /// `factor`. Time does not go back: updates, epochs, schedule and the order of the data go on from where they are. A
    /// validation loss that is not finite counts here too, unless the run is over.
    Rewind {
        /// What the gain is multiplied by, above 0 and at most 1.
        #[serde(default = "half")]
        #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
        factor: f64,
        /// How often; then the run ends as diverged.
        #[serde(default = "thrice")]
        #[schemars(range(min = 1))]
        limit: u64,
    },
    /// The gain is multiplied by `factor`. A loss that is not finite ends the run as diverged: no rate brings such weights
    /// back.
    Cut {
        /// What the gain is multiplied by, above 0 and below 1.
        #[serde(default = "half")]
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        factor: f64,
        /// How often; then the run ends as diverged.
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
