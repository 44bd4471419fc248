//! Names for readers: the values of a grid's axes as short text, and the order in which axes are shown.

use lrlab_runs::Cell;
use serde_json::Value;

/// The axis that counts repetitions of an arm.
pub(crate) const SEED: &str = "seed";
/// The axis of learning-rate schedules.
pub(crate) const SCHEDULE: &str = "schedule";
/// The axis of what changes the rate by a metric.
pub(crate) const MONITOR: &str = "monitor";
/// The axis of budgets.
pub(crate) const EPOCHS: &str = "epochs";

/// An axis value as short text: strings as they are, `null` and `false` as `off`, `true` as `on`, a table of one
/// key as `key` or `key(option=value, …)`.
pub(crate) fn value(v: &Value) -> String {
    match v {
        Value::Null | Value::Bool(false) => "off".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
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

/// The label of one coordinate, `None` where the cell does not have the axis.
pub(crate) fn coordinate(cell: &Cell, axis: &str) -> Option<String> {
    cell.get(axis).map(value)
}

/// Whether this coordinate of the monitor axis means that nothing watches the run.
pub(crate) fn is_off(label: &str) -> bool {
    matches!(label, "off" | "none" | "null" | "false" | "")
}

/// The axes of a set of cells in reading order: data set, model, budget, further axes by name, schedule, monitor.
pub(crate) fn axes<'a>(cells: impl Iterator<Item = &'a Cell>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in cells.flat_map(|cell| cell.keys()) {
        if name != SEED && !names.contains(name) {
            names.push(name.clone());
        }
    }
    let rank = |name: &str| match name {
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

/// A file name of lower-case letters, digits and hyphens.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let kept: String = out.trim_end_matches('-').chars().take(80).collect();
    if kept.is_empty() { "x".to_owned() } else { kept }
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
