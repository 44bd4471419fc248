//! `result.json`: the result of a finished run. Its keys are stable; `NaN` and infinity are written as `null`, and
//! omitted from maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{RunId, Work};

/// Returns `Some(x)` if `x` is finite, and `None` otherwise, as JSON requires.
#[must_use]
pub fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// The coordinates of a run in its grid: `model`, `dataset`, `schedule`, `monitor`, `epochs`, `seed`, and the further axes of
/// the experiment.
pub type Cell = BTreeMap<String, serde_json::Value>;

/// Returns a coordinate of a [`Cell`] in words: `seed 1`.
#[must_use]
pub fn coordinate((key, value): (&String, &serde_json::Value)) -> String {
    match value {
        serde_json::Value::String(text) => format!("{key} {text}"),
        value => format!("{key} {value}"),
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All updates were completed.
    Completed,
    /// A callback stopped the run (early stopping, a time budget).
    Stopped,
    /// The loss or the gradient became non-finite, or a callback declared divergence. This is a data point, not an error.
    Diverged,
    /// A search eliminated the run.
    Pruned,
}

impl Outcome {
    /// The outcome in one word, as in `result.json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::Pruned => "pruned",
        }
    }
}

/// The metrics of an epoch. Losses are mean cross-entropy per example in nats; accuracies and F1 are fractions.
///
/// During a run, a metric is `None` if it was not measured, and `Some` if it was, even if it is NaN or infinite. A recorded
/// metric is `None` in both cases ([`EpochMetrics::recorded`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochMetrics {
    /// Completed epochs, from 1.
    pub epoch: u64,
    /// The rate of the epoch's first update.
    pub lr_first: Option<f64>,
    /// The rate of the epoch's last update.
    pub lr: Option<f64>,
    /// Running mean in training mode, weighted by examples.
    pub train_loss: Option<f64>,
    /// Running mean in training mode, weighted by examples.
    pub train_accuracy: Option<f64>,
    /// On the validation split, in evaluation mode.
    pub val_loss: Option<f64>,
    /// Standard error of `val_loss` over the examples.
    pub val_loss_stderr: Option<f64>,
    /// On the validation split.
    pub val_accuracy: Option<f64>,
    /// Of the positive class for two classes, macro-averaged otherwise.
    pub val_f1: Option<f64>,
    /// Averaged like `val_f1`.
    pub val_precision: Option<f64>,
    /// Averaged like `val_f1`.
    pub val_recall: Option<f64>,
    /// Expected calibration error on the validation split, 15 equal-width bins (Guo et al., ICML 2017).
    pub val_ece: Option<f64>,
    /// Mean global gradient norm before clipping.
    pub grad_norm: Option<f64>,
    /// Custom metrics by name, if they were measured.
    #[serde(with = "finite_values", skip_serializing_if = "finite_values::none")]
    pub extra: BTreeMap<String, f64>,
    /// Hyperparameters that follow a schedule of their own (`weight_decay`, `momentum`, …), at the epoch's last update.
    #[serde(with = "finite_values", skip_serializing_if = "finite_values::none")]
    pub hyperparameters: BTreeMap<String, f64>,
}

impl EpochMetrics {
    /// Adds a custom metric, which monitors, early stopping and loggers can use like the built-in ones. A monitor specifies it
    /// with its better direction: `max:top5`. The name of a built-in metric sets its field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        let name = name.into();
        match self.get_mut(&name) {
            Some(field) => *field = Some(value),
            None => drop(self.extra.insert(name, value)),
        }
        self
    }

    /// Returns the value of the metric `name` (`val_loss`, `train_accuracy`, …): `None` if `name` is neither a metric nor
    /// a key of [`EpochMetrics::extra`] or [`EpochMetrics::hyperparameters`], and `Some(None)` if it was not measured or, in a
    /// record, is not finite.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Option<f64>> {
        Some(match name {
            "lr_first" => self.lr_first,
            "lr" => self.lr,
            "train_loss" => self.train_loss,
            "train_accuracy" => self.train_accuracy,
            "val_loss" => self.val_loss,
            "val_loss_stderr" => self.val_loss_stderr,
            "val_accuracy" => self.val_accuracy,
            "val_f1" => self.val_f1,
            "val_precision" => self.val_precision,
            "val_recall" => self.val_recall,
            "val_ece" => self.val_ece,
            "grad_norm" => self.grad_norm,
            _ => Some(*self.extra.get(name).or_else(|| self.hyperparameters.get(name))?),
        })
    }

    /// Returns the names of [`EpochMetrics::extra`] and [`EpochMetrics::hyperparameters`].
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.extra.keys().chain(self.hyperparameters.keys()).map(String::as_str)
    }

    /// Returns the field of the metric `name`; `None` if `name` is not a metric.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Option<f64>> {
        Some(match name {
            "lr_first" => &mut self.lr_first,
            "lr" => &mut self.lr,
            "train_loss" => &mut self.train_loss,
            "train_accuracy" => &mut self.train_accuracy,
            "val_loss" => &mut self.val_loss,
            "val_loss_stderr" => &mut self.val_loss_stderr,
            "val_accuracy" => &mut self.val_accuracy,
            "val_f1" => &mut self.val_f1,
            "val_precision" => &mut self.val_precision,
            "val_recall" => &mut self.val_recall,
            "val_ece" => &mut self.val_ece,
            "grad_norm" => &mut self.grad_norm,
            _ => return None,
        })
    }

    /// Returns the metrics as recorded, without non-finite values.
    #[must_use]
    pub fn recorded(&self) -> Self {
        let mut recorded = self.clone();
        for name in Self::NAMES {
            if let Some(value) = recorded.get_mut(name) {
                *value = value.and_then(finite);
            }
        }
        recorded.extra.retain(|_, value| value.is_finite());
        recorded.hyperparameters.retain(|_, value| value.is_finite());
        recorded
    }

    /// The names of the metrics, in the order of columns.
    pub const NAMES: [&'static str; 12] = [
        "lr_first",
        "lr",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_loss_stderr",
        "val_accuracy",
        "val_f1",
        "val_precision",
        "val_recall",
        "val_ece",
        "grad_norm",
    ];

    /// Splits the key of a custom metric with its better direction, such as `max:top5`, into direction and name; `None` for other
    /// keys.
    #[must_use]
    pub fn custom(key: &str) -> Option<(&str, &str)> {
        key.split_once(':')
            .filter(|(direction, name)| matches!(*direction, "min" | "max") && !name.is_empty())
    }

    /// Returns whether larger values of the metric `name` are better; `None` if its values have no better direction.
    #[must_use]
    pub fn higher_is_better(name: &str) -> Option<bool> {
        match name {
            "train_accuracy" | "val_accuracy" | "val_f1" | "val_precision" | "val_recall" => Some(true),
            "train_loss" | "val_loss" | "val_ece" => Some(false),
            _ => None,
        }
    }
}

/// Values by name; those that are not finite are omitted, as for a metric that was not measured. `null` is read as such a value.
mod finite_values {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Returns whether no value is finite.
    pub(super) fn none(values: &BTreeMap<String, f64>) -> bool {
        !values.values().any(|value| value.is_finite())
    }

    pub(super) fn serialize<S: Serializer>(
        values: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().filter(|(_, value)| value.is_finite()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// The metrics of an epoch with the evaluation of the same weights on the training and test splits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// The metrics of the epoch.
    #[serde(flatten)]
    pub metrics: EpochMetrics,
    /// Whether the weights are an average along the run; omitted if `false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
    /// Training split, evaluation mode, no augmentation.
    pub train_eval_loss: Option<f64>,
    /// Training split, evaluation mode, no augmentation.
    pub train_eval_accuracy: Option<f64>,
    /// `train_eval_accuracy` − `val_accuracy`.
    pub accuracy_gap: Option<f64>,
    /// `val_loss` − `train_eval_loss`.
    pub loss_gap: Option<f64>,
    /// Test split, evaluated once.
    pub test_loss: Option<f64>,
    /// Test split.
    pub test_accuracy: Option<f64>,
    /// Test split; see [`EpochMetrics::val_f1`].
    pub test_f1: Option<f64>,
    /// Test split.
    pub test_precision: Option<f64>,
    /// Test split.
    pub test_recall: Option<f64>,
    /// Test split.
    pub test_ece: Option<f64>,
}

/// The kind of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The rate was lowered.
    Cut,
    /// The rate was raised.
    Raise,
    /// Weights and optimizer were reset to an earlier state.
    Rewind,
    /// Training ended.
    Stop,
}

/// A decision of a callback, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Completed updates at the time of the decision, which takes effect at the next update.
    pub update: u64,
    /// Completed epochs at the time of the decision.
    pub epoch: u64,
    /// The name of the callback.
    pub source: String,
    /// The kind.
    pub kind: DecisionKind,
    /// The learning rate before the decision.
    pub lr_before: Option<f64>,
    /// The learning rate after the decision, for the same update.
    pub lr_after: Option<f64>,
    /// The gain of the callback after the decision.
    pub gain: f64,
    /// The monitored metric.
    pub metric: String,
    /// The value of the metric.
    pub value: Option<f64>,
    /// The reason, for display: "cut × 0.5: 3 bad epochs > patience 2, best 0.431 at epoch 4".
    pub reason: String,
}

/// The times of a run, summed over its attempts. They may differ between runs of one specification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// Seconds since the Unix epoch at the start of the first attempt.
    pub started: f64,
    /// Seconds since the Unix epoch at the end.
    pub finished: f64,
    /// Seconds in training updates, also in those of trials.
    pub train_s: f64,
    /// Seconds in evaluation.
    pub eval_s: f64,
    /// Seconds spent on data: loading, and waiting for batches in training.
    pub data_s: f64,
    /// Seconds in which training or evaluation waited for batches, also in trials; part of the other times.
    pub input_s: f64,
    /// `input_s` as a fraction of `elapsed_s`; null if it was not measured.
    pub input_share: Option<f64>,
    /// Seconds from the start of the loop to its end, over all attempts.
    pub elapsed_s: f64,
    /// Seconds from the start of the process of the last attempt to its first update.
    pub startup_s: f64,
    /// Seconds from the last update to the result, including the evaluation of all splits.
    pub wrapup_s: f64,
    /// Updates executed over all attempts, including those repeated after an interruption.
    pub updates_executed: u64,
    /// Training examples per second.
    pub examples_per_s: f64,
    /// The peak GPU memory of the last attempt in MiB, without the driver's own; null on other devices.
    pub device_peak_mib: Option<u64>,
}

impl Work {
    /// Converts the work to the timing of a result; the caller fills in the start and the end.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing {
            train_s: self.train_s,
            eval_s: self.eval_s,
            data_s: self.data_s,
            input_s: self.input_s,
            input_share: finite(self.input_s / self.elapsed_s),
            elapsed_s: self.elapsed_s,
            updates_executed: self.updates,
            examples_per_s: if self.train_s > 0.0 { self.examples as f64 / self.train_s } else { 0.0 },
            ..Timing::default()
        }
    }
}

/// The origin of a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Versions of lrlab, candle and rustc.
    pub versions: BTreeMap<String, String>,
    /// The identity of the program: the first 16 digits of its BLAKE3 hash.
    pub build: Option<String>,
    /// The commit of the source, if known.
    pub commit: Option<String>,
    /// Whether the source differed from the commit.
    pub dirty: Option<bool>,
    /// `cpu`, `cuda:0`, `metal`.
    pub device: String,
    /// The name of the machine.
    pub host: String,
    /// Threads per run.
    pub threads: usize,
    /// The content digest of the data set.
    pub dataset_digest: String,
    /// The variants of the files, or that the data set is synthetic, for display.
    pub dataset: String,
    /// Warnings about the data (unknown digest, duplicates, a known lossy copy).
    pub dataset_notes: Vec<String>,
    /// The number of trainable parameters.
    pub parameters: usize,
    /// The numerics class, within which equal specifications give equal bits: the kind of device and its
    /// arithmetic, and on NVIDIA GPUs also the name of the GPU, as in `cpu/f32/1` or `cuda/NAME/tf32/1`.
    pub numerics: String,
    /// The user-registered networks, data sets and functions of time that the run uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registered: Vec<RegisteredPart>,
    /// The shorter run whose state the run continued, if it did not start at update 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued: Option<Continued>,
}

/// The shorter run that a run continued. [`Timing`] does not include its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Continued {
    /// The shorter run.
    pub run_id: RunId,
    /// The number of updates that were not repeated.
    pub updates: u64,
    /// The work of the shorter run until then.
    pub work: Work,
}

/// A network, data set or function of time that the runner registers, as a run used it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredPart {
    /// `model`, `data` or `lambda`.
    pub kind: String,
    /// The name it is registered under.
    pub name: String,
    /// The registered version, which is part of the identity of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit of its source, if registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// The numbers of updates of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// Distinct updates of the run; fewer than planned if it stopped or diverged.
    pub made: u64,
    /// Updates per epoch.
    pub per_epoch: u64,
}

/// `result.json`: written once, atomically; its presence means that the run is done, unless a search pruned it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The identity of the run.
    pub run_id: RunId,
    /// Its coordinates in the grid.
    pub cell: Cell,
    /// The resolved specification, including all defaults.
    pub spec: Arc<serde_json::Value>,
    /// How the run ended.
    pub outcome: Outcome,
    /// The numbers of updates, from which `spec` and `decisions` give the rate of each update; absent in results of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// The metrics of each epoch.
    pub history: Vec<EpochMetrics>,
    /// The evaluation after the last update.
    #[serde(rename = "final")]
    pub last: Evaluation,
    /// The evaluation of the best weights by `spec.select`: those of the best epoch, the earliest among ties, or the averaged
    /// ones if they are better.
    pub best: Evaluation,
    /// The decisions of callbacks.
    pub decisions: Vec<Decision>,
    /// The times.
    pub timing: Timing,
    /// The origin.
    pub provenance: Provenance,
}

impl RunResult {
    /// Returns the seconds of training, evaluation and reading data, including those of the shorter run that the run
    /// continued: the cost of training it from update 0.
    #[must_use]
    pub fn seconds(&self) -> [f64; 3] {
        let Timing { train_s, eval_s, data_s, .. } = self.timing;
        let before = self.provenance.continued.as_ref().map(|continued| continued.work).unwrap_or_default();
        [train_s + before.train_s, eval_s + before.eval_s, data_s + before.data_s]
    }
}
