//! A run's resolved specification: everything that decides its result, no default left out.
//!
//! These types are also the vocabulary of experiment files. Every enum is externally tagged and every struct
//! refuses unknown keys, so that a mistake keeps its place in the file.

use lrlab_config::{
    AveragingConfig, DivergenceConfig, EarlyStoppingConfig, Metric, OptimizerConfig, Precision,
};
use lrlab_schedulers::{Error, LambdaSpec, Lambdas, ScheduleSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod data;
mod models;
mod monitor;

pub use data::*;
pub use models::*;
pub use monitor::*;

/// Everything that decides a run's result. Device, paths and worker counts are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The network.
    pub model: ModelSpec,
    /// The data and how they are prepared.
    pub data: DataSpec,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// Base learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    /// The rate over time.
    pub schedule: ScheduleSpec,
    /// Floor of the rate in force, after schedule and gains.
    #[schemars(range(min = 0))]
    pub lr_min: f64,
    /// Ceiling of the rate in force, after schedule and gains.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr_max: Option<f64>,
    /// What changes the rate while training, by a metric; `None` is off.
    pub monitor: Option<MonitorSpec>,
    /// What ends the run early; `None` is off.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// An average of the weights along the run, which takes their place at its end; `None` is off.
    pub averaging: Option<AveragingConfig>,
    /// What is done about a loss that explodes or is no number; `None` ends the run as diverged where it is no number.
    pub divergence: Option<DivergenceConfig>,
    /// Also keep the weights of so many best epochs, by `select`, as `epoch-0007.safetensors`, …. Decides no result and
    /// does not enter the run's identity.
    #[serde(default)]
    pub keep_top: usize,
    /// Write the loss, the rate and the gradient's norm of every so many updates: to `events.jsonl`, `updates.csv` and
    /// TensorBoard. 0, the default, writes those of every update to TensorBoard alone. Decides no result and does not enter the
    /// run's identity.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_every: u64,
    /// Passes over the training split.
    #[schemars(range(min = 1))]
    pub epochs: u64,
    /// Examples per batch.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Batches per update.
    #[schemars(range(min = 1))]
    pub accumulate: usize,
    /// Upper bound of the global gradient norm; `None` does not clip.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip_norm: Option<f64>,
    /// Mass moved from the true class to the uniform distribution, 0 … 1 (Szegedy et al., CVPR 2016).
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// The metric whose best epoch counts.
    #[schemars(with = "Metric")]
    pub select: String,
    /// Of the operands of matrix products. Default: `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of initialisation, order, augmentation and dropout.
    pub seed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl RunSpec {
    /// Looks up the functions that its schedules name, without which they cannot be built ([`ScheduleSpec::bind`]).
    ///
    /// # Errors
    /// A function is not registered, or in another version than the one of the run.
    pub fn bind(&mut self, lambdas: &Lambdas) -> Result<(), Error> {
        self.schedule.bind(lambdas)?;
        self.optimizer.schedules_mut().try_for_each(|schedule| schedule.bind(lambdas))
    }

    /// The functions that its schedules name.
    #[must_use]
    pub fn lambdas(&self) -> Vec<LambdaSpec> {
        let constants = self.optimizer.scheduled();
        let constants = constants.iter().flat_map(|hyper| hyper.schedule.lambdas());
        self.schedule.lambdas().into_iter().chain(constants).collect()
    }
}
