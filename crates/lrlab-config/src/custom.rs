//! Models and data sets that a user's runner registers.

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
    /// The registered version, set by the runner and part of the run's identity; `None` for a registration without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub version: Option<String>,
}
