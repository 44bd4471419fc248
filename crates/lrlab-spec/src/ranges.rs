//! Ranges of single values, by the definition and key that they stand under.

use lrlab_runs::EpochMetrics;

use crate::suggest;
use crate::tree::{Node, Value};

/// The key of a definition that a value stands under: `SgdSpec`, `momentum`. Ranges are looked up by it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot<'a> {
    pub(crate) owner: &'a str,
    pub(crate) key: &'a str,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

/// What is wrong with the value in `slot`, its type being right.
pub(crate) fn check(slot: Slot<'_>, node: &Node) -> Option<Wrong> {
    match &node.value {
        Value::Text(text) => word(slot, text),
        Value::Integer(_) | Value::Float(_) => {
            let x = node.number()?;
            let (accepted, expected) = number(slot, x)?;
            let message = || format!("`{}` is {x}: expected {expected}", slot.key);
            (!accepted).then(|| Wrong { message: message(), suggestion: None })
        }
        _ => None,
    }
}

/// Whether `x` is accepted, and what is.
#[expect(clippy::match_same_arms, reason = "one line per definition, in the order of their types")]
fn number(slot: Slot<'_>, x: f64) -> Option<(bool, &'static str)> {
    let positive = (x > 0.0, "a number above 0");
    let not_negative = (x >= 0.0, "0 or more");
    let below_one = ((0.0..1.0).contains(&x), "0 or more and below 1");
    let at_least_one = (x >= 1.0, "at least 1");
    Some(match (slot.owner, slot.key) {
        ("RunKeys", "lr" | "lr_max" | "clip_norm") => positive,
        ("RunKeys", "lr_min") => not_negative,
        ("RunKeys", "label_smoothing") => below_one,
        ("RunKeys", "epochs" | "batch_size" | "accumulate") => at_least_one,
        ("SgdSpec" | "AdamSpec", "weight_decay") => not_negative,
        ("SgdSpec", "momentum") | ("AdamSpec", "beta1" | "beta2") => below_one,
        ("AdamSpec", "eps") => positive,
        ("ResNetSpec", "depth") => {
            let depth = x as u64;
            let fits = matches!(depth, 18 | 34 | 50) || (depth >= 8 && depth % 6 == 2);
            (fits, "6n + 2 (8, 14, 20, 26, 32, 38, 44, 56, …) or 18, 34, 50")
        }
        ("ResNetSpec", "width") => positive,
        (_, "dropout") => below_one,
        ("LstmSpec", "embedding" | "hidden" | "layers") => at_least_one,
        ("TransformerSpec", "width" | "heads" | "feed_forward" | "layers") => at_least_one,
        ("BagOfEmbeddingsSpec", "embedding") => at_least_one,
        ("DataSpec" | "DataKeys", "validation") => at_least_one,
        ("LimitSpec", _) => at_least_one,
        ("TokensSpec", "vocabulary") => (x >= 3.0, "at least 3: padding, unknown and a word"),
        ("TokensSpec", "max_length") => at_least_one,
        ("SyntheticPicturesSpec" | "SyntheticReviewsSpec", "train") => {
            (x >= 2.0, "at least 2: training and validation")
        }
        ("SyntheticPicturesSpec" | "SyntheticReviewsSpec", "test") => at_least_one,
        ("SyntheticPicturesSpec", "size") => at_least_one,
        ("SyntheticPicturesSpec", "classes") => (x >= 2.0, "at least 2"),
        ("RandomSearchSpec", "trials") => at_least_one,
        ("HalvingSpec", "trials" | "eta") => (x >= 2.0, "at least 2"),
        ("RangeSpec", "points") => (x >= 2.0, "at least 2"),
        ("Search", "seeds") => at_least_one,
        ("EarlyStoppingSpec", "min_delta") => not_negative,
        ("EarlyStoppingSpec", "start_epoch") => at_least_one,
        ("EmaSpec", "decay") => below_one,
        ("LawaSpec", "k") => at_least_one,
        ("DivergenceSpec", "explosion") => (x > 1.0, "a number above 1"),
        ("DivergenceSpec", "patience") => at_least_one,
        ("RewindSpec", "factor") => (x > 0.0 && x <= 1.0, "a number above 0 and at most 1"),
        ("CutSpec", "factor") => (x > 0.0 && x < 1.0, "a number above 0 and below 1"),
        ("RewindSpec" | "CutSpec", "limit") => at_least_one,
        _ => return None,
    })
}

fn word(slot: Slot<'_>, text: &str) -> Option<Wrong> {
    let wrong = |message, suggestion| Some(Wrong { message, suggestion });
    match (slot.owner, slot.key) {
        ("RunKeys", "select") | ("EarlyStoppingSpec" | "MonitorSpec", "metric") => {
            if EpochMetrics::higher_is_better(text).is_some() {
                return None;
            }
            let comparable =
                || EpochMetrics::NAMES.into_iter().filter(|n| EpochMetrics::higher_is_better(n).is_some());
            let message = if EpochMetrics::NAMES.contains(&text) {
                format!("`{text}` is neither better high nor low, so there is no best epoch by it")
            } else {
                format!("unknown metric `{text}`")
            };
            wrong(message, suggest::among(text, comparable().collect::<Vec<_>>()))
        }
        ("Search", "metric")
            if EpochMetrics::higher_is_better(text).is_none() || !text.starts_with("val_") =>
        {
            let allowed = EpochMetrics::NAMES
                .into_iter()
                .filter(|n| n.starts_with("val_") && EpochMetrics::higher_is_better(n).is_some());
            let message = if EpochMetrics::NAMES.contains(&text) {
                format!("`{text}` is nothing to search by: the validation split decides")
            } else {
                format!("unknown metric `{text}`")
            };
            wrong(message, suggest::among(text, allowed.collect::<Vec<_>>()))
        }
        ("Claim", "metric") => claim_metric(text),
        ("DataSpec" | "DataKeys", "pin_digest") if text.is_empty() => {
            wrong("`pin_digest` is empty".to_owned(), Some("leave it out, or pin a digest".to_owned()))
        }
        ("Claim", "id") if text.is_empty() => wrong("`id` is empty".to_owned(), None),
        _ => None,
    }
}

/// What a claim may speak about besides the epochs' metrics: evaluations at the end, and differences.
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

fn claim_metric(text: &str) -> Option<Wrong> {
    let (at, name) = text.split_once('.').unwrap_or(("final", text));
    let moments = ["final", "best", "max", "min"];
    if !moments.contains(&at) {
        let message = format!("`{at}.` is no choice of weights or epochs");
        return Some(Wrong { message, suggestion: suggest::among(at, moments) });
    }
    let measured = EpochMetrics::NAMES.into_iter().filter(|name| *name != "val_loss_stderr");
    let mut names: Vec<&str> = measured.collect();
    if matches!(at, "final" | "best") {
        names.extend(EVALUATED);
    }
    if names.contains(&name) {
        return None;
    }
    let message = if EVALUATED.contains(&name) {
        format!("`{name}` is not measured every epoch, so there is no `{at}.` of it")
    } else {
        format!("unknown metric `{name}`")
    };
    Some(Wrong { message, suggestion: suggest::among(name, names) })
}
