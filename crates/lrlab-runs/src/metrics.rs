//! The metrics of an epoch, in memory and as recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Returns `Some(x)` if `x` is finite, and `None` otherwise, as JSON requires.
#[must_use]
pub fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
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
