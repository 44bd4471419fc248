//! `result.json`: what a finished run leaves. Keys are a contract; `NaN` and infinity are written as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::RunId;

/// `Some` of a finite number, `None` of NaN and infinity, as JSON needs it.
#[must_use]
pub fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// The coordinates of a run in its grid, for grouping by others: `model`, `dataset`, `schedule`, `monitor`,
/// `epochs`, `seed`, and any further axis of the experiment.
pub type Cell = BTreeMap<String, serde_json::Value>;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every update of the budget was made.
    Completed,
    /// A callback stopped it (early stopping, a wall-clock budget).
    Stopped,
    /// The loss left the finite numbers. A data point, not an error.
    Diverged,
    /// A search gave its budget to others.
    Pruned,
}

/// One epoch's figures. Losses are mean cross-entropy per example in nats; accuracies and F1 are fractions.
///
/// While a run lasts, a figure that was not measured is `None`, and one that was is `Some`, also of NaN and infinity. A
/// record has `None` for both ([`EpochMetrics::recorded`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochMetrics {
    /// Completed epochs, from 1.
    pub epoch: u64,
    /// The rate of the epoch's first update.
    pub lr_first: Option<f64>,
    /// The rate of the epoch's last update.
    pub lr: Option<f64>,
    /// Running, in training mode, weighted by examples.
    pub train_loss: Option<f64>,
    /// Running, in training mode, weighted by examples.
    pub train_accuracy: Option<f64>,
    /// On the validation split, evaluation mode.
    pub val_loss: Option<f64>,
    /// Standard error of `val_loss` over the examples.
    pub val_loss_stderr: Option<f64>,
    /// On the validation split.
    pub val_accuracy: Option<f64>,
    /// Of the positive class for two classes, macro otherwise.
    pub val_f1: Option<f64>,
    /// As `val_f1`.
    pub val_precision: Option<f64>,
    /// As `val_f1`.
    pub val_recall: Option<f64>,
    /// Expected calibration error on the validation split, 15 equal-width bins (Guo et al., ICML 2017).
    pub val_ece: Option<f64>,
    /// Mean global gradient norm before clipping.
    pub grad_norm: Option<f64>,
}

impl EpochMetrics {
    /// The value of the metric called `name` (`val_loss`, `train_accuracy`, …); `None` for a name that is no
    /// metric, `Some(None)` for one that was not measured and, in a record, for one that is not finite.
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
            _ => return None,
        })
    }

    /// Where the metric called `name` lies; `None` for a name that is no metric.
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

    /// The same figures as a record has them: none where one is not finite.
    #[must_use]
    pub fn recorded(&self) -> Self {
        let mut recorded = self.clone();
        for name in Self::NAMES {
            if let Some(value) = recorded.get_mut(name) {
                *value = value.and_then(finite);
            }
        }
        recorded
    }

    /// The metrics' names, in the order of columns.
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

    /// Whether a larger value of the metric called `name` is better; `None` for a name that is not comparable.
    #[must_use]
    pub fn higher_is_better(name: &str) -> Option<bool> {
        match name {
            "train_accuracy" | "val_accuracy" | "val_f1" | "val_precision" | "val_recall" => Some(true),
            "train_loss" | "val_loss" | "val_ece" => Some(false),
            _ => None,
        }
    }
}

/// An epoch's figures with the evaluation of the same weights on the training and test splits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// The epoch these weights are from.
    #[serde(flatten)]
    pub metrics: EpochMetrics,
    /// These weights are the average along the run; not written where they are not.
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
    /// Test split, read once.
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

/// What a decision did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The rate was lowered.
    Cut,
    /// The rate was raised.
    Raise,
    /// Weights and optimizer went back to an earlier state.
    Rewind,
    /// Training ended.
    Stop,
}

/// Something a callback decided, with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Updates made when it was taken; it holds from the next.
    pub update: u64,
    /// Completed epochs when it was taken.
    pub epoch: u64,
    /// The callback that took it.
    pub source: String,
    /// What it did.
    pub kind: DecisionKind,
    /// The rate in force before.
    pub lr_before: Option<f64>,
    /// The rate the same moment has after.
    pub lr_after: Option<f64>,
    /// The callback's gain after it.
    pub gain: f64,
    /// The metric it looked at.
    pub metric: String,
    /// The metric's value.
    pub value: Option<f64>,
    /// For a reader: "cut × 0.5: 3 bad epochs > patience 2, best 0.431 at epoch 4".
    pub reason: String,
}

/// Every clock figure of a run, sums over all its attempts. Not part of what two runs of one specification share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// Seconds since the Unix epoch at the start of the first attempt.
    pub started: f64,
    /// Seconds since the Unix epoch at the end.
    pub finished: f64,
    /// Seconds in training updates.
    pub train_s: f64,
    /// Seconds in evaluation.
    pub eval_s: f64,
    /// Seconds reading data: loading them, and waiting for batches in training.
    pub data_s: f64,
    /// Seconds in which training or evaluation stood still for want of a batch; they are part of `data_s` and `eval_s`.
    pub input_s: f64,
    /// `input_s` as a share of `elapsed_s`; null where it was not measured.
    pub input_share: Option<f64>,
    /// Seconds from the loop's begin to its end, over all attempts.
    pub elapsed_s: f64,
    /// Seconds from the start of the last attempt's process to its first update.
    pub startup_s: f64,
    /// Seconds from the last update to the result, the evaluation of every split included.
    pub wrapup_s: f64,
    /// Updates executed over all attempts, those done again after an interruption included.
    pub updates_executed: u64,
    /// Training examples per second.
    pub examples_per_s: f64,
    /// The most memory of a GPU that the last attempt had at once, in MiB, without what the driver takes for its process;
    /// null on other devices.
    pub device_peak_mib: Option<u64>,
}

/// Where a result comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Versions of lrlab, candle and rustc.
    pub versions: BTreeMap<String, String>,
    /// Identity of the program: the first 16 digits of its BLAKE3 hash.
    pub build: Option<String>,
    /// The commit of the source, where known.
    pub commit: Option<String>,
    /// Whether the source differed from the commit.
    pub dirty: Option<bool>,
    /// `cpu`, `cuda:0`, `metal`.
    pub device: String,
    /// The machine's name.
    pub host: String,
    /// Threads per run.
    pub threads: usize,
    /// Content digest of the data set.
    pub dataset_digest: String,
    /// For a reader: which variant of which file, synthetic or not.
    pub dataset: String,
    /// Warnings about the data (unknown digest, duplicates, a known lossy copy).
    pub dataset_notes: Vec<String>,
    /// Parameters that are trained.
    pub parameters: usize,
    /// The class within which equal specifications give equal bits: the device's kind, the element type, and on the CPU the
    /// version of the arithmetic, as in `cpu/f32/1`.
    pub numerics: String,
}

/// What a run's updates are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// Updates of the run, each counted once; fewer than planned where it was stopped or diverged.
    pub made: u64,
    /// Updates of an epoch.
    pub per_epoch: u64,
}

/// `result.json`: written once, atomically; its presence means the run is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The run's identity.
    pub run_id: RunId,
    /// Its place in the grid.
    pub cell: Cell,
    /// Everything that decides the result, no default left out.
    pub spec: serde_json::Value,
    /// How it ended.
    pub outcome: Outcome,
    /// What its updates are counted by, so that the rate of each can be told from `spec` and `decisions`; results of
    /// earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// One entry per epoch.
    pub history: Vec<EpochMetrics>,
    /// After the last update.
    #[serde(rename = "final")]
    pub last: Evaluation,
    /// The best epoch by `spec.select`, ties to the earliest.
    pub best: Evaluation,
    /// What callbacks decided.
    pub decisions: Vec<Decision>,
    /// Clocks.
    pub timing: Timing,
    /// Where it comes from.
    pub provenance: Provenance,
}
