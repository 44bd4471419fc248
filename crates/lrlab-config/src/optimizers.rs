//! Update rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An update rule and its constants, without the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with PyTorch's rule; the default momentum is 0.9, in PyTorch 0.
    Sgd(SgdConfig),
    /// Adam (Kingma and Ba, ICLR 2015), with weight decay added to the gradient.
    Adam(AdamConfig),
    /// `AdamW` (Loshchilov and Hutter, ICLR 2019), with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamConfig),
}

/// `sgd = { momentum = 0.9 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// μ, at least 0 and below 1. Default: 0.9 (in `torch.optim.SGD`: 0).
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub momentum: f64,
    /// Nesterov momentum; requires a momentum above 0.
    pub nesterov: bool,
    /// λ, weight decay: λ times the parameter is added to the gradient.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Also decay parameters of norms and biases, as PyTorch does by default. Otherwise they form a group without decay.
    pub decay_all: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0, decay_all: false }
    }
}

/// `adam = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// β₁, decay of the first moment, at least 0 and below 1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta1: f64,
    /// β₂, decay of the second moment, at least 0 and below 1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta2: f64,
    /// Added to the denominator.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// λ, weight decay.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Also decay parameters of norms and biases, as a single PyTorch parameter group does.
    pub decay_all: bool,
}

impl AdamConfig {
    /// Returns the constants of `torch.optim.AdamW` and `candle_nn::ParamsAdamW`: a weight decay of 0.01 on every parameter. The
    /// default of an experiment file is 0.
    #[must_use]
    pub fn adamw() -> Self {
        Self { weight_decay: 0.01, decay_all: true, ..Self::default() }
    }
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay_all: false }
    }
}
