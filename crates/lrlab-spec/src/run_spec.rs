//! A run's resolved specification: everything that decides its result, no default left out.
//!
//! These types are also the vocabulary of experiment files. Every enum is externally tagged and every struct
//! refuses unknown keys, so that a mistake keeps its place in the file.

use lrlab_schedulers::ScheduleSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod custom;
mod data;
mod models;
mod watch;

pub use custom::*;
pub use data::*;
pub use models::*;
pub use watch::*;

/// Everything that decides a run's result. Device, paths and worker counts are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The network.
    pub model: ModelSpec,
    /// The data and how they are prepared.
    pub data: DataSpec,
    /// The update rule.
    pub optimizer: OptimizerSpec,
    /// Base learning rate.
    pub lr: f64,
    /// The rate over time.
    pub schedule: ScheduleSpec,
    /// Floor of the rate in force, after schedule and gains.
    pub lr_min: f64,
    /// Ceiling of the rate in force, after schedule and gains.
    pub lr_max: Option<f64>,
    /// What changes the rate while training, by a metric; `None` is off.
    pub monitor: Option<MonitorSpec>,
    /// What ends the run early; `None` is off.
    pub early_stopping: Option<EarlyStoppingSpec>,
    /// An average of the weights along the run, which takes their place at its end; `None` is off.
    pub averaging: Option<AveragingSpec>,
    /// What is done about a loss that explodes or is no number; `None` ends the run as diverged where it is no number.
    pub divergence: Option<DivergenceSpec>,
    /// Also keep the weights of so many best epochs, by `select`, as `epoch-0007.safetensors`, …. Decides no result and
    /// does not enter the run's identity.
    #[serde(default)]
    pub keep_top: usize,
    /// Passes over the training split.
    pub epochs: u64,
    /// Examples per batch.
    pub batch_size: usize,
    /// Batches per update.
    pub accumulate: usize,
    /// Upper bound of the global gradient norm; `None` does not clip.
    pub clip_norm: Option<f64>,
    /// Mass moved from the true class to the uniform distribution, 0 … 1 (Szegedy et al., CVPR 2016).
    pub label_smoothing: f64,
    /// The metric whose best epoch counts.
    pub select: String,
    /// Of the operands of matrix products. Default: `f32`.
    #[serde(default)]
    pub precision: PrecisionSpec,
    /// Seed of initialisation, order, augmentation and dropout.
    pub seed: u64,
}

/// What the operands of matrix products are rounded to, forward and backward. Parameters, sums, norms, softmax, losses
/// and the optimizer are f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionSpec {
    /// As they are.
    #[default]
    F32,
    /// bfloat16, to nearest: linear maps, LSTM, attention; convolutions on GPUs only.
    Bf16,
}

/// An update rule and its constants. The rate is not among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent with torch's rule; momentum 0.9 by default, where torch has 0.
    Sgd(SgdSpec),
    /// Kingma and Ba, ICLR 2015; weight decay added to the gradient.
    Adam(AdamSpec),
    /// Loshchilov and Hutter, ICLR 2019: decoupled weight decay.
    Adamw(AdamSpec),
}

/// `sgd = { momentum = 0.9 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdSpec {
    /// 0 … 1.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Added to the gradient.
    pub weight_decay: f64,
    /// Also decay norms and biases (torch's default; theirs is a group without decay here unless set).
    pub decay_all: bool,
}
impl Default for SgdSpec {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0, decay_all: false }
    }
}

/// `adam = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSpec {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Also decay norms and biases.
    pub decay_all: bool,
}
impl Default for AdamSpec {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay_all: false }
    }
}
