//! Models and data sets that a runner of the user's own registers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `custom = { name = "my_model", options = { … } }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// The name it is registered under.
    pub name: String,
    /// Passed on unchanged.
    #[serde(default)]
    pub options: serde_json::Value,
    /// The version that the runner registers, which the runner fills in: another version is another run. `None` for a
    /// registration without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub version: Option<String>,
}
