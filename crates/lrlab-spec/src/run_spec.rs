//! The resolved specification of a run: everything that determines its result, including defaults.
//!
//! These types also define the keys of experiment files. Every enum is externally tagged and every struct rejects unknown
//! keys, so that errors have a position in the file.

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

/// Everything that determines a run's result, without device, paths and numbers of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The network.
    pub model: ModelSpec,
    /// The data and its preparation.
    pub data: DataSpec,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// Base learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    /// The learning rate over time.
    pub schedule: ScheduleSpec,
    /// The lower bound of the learning rate, after schedule and gains.
    #[schemars(range(min = 0))]
    pub lr_min: f64,
    /// The upper bound of the learning rate, after schedule and gains; `None` means no bound.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr_max: Option<f64>,
    /// The monitor, which changes the learning rate by a metric; `None` is off.
    pub monitor: Option<MonitorSpec>,
    /// Early stopping; `None` is off.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// An average of the weights over the run, which replaces them at the end; `None` is off.
    pub averaging: Option<AveragingConfig>,
    /// The handling of an exploding or non-finite loss; with `None`, a non-finite loss ends the run as diverged.
    pub divergence: Option<DivergenceConfig>,
    /// The number of best epochs, by `select`, whose weights are also kept, as `epoch-0007.safetensors`, …. It affects no
    /// result and is not part of the run's identity.
    #[serde(default)]
    pub keep_top: usize,
    /// The interval in updates at which loss, rate and gradient norm are written to `events.jsonl`, `updates.csv` and
    /// TensorBoard. 0, the default, writes every update to TensorBoard only. It affects no result and is not part of the run's
    /// identity.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_every: u64,
    /// Passes over the training split.
    #[schemars(range(min = 1))]
    pub epochs: u64,
    /// The number of examples per batch.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// The number of batches per update.
    #[schemars(range(min = 1))]
    pub accumulate: usize,
    /// The upper bound of the global gradient norm; `None` does not clip.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip_norm: Option<f64>,
    /// The probability mass moved from the true class to the uniform distribution, at least 0 and below 1 (Szegedy et al., CVPR 2016).
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// The metric that selects the best epoch.
    #[schemars(with = "Metric")]
    pub select: String,
    /// The precision of the operands of matrix products. Default: `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// The seed of initialisation, order, augmentation and dropout.
    pub seed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl RunSpec {
    /// Looks up the functions that the schedules refer to, which are needed to build them ([`ScheduleSpec::bind`]).
    ///
    /// # Errors
    /// Returns an error if a function is not registered, or only in another version than that of the run.
    pub fn bind(&mut self, lambdas: &Lambdas) -> Result<(), Error> {
        self.schedule.bind(lambdas)?;
        self.optimizer.schedules_mut().try_for_each(|schedule| schedule.bind(lambdas))
    }

    /// Returns the functions that the schedules refer to.
    #[must_use]
    pub fn lambdas(&self) -> Vec<LambdaSpec> {
        let constants = self.optimizer.scheduled();
        let constants = constants.iter().flat_map(|hyper| hyper.schedule.lambdas());
        self.schedule.lambdas().into_iter().chain(constants).collect()
    }
}
