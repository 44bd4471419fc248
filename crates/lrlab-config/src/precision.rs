//! The precision of matrix products.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The precision to which the operands of matrix products are rounded, forward and backward. Parameters, sums of products,
/// norms, softmax, losses, gates and the optimizer are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32, without rounding.
    #[default]
    F32,
    /// bfloat16, to nearest: linear maps, LSTM and attention; convolutions on GPUs only.
    Bf16,
}

impl Precision {
    /// Returns `f32` or `bf16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
