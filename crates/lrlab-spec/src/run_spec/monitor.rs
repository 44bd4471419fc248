//! What changes the rate while training.

use lrlab_config::{GainPolicy, Metric};
use lrlab_schedulers::ControllerSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A controller and the metric it watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// What decides.
    pub controller: ControllerSpec,
    /// Default: `val_loss`.
    #[serde(default = "val_loss")]
    #[schemars(with = "Metric")]
    pub metric: String,
    /// What a warm restart of the schedule does to the controller's gain. Default: `keep`.
    #[serde(default)]
    pub at_restart: GainPolicy,
}

fn val_loss() -> String {
    "val_loss".to_owned()
}
