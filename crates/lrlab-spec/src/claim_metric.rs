//! The metrics of claims.

use lrlab_runs::EpochMetrics;

use crate::ranges::Wrong;
use crate::suggest;

/// The prefixes of a metric, which select weights or epochs; `premium` is `best` minus `final`.
const MOMENTS: [&str; 5] = ["final", "best", "premium", "max", "min"];

/// Metrics of `final` and `best` weights only: evaluations at the end of the run, and differences.
const EVALUATED: [&str; 11] = [
    "epoch",
    "train_eval_loss",
    "train_eval_accuracy",
    "accuracy_gap",
    "loss_gap",
    "test_loss",
    "test_accuracy",
    "test_f1",
    "test_precision",
    "test_recall",
    "test_ece",
];

/// Metrics of the whole run, with prefix `final` only.
const WHOLE: [&str; 1] = ["update_ms"];

/// The metrics with prefix `moment`.
fn figures(moment: &str) -> Vec<&'static str> {
    let measured = EpochMetrics::NAMES.into_iter().filter(|name| *name != "val_loss_stderr");
    let evaluated: &[&str] = if matches!(moment, "max" | "min") { &[] } else { &EVALUATED };
    let whole: &[&str] = if moment == "final" { &WHOLE } else { &[] };
    measured.chain(evaluated.iter().copied()).chain(whole.iter().copied()).collect()
}

/// Returns the error in a claim's metric, if any; the default prefix is `final`.
pub(crate) fn check(text: &str) -> Option<Wrong> {
    let (moment, name) = text.split_once('.').unwrap_or(("final", text));
    if !MOMENTS.contains(&moment) {
        let message = format!("`{moment}.` is not a valid prefix");
        return Some(Wrong { message, suggestion: suggest::among(moment, MOMENTS) });
    }
    let names = figures(moment);
    if names.contains(&name) {
        return None;
    }
    let message = if WHOLE.contains(&name) {
        format!("`{name}` is a metric of the whole run: write `final.{name}`")
    } else if EVALUATED.contains(&name) {
        format!("`{name}` is not measured every epoch, so it cannot have the prefix `{moment}.`")
    } else {
        format!("unknown metric `{name}`")
    };
    Some(Wrong { message, suggestion: suggest::among(name, names) })
}

/// A regular expression that matches what [`check`] accepts.
pub(crate) fn pattern() -> String {
    let of = |moment: &str| figures(moment).join("|");
    format!(r"^((final\.)?({})|(best|premium)\.({})|(max|min)\.({}))$", of("final"), of("best"), of("max"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_select_metrics() {
        let accepted = [
            "val_loss",
            "final.test_accuracy",
            "best.epoch",
            "premium.test_f1",
            "max.val_accuracy",
            "min.train_loss",
            "update_ms",
        ];
        for text in accepted {
            assert_eq!(check(text), None, "{text}");
        }
        let refused = [
            ("max.test_loss", "`test_loss` is not measured every epoch, so it cannot have the prefix `max.`"),
            ("best.update_ms", "`update_ms` is a metric of the whole run: write `final.update_ms`"),
            ("last.val_loss", "`last.` is not a valid prefix"),
            ("final.val_los", "unknown metric `val_los`"),
        ];
        for (text, message) in refused {
            assert_eq!(check(text).map(|wrong| wrong.message).as_deref(), Some(message));
        }
    }
}
