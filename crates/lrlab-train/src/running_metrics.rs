//! Metrics that accumulate during an epoch.

use lrlab_runs::{EpochMetrics, exact, finite};
use serde::{Deserialize, Serialize};

use crate::{Prediction, Scores};

/// The statistics of an update.
#[derive(Debug, Clone)]
pub(crate) struct UpdateStats {
    /// The prediction for each example before the update.
    pub(crate) predictions: Vec<Prediction>,
    /// Mean cross-entropy over the examples of the update, without label smoothing.
    pub(crate) loss: f64,
    /// Global gradient norm before clipping.
    pub(crate) grad_norm: f64,
}

impl UpdateStats {
    /// Returns whether the update was applied: both the loss and the gradient norm are finite.
    pub(crate) fn finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

/// Running sums of the metrics of an epoch in training mode, weighted by examples.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct RunningMetrics {
    /// The number of batches consumed, which is the position in the epoch.
    pub(crate) batches: u64,
    #[serde(with = "exact")]
    lr_first: f64,
    examples: f64,
    #[serde(with = "exact")]
    loss: f64,
    #[serde(with = "exact")]
    right: f64,
    updates: f64,
    #[serde(with = "exact")]
    grad_norm: f64,
}

impl RunningMetrics {
    pub(crate) fn new(lr_first: f64) -> Self {
        Self { batches: 0, lr_first, examples: 0.0, loss: 0.0, right: 0.0, updates: 0.0, grad_norm: 0.0 }
    }

    pub(crate) fn add(&mut self, updated: &UpdateStats, batches: usize) {
        self.batches += batches as u64;
        self.examples += updated.predictions.len() as f64;
        self.loss += updated.predictions.iter().map(|o| o.loss).sum::<f64>();
        self.right += updated.predictions.iter().map(Prediction::accuracy).sum::<f64>();
        self.updates += 1.0;
        self.grad_norm += updated.grad_norm;
    }

    pub(crate) fn metrics(&self, epoch: u64, lr: f64, scores: &Scores) -> EpochMetrics {
        let metrics = EpochMetrics {
            epoch,
            lr_first: finite(self.lr_first),
            lr: finite(lr),
            train_loss: Some(self.loss / self.examples),
            train_accuracy: Some(self.right / self.examples),
            grad_norm: Some(self.grad_norm / self.updates),
            ..EpochMetrics::default()
        };
        validated(&metrics, scores)
    }
}

/// Adds the metrics of the validation split, whether finite or not.
pub(crate) fn validated(metrics: &EpochMetrics, scores: &Scores) -> EpochMetrics {
    EpochMetrics {
        val_loss: Some(scores.loss),
        val_loss_stderr: Some(scores.loss_stderr),
        val_accuracy: Some(scores.accuracy),
        val_f1: Some(scores.f1),
        val_precision: Some(scores.precision),
        val_recall: Some(scores.recall),
        val_ece: Some(scores.ece),
        ..metrics.clone()
    }
}
