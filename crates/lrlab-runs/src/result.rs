//! `result.json`: the result of a finished run. Its keys are stable; `NaN` and infinity are written as `null`, and
//! omitted from maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{EpochMetrics, RunId, Work, finite};

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
