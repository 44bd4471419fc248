//! The metrics of a report: their names, units and display formats, and how they are read from a run.

use lrlab_runs::{EpochMetrics, Evaluation, RunResult, Timing};

/// The point in training at which a metric is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// After the last update.
    Final,
    /// At the epoch that `spec.select` chooses on the validation split.
    Best,
    /// The value at the selected epoch minus that after the last update.
    Premium,
    /// The largest value over the epochs of the history.
    Max,
    /// The smallest value over the epochs of the history.
    Min,
}

impl At {
    /// The word used in claims, column keys and the manifest.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Best => "best",
            Self::Premium => "premium",
            Self::Max => "max",
            Self::Min => "min",
        }
    }

    /// The point in training in words.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Final => "after the last update",
            Self::Best => "at the selected epoch",
            Self::Premium => "at the selected epoch minus after the last update",
            Self::Max => "largest over the epochs",
            Self::Min => "smallest over the epochs",
        }
    }
}

/// The unit in which a metric is displayed. CSV and JSON files contain the unscaled number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A fraction, shown × 100.
    Percent,
    /// A difference of fractions, shown × 100 as percentage points.
    Points,
    /// Mean cross-entropy per example.
    Nats,
    /// A score between 0 and 1, shown unscaled.
    Score,
    /// A count or a length in epochs.
    Epochs,
    /// A learning rate.
    Rate,
    /// A dimensionless number.
    Plain,
    /// A time in seconds.
    Seconds,
    /// A time in milliseconds.
    Milliseconds,
    /// A mean of integers, shown without decimals.
    Whole,
}

impl Unit {
    /// The factor from the unscaled to the displayed number.
    #[must_use]
    pub const fn factor(self) -> f64 {
        match self {
            Self::Percent | Self::Points => 100.0,
            _ => 1.0,
        }
    }

    /// The unit of a difference: percentage points for percentages.
    #[must_use]
    pub(crate) const fn of_differences(self) -> Self {
        match self {
            Self::Percent => Self::Points,
            unit => unit,
        }
    }

    /// The unit symbol; empty for a dimensionless number.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::Points => "pp",
            Self::Nats => "nats",
            Self::Epochs => "epochs",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Score | Self::Rate | Self::Plain | Self::Whole => "",
        }
    }

    /// The number of displayed decimals.
    #[must_use]
    pub const fn digits(self) -> usize {
        match self {
            Self::Percent | Self::Points => 2,
            Self::Nats | Self::Score | Self::Milliseconds => 3,
            Self::Epochs | Self::Seconds => 1,
            Self::Whole => 0,
            Self::Rate | Self::Plain => 4,
        }
    }
}

/// A metric of a run: a key of the history or of an evaluation, and the point in training at which it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The point in training.
    pub at: At,
    /// The name in `result.json`.
    pub key: &'static str,
}

/// A split that metrics are measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Split {
    Validation,
    Test,
}

/// Training time divided by the number of executed updates, including the overhead of schedule and callbacks, without
/// evaluations.
const UPDATE_MS: &str = "training time per update";

/// Key, display name, unit, and whether higher is better (`None`: no preferred direction).
const KNOWN: [(&str, &str, Unit, Option<bool>); 23] = [
    ("train_loss", "training loss (running)", Unit::Nats, Some(false)),
    ("train_accuracy", "training accuracy (running)", Unit::Percent, Some(true)),
    ("val_loss", "validation loss", Unit::Nats, Some(false)),
    ("val_accuracy", "validation accuracy", Unit::Percent, Some(true)),
    ("val_f1", "validation F1", Unit::Score, Some(true)),
    ("val_precision", "validation precision", Unit::Score, Some(true)),
    ("val_recall", "validation recall", Unit::Score, Some(true)),
    ("val_ece", "validation ECE", Unit::Percent, Some(false)),
    ("train_eval_loss", "training loss", Unit::Nats, Some(false)),
    ("train_eval_accuracy", "training accuracy", Unit::Percent, Some(true)),
    ("accuracy_gap", "accuracy gap", Unit::Points, Some(false)),
    ("loss_gap", "loss gap", Unit::Nats, Some(false)),
    ("test_loss", "test loss", Unit::Nats, Some(false)),
    ("test_accuracy", "test accuracy", Unit::Percent, Some(true)),
    ("test_f1", "test F1", Unit::Score, Some(true)),
    ("test_precision", "test precision", Unit::Score, Some(true)),
    ("test_recall", "test recall", Unit::Score, Some(true)),
    ("test_ece", "test ECE", Unit::Percent, Some(false)),
    ("update_ms", UPDATE_MS, Unit::Milliseconds, Some(false)),
    ("epoch", "epoch", Unit::Epochs, None),
    ("lr", "learning rate", Unit::Rate, None),
    ("lr_first", "learning rate", Unit::Rate, None),
    ("grad_norm", "gradient norm", Unit::Plain, None),
];

impl Metric {
    /// The metrics that a report leads with by default: validation accuracy, validation loss and the gap between training
    /// and validation accuracy, after the last update.
    pub(crate) const LEADING: [Self; 3] =
        [Self::last("val_accuracy"), Self::last("val_loss"), Self::last("accuracy_gap")];

    /// The metric after the last update.
    #[must_use]
    pub const fn last(key: &'static str) -> Self {
        Self { at: At::Final, key }
    }

    /// The metric at the selected epoch.
    #[must_use]
    pub const fn best(key: &'static str) -> Self {
        Self { at: At::Best, key }
    }

    /// Parses `val_accuracy`, `final.val_accuracy`, `best.test_f1`, `premium.test_f1`, `max.val_accuracy` or `min.val_loss`. The default
    /// prefix is `final`. Returns `None` for an unknown metric.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, name) = text.split_once('.').unwrap_or(("final", text));
        let at = [At::Final, At::Best, At::Premium, At::Max, At::Min].into_iter().find(|a| a.word() == at)?;
        let key = KNOWN.iter().map(|known| known.0).find(|key| *key == name)?;
        Some(Self { at, key })
    }

    /// The full name: `final.val_accuracy`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}.{}", self.at.word(), self.key)
    }

    /// The display name without the point in training: "validation accuracy".
    #[must_use]
    pub fn title(self) -> &'static str {
        self.known().1
    }

    /// The point in training in words.
    pub(crate) const fn place(self) -> &'static str {
        self.at.place()
    }

    /// The display name with the point in training, unless that is the last update: "test accuracy at the selected epoch".
    pub(crate) fn phrase(self) -> String {
        match self.at {
            At::Final => self.title().to_owned(),
            _ => format!("{} {}", self.title(), self.place()),
        }
    }

    /// The display unit; the premium of a fraction is in percentage points.
    #[must_use]
    pub fn unit(self) -> Unit {
        match (self.at, self.known().2) {
            (At::Premium, Unit::Percent) => Unit::Points,
            (_, unit) => unit,
        }
    }

    /// Returns whether higher is better; `None` for a metric without a preferred direction.
    #[must_use]
    pub fn higher_is_better(self) -> Option<bool> {
        self.known().3
    }

    /// The split that the metric is measured on, beside the training split.
    pub(crate) fn split(self) -> Option<Split> {
        if self.key.starts_with("val_") || self.key.ends_with("_gap") {
            Some(Split::Validation)
        } else if self.key.starts_with("test_") {
            Some(Split::Test)
        } else {
            None
        }
    }

    /// The losses at the epochs of this metric, which tell networks apart.
    pub(crate) fn losses(self) -> Vec<Self> {
        let at: &[At] = match self.at {
            At::Best => &[At::Best],
            At::Final => &[At::Final],
            At::Premium | At::Max | At::Min => &[At::Best, At::Final],
        };
        at.iter().flat_map(|at| ["val_loss", "test_loss"].map(|key| Self { at: *at, key })).collect()
    }

    fn known(self) -> &'static (&'static str, &'static str, Unit, Option<bool>) {
        KNOWN.iter().find(|known| known.0 == self.key).unwrap_or(&KNOWN[KNOWN.len() - 1])
    }

    /// The value for a run; `None` if it is not finite or was not measured.
    #[must_use]
    pub fn of(self, result: &RunResult) -> Option<f64> {
        let over_epochs = |pick: fn(f64, f64) -> f64| {
            result.history.iter().filter_map(|epoch| of_epoch(epoch, self.key)).reduce(pick)
        };
        match self.at {
            At::Final if self.key == "update_ms" => update_ms(&result.timing),
            At::Final => of_evaluation(&result.last, self.key),
            At::Best => of_evaluation(&result.best, self.key),
            At::Premium => of_evaluation(&result.best, self.key)
                .zip(of_evaluation(&result.last, self.key))
                .map(|(best, last)| best - last),
            At::Max => over_epochs(f64::max),
            At::Min => over_epochs(f64::min),
        }
        .filter(|x| x.is_finite())
    }
}

fn update_ms(timing: &Timing) -> Option<f64> {
    let updates = timing.updates_executed as f64;
    (updates > 0.0).then(|| 1000.0 * timing.train_s / updates)
}

fn of_epoch(metrics: &EpochMetrics, key: &str) -> Option<f64> {
    metrics.get(key).flatten().filter(|x| x.is_finite())
}

fn of_evaluation(e: &Evaluation, key: &str) -> Option<f64> {
    match key {
        "epoch" => (e.metrics.epoch > 0).then_some(e.metrics.epoch as f64),
        "train_eval_loss" => e.train_eval_loss,
        "train_eval_accuracy" => e.train_eval_accuracy,
        "accuracy_gap" => e.accuracy_gap,
        "loss_gap" => e.loss_gap,
        "test_loss" => e.test_loss,
        "test_accuracy" => e.test_accuracy,
        "test_f1" => e.test_f1,
        "test_precision" => e.test_precision,
        "test_recall" => e.test_recall,
        "test_ece" => e.test_ece,
        _ => of_epoch(&e.metrics, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Metric::parse(text).map(Metric::name).as_deref(), expected, "{text}");
        };
        check("val_accuracy", Some("final.val_accuracy"));
        check("best.test_f1", Some("best.test_f1"));
        check("premium.val_accuracy", Some("premium.val_accuracy"));
        check("max.val_accuracy", Some("max.val_accuracy"));
        check("update_ms", Some("final.update_ms"));
        check("worst.val_accuracy", None);
        check("final.val_acuracy", None);
        check("", None);
    }

    #[test]
    fn every_comparable_metric_of_the_history_is_known() {
        for name in EpochMetrics::NAMES.into_iter().filter(|name| *name != "val_loss_stderr") {
            let metric = Metric::parse(name).unwrap();
            if let Some(better) = EpochMetrics::higher_is_better(name) {
                assert_eq!(metric.higher_is_better(), Some(better), "{name}");
            }
        }
    }
}
