//! Bitwise comparison of two results of one run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RunResult;

/// The keys that are equal for two runs of one specification, in the order in which a run produces them.
const SHARED: [&str; 5] = ["history", "decisions", "outcome", "final", "best"];

/// A place at which two results differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The path, such as `history[3].val_loss`.
    pub place: String,
    /// The value in the first result; `null` if it has none.
    pub first: Value,
    /// The value in the other result.
    pub other: Value,
}

impl RunResult {
    /// Returns the first place at which `other` differs from this result; `None` if they agree. Times and provenance are not
    /// compared. Numbers are equal if their bits are: `-0` differs from `0`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let values = [self, other].map(|result| serde_json::to_value(result).unwrap_or_default());
        SHARED.iter().find_map(|key| {
            let mut found = Vec::new();
            collect_differences((*key).to_owned(), &values[0][*key], &values[1][*key], &mut found);
            found.into_iter().next()
        })
    }

    /// Returns every place at which the provenance of `other` differs from that of this result, such as `host` or
    /// `versions.candle`.
    #[must_use]
    pub fn provenance_differences(&self, other: &Self) -> Vec<Difference> {
        let values = [self, other].map(|result| serde_json::to_value(&result.provenance).unwrap_or_default());
        let mut found = Vec::new();
        for key in values[0].as_object().into_iter().flat_map(|keys| keys.keys()) {
            collect_differences(key.clone(), &values[0][key], &values[1][key], &mut found);
        }
        found
    }
}

/// Collects every place at which two values differ.
fn collect_differences(place: String, first: &Value, other: &Value, found: &mut Vec<Difference>) {
    match (first, other) {
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).for_each(|i| {
            let at = |list: &[Value]| list.get(i).cloned().unwrap_or_default();
            collect_differences(format!("{place}[{i}]"), &at(a), &at(b), found);
        }),
        (Value::Object(a), Value::Object(b)) => {
            let only_there = b.keys().filter(|key| !a.contains_key(*key));
            a.keys().chain(only_there).for_each(|key| {
                let at = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                collect_differences(format!("{place}.{key}"), &at(a), &at(b), found);
            });
        }
        _ if !equal(first, other) => {
            found.push(Difference { place, first: first.clone(), other: other.clone() });
        }
        _ => {}
    }
}

fn equal(first: &Value, other: &Value) -> bool {
    let bits = |value: &Value| value.as_f64().map(f64::to_bits);
    first == other && bits(first) == bits(other)
}
