//! Checks single values against the ranges in their schemas.

use lrlab_runs::EpochMetrics;
use serde_json::Value as Json;

use crate::suggest;
use crate::tree::{Node, Value};

/// An error in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

/// Returns the error in the value of `key`, if any. Its type is that of the schema.
pub(crate) fn check(schema: &Json, key: &str, node: &Node) -> Option<Wrong> {
    match &node.value {
        Value::Text(text) => word(schema, key, text),
        Value::Integer(_) | Value::Float(_) => {
            let x = node.number()?;
            let message = format!("`{key}` is {x}: expected {}", refused(schema, x)?);
            Some(Wrong { message, suggestion: None })
        }
        _ => None,
    }
}

/// The comment of a schema that explains its range.
fn comment(schema: &Json) -> Option<&str> {
    schema["$comment"].as_str()
}

/// A description of the schema's bounds if `x` is out of bounds.
fn refused(schema: &Json, x: f64) -> Option<String> {
    let bound = |name: &str| schema[name].as_f64();
    let bounds = [
        bound("minimum").map(|least| {
            (x >= least, if least == 0.0 { "0 or more".to_owned() } else { format!("at least {least}") })
        }),
        bound("exclusiveMinimum").map(|below| (x > below, format!("a number above {below}"))),
        bound("maximum").map(|most| (x <= most, format!("at most {most}"))),
        bound("exclusiveMaximum").map(|above| (x < above, format!("below {above}"))),
    ];
    let bounds: Vec<_> = bounds.into_iter().flatten().collect();
    if bounds.iter().all(|(accepted, _)| *accepted) {
        return None;
    }
    let expected = bounds.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join(" and ");
    Some(comment(schema).map_or(expected.clone(), |why| format!("{expected}: {why}")))
}

/// Checks a string; an enumeration in the schema contains names of metrics.
fn word(schema: &Json, key: &str, text: &str) -> Option<Wrong> {
    if text.is_empty() && schema["minLength"] == 1 {
        let suggestion = comment(schema).map(str::to_owned);
        return Some(Wrong { message: format!("`{key}` is empty"), suggestion });
    }
    let names: Vec<&str> = schema["enum"].as_array()?.iter().filter_map(Json::as_str).collect();
    if names.contains(&text) {
        return None;
    }
    let message = match comment(schema) {
        Some(why) if EpochMetrics::NAMES.contains(&text) => format!("`{text}` is {why}"),
        _ => format!("unknown metric `{text}`"),
    };
    let on_validation = text.strip_prefix("test_").map(|metric| format!("val_{metric}"));
    let suggestion = match on_validation.filter(|metric| names.contains(&metric.as_str())) {
        Some(metric) => Some(format!("use `{metric}`: the test split is read after training")),
        None => suggest::among(text, names),
    };
    Some(Wrong { message, suggestion })
}
