//! Monitors, which change the learning rate during training.

use lrlab_config::{GainPolicy, Metric};
use lrlab_schedulers::ControllerSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A controller and its metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// The controller, which decides the changes.
    pub controller: ControllerSpec,
    /// The monitored metric. Default: `val_loss`.
    #[serde(default = "val_loss")]
    #[schemars(with = "Metric")]
    pub metric: String,
    /// The effect of a warm restart of the schedule on the controller's gain. Default: `keep`.
    #[serde(default)]
    pub at_restart: GainPolicy,
}

fn val_loss() -> String {
    "val_loss".to_owned()
}
