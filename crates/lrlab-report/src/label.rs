//! Display names of the values of a grid's axes, and the display order of the axes.

use lrlab_runs::Cell;
use serde_json::Value;

/// The axis of repetitions of an arm.
pub(crate) const SEED: &str = "seed";
/// The axis of experiments in a report of several.
pub(crate) const EXPERIMENT: &str = "experiment";
/// The axis of learning-rate schedules.
pub(crate) const SCHEDULE: &str = "schedule";
/// The axis of monitors, which change the learning rate by a metric.
pub(crate) const MONITOR: &str = "monitor";
/// The axis of budgets.
pub(crate) const EPOCHS: &str = "epochs";

/// Whole numbers up to this one are exact in `f64`.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// An axis value in display form: strings verbatim, `null` and `false` as `off`, `true` as `on`, a table with one key as
/// `key` or `key(option=value, …)`.
pub(crate) fn value(v: &Value) -> String {
    match v {
        Value::Null | Value::Bool(false) => "off".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::String(s) => s.clone(),
        // 1 and 1.0 are one value of an axis.
        Value::Number(n) => match n.as_f64() {
            Some(x) if x.fract() == 0.0 && x.abs() < WHOLE => format!("{}", x + 0.0),
            _ => n.to_string(),
        },
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().join("+"),
        Value::Object(map) => {
            let inner = |v: &Value| match v {
                Value::Object(options) => {
                    options.iter().map(|(k, v)| format!("{k}={}", value(v))).collect::<Vec<_>>().join(", ")
                }
                other => value(other),
            };
            let part = |(k, v): (&String, &Value)| match inner(v) {
                text if text.is_empty() => k.clone(),
                text => format!("{k}({text})"),
            };
            map.iter().map(part).collect::<Vec<_>>().join("+")
        }
    }
}

/// The label of a coordinate; `None` if the cell does not have the axis.
pub(crate) fn coordinate(cell: &Cell, axis: &str) -> Option<String> {
    cell.get(axis).map(value)
}

/// Returns whether this label of the monitor axis means that the run has no monitor.
pub(crate) fn is_off(label: &str) -> bool {
    matches!(label, "off" | "none" | "null" | "false" | "")
}

/// A coordinate in display form. Numbers are preceded by the name of their axis.
pub(crate) fn phrase(axis: &str, value: &str) -> String {
    match axis {
        MONITOR if is_off(value) => "no monitor".to_owned(),
        MONITOR if value == "on" => "monitor".to_owned(),
        EPOCHS => format!("{value} {}", if value == "1" { "epoch" } else { "epochs" }),
        EXPERIMENT | "model" | "dataset" | SCHEDULE | MONITOR => value.to_owned(),
        _ => format!("{axis} {value}"),
    }
}

/// The axes that define the conditions of a comparison: model, data set and budget. Arms are compared along them only if
/// a baseline is named or the grid has no other axis.
pub(crate) const CONDITIONS: [&str; 3] = ["model", "dataset", EPOCHS];

/// The axes of a set of cells in display order: experiment, model, data set, budget, further axes by name, schedule, monitor.
pub(crate) fn axes<'a>(cells: impl Iterator<Item = &'a Cell>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in cells.flat_map(|cell| cell.keys()) {
        if name != SEED && !names.contains(name) {
            names.push(name.clone());
        }
    }
    let rank = |name: &str| match name {
        EXPERIMENT => -1,
        "model" => 0,
        "dataset" => 1,
        EPOCHS => 2,
        SCHEDULE => 4,
        MONITOR => 5,
        _ => 3,
    };
    names.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    names
}

/// Converts text to a file name of lower-case letters, digits and hyphens, at most 80 characters long.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(80);
    out.truncate(out.trim_end_matches('-').len());
    if out.is_empty() { "x".to_owned() } else { out }
}

/// Unique file names: the [`slug`] of each text, with the first digits of the digest of its cell if several texts have the
/// same slug.
pub(crate) fn file_names(named_cells: &[(String, Cell)]) -> Vec<String> {
    let slugs: Vec<String> = named_cells.iter().map(|(text, _)| slug(text)).collect();
    let shared = |name: &String| slugs.iter().filter(|other| *other == name).count() > 1;
    let named = |(name, (_, cell)): (&String, &(String, Cell))| {
        if shared(name) {
            format!("{name}-{}", digest(&Value::from_iter(cell.clone()).to_string()))
        } else {
            name.clone()
        }
    };
    slugs.iter().zip(named_cells).map(named).collect()
}

/// A unique reference name for a document: letters, digits, `-`, `_` and `.` verbatim and other characters as `-`. If a
/// character was replaced, the first digits of the text's digest follow.
pub(crate) fn reference(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let out: String = text.chars().map(kept).collect();
    if out == text { out } else { format!("{out}-{}", digest(text)) }
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values() {
        let check = |v: Value, expected: &str| assert_eq!(value(&v), expected);
        check(json!("cosine"), "cosine");
        check(json!(null), "off");
        check(json!(false), "off");
        check(json!(true), "on");
        check(json!(20), "20");
        check(json!(0.1), "0.1");
        check(json!(1.0), "1");
        check(json!(-0.0), "0");
        check(json!(-3e2), "-300");
        check(json!(1e300), "1e+300");
        check(json!(u64::MAX), "18446744073709551615");
        check(json!({"static": {}}), "static");
        check(json!({"step": {"factor": 0.5, "every": "3 epochs"}}), "step(every=3 epochs, factor=0.5)");
        check(json!({"a": 1, "b": {}}), "a(1)+b");
        check(json!(["x", 2]), "x+2");
    }

    #[test]
    fn slugs_are_safe_names() {
        let check = |text, expected: &str| assert_eq!(slug(text), expected);
        check("ResNet-20 / CIFAR 10", "resnet-20-cifar-10");
        check("../../etc/passwd", "etc-passwd");
        check("<script>", "script");
        check("", "x");
        check("…", "x");
        check(&format!("{} b", "a".repeat(79)), &"a".repeat(79));
    }

    #[test]
    fn file_names_are_never_shared() {
        let long = "a".repeat(90);
        let texts = [
            "net_1",
            "net-1",
            "Net 1",
            "net_2",
            "сеть",
            "нейро",
            "alone",
            &format!("{long}x"),
            &format!("{long}y"),
        ];
        let things = |texts: &[&str]| -> Vec<(String, Cell)> {
            texts
                .iter()
                .map(|text| ((*text).to_owned(), Cell::from([("model".to_owned(), json!(text))])))
                .collect()
        };
        let names = file_names(&things(&texts));
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), texts.len(), "{names:?}");
        assert_eq!((names[3].as_str(), names[6].as_str()), ("net-2", "alone"));
        // A name does not depend on the other names or on their order.
        assert_eq!(file_names(&things(&["net-1", "net_1"])), [names[1].clone(), names[0].clone()]);
        // Equal texts of different values.
        let on = |value: Value| ("on".to_owned(), Cell::from([("monitor".to_owned(), value)]));
        let names = file_names(&[on(json!("on")), on(json!(true))]);
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn references() {
        let check = |text, expected: &str| assert_eq!(reference(text), expected);
        check("paper_grid-2.b", "paper_grid-2.b");
        assert!(reference("a b").starts_with("a-b-") && reference("a b") != reference("a/b"));
    }

    #[test]
    fn axes_in_reading_order() {
        let cell: Cell = ["seed", "schedule", "monitor", "epochs", "dataset", "model", "augment"]
            .into_iter()
            .map(|k| (k.to_owned(), json!(1)))
            .collect();
        assert_eq!(
            axes([&cell].into_iter()),
            ["model", "dataset", "epochs", "augment", "schedule", "monitor"]
        );
    }
}
