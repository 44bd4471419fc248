//! The settings of the training loop.

use lrlab_data::AugmentConfig;
use lrlab_schedulers::Horizon;

use crate::Error;

/// The settings of the training loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Base learning rate.
    pub lr: f64,
    /// Lower bound of the rate, after schedule and gains.
    pub lr_min: f64,
    /// Upper bound of the rate, after schedule and gains.
    pub lr_max: Option<f64>,
    /// Passes over the training split, at least one.
    pub epochs: u64,
    /// Examples per batch, at least one; the last batch may be smaller.
    pub batch_size: usize,
    /// Batches per update, at least one; the last window may be smaller.
    pub accumulate: usize,
    /// Upper bound of the global gradient norm.
    pub clip_norm: Option<f64>,
    /// Probability mass moved from the true class to the uniform distribution.
    pub label_smoothing: f64,
    /// The metric that selects the best epoch.
    pub select: String,
    /// Seed of order, augmentation and dropout.
    pub seed: u64,
    /// Random changes to training pictures.
    pub augment: AugmentConfig,
    /// Examples per batch in evaluation; results do not depend on it beyond rounding.
    pub eval_batch_size: usize,
    /// The number of batches that a background thread prefetches, in training and in evaluation; 0 assembles them on demand.
    /// Results do not depend on it.
    pub prefetch: usize,
}

impl Settings {
    /// Returns the settings for one epoch at `lr` in batches of 32, with everything else off; the best epoch is the one with
    /// the highest validation accuracy.
    #[must_use]
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            lr_min: 0.0,
            lr_max: None,
            epochs: 1,
            batch_size: 32,
            accumulate: 1,
            clip_norm: None,
            label_smoothing: 0.0,
            select: "val_accuracy".to_owned(),
            seed: 0,
            augment: AugmentConfig::default(),
            eval_batch_size: 256,
            prefetch: 2,
        }
    }

    /// Returns the number of batches of one epoch over `examples` examples.
    #[must_use]
    pub fn batches_per_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.batch_size.max(1)) as u64
    }

    /// Returns the number of updates of one epoch: `ceil(batches / accumulate)`.
    #[must_use]
    pub fn updates_per_epoch(&self, examples: usize) -> u64 {
        self.batches_per_epoch(examples).div_ceil(self.accumulate.max(1) as u64)
    }

    pub(crate) fn horizon(&self, examples: usize) -> Horizon {
        let updates_per_epoch = self.updates_per_epoch(examples);
        Horizon { updates: updates_per_epoch * self.epochs, updates_per_epoch }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |name, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::Setting { name, value: value.to_string(), expected: expected.to_owned() })
        };
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return bad("lr", &self.lr, "a finite rate above 0");
        }
        if let Some(lr_max) = self.lr_max.filter(|lr_max| lr_max.is_nan() || *lr_max <= 0.0) {
            return bad("lr_max", &lr_max, "a rate above 0");
        }
        if !(self.lr_min.is_finite() && self.lr_min >= 0.0) {
            return bad("lr_min", &self.lr_min, "a finite rate of at least 0");
        }
        if self.epochs == 0 {
            return bad("epochs", &self.epochs, "at least 1");
        }
        if self.batch_size == 0 {
            return bad("batch_size", &self.batch_size, "at least 1");
        }
        if self.accumulate == 0 {
            return bad("accumulate", &self.accumulate, "at least 1");
        }
        if self.eval_batch_size == 0 {
            return bad("eval_batch_size", &self.eval_batch_size, "at least 1");
        }
        if let Some(norm) = self.clip_norm.filter(|norm| norm.is_nan() || *norm <= 0.0) {
            return bad("clip_norm", &norm, "a norm above 0");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return bad("label_smoothing", &self.label_smoothing, "a number from 0 to below 1");
        }
        if lrlab_runs::EpochMetrics::higher_is_better(&self.select).is_none() {
            return bad(
                "select",
                &self.select,
                "the name of a metric with a direction, such as val_accuracy",
            );
        }
        Ok(())
    }
}
