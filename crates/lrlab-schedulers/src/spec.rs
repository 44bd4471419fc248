//! Schedules and controllers as experiment files write them: externally tagged, `cosine = { … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A schedule as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleSpec {
    /// A fixed rate.
    Static {},
}

/// A controller as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControllerSpec {
    /// Cut when the metric no longer improves.
    Plateau {},
}
