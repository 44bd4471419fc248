//! What a runner of the user's own registers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `custom = { name = "my_model", options = { … } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSpec {
    /// The name it is registered under.
    pub name: String,
    /// Passed on as it stands.
    #[serde(default)]
    pub options: serde_json::Value,
}
