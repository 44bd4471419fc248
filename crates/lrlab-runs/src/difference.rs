//! Two results of one run should be equal to the bit. Where they are not, this says where.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RunResult;

/// What two runs of one specification share, in the order in which it comes about.
const SHARED: [&str; 5] = ["history", "decisions", "outcome", "final", "best"];

/// A place at which two results differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The place, such as `history[3].val_loss`.
    pub place: String,
    /// The value there in the first result; `null` also where there is none.
    pub first: Value,
    /// The value there in the other one.
    pub other: Value,
}

impl RunResult {
    /// The first place at which `other` differs from this result in what two runs of one specification share;
    /// clocks and provenance are not part of it. Numbers are equal where their bits are: `-0` is not `0`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let values = [self, other].map(|result| serde_json::to_value(result).unwrap_or_default());
        SHARED.iter().find_map(|key| {
            let mut found = Vec::new();
            walk((*key).to_owned(), &values[0][*key], &values[1][*key], &mut found);
            found.into_iter().next()
        })
    }

    /// Every place at which the provenance of `other` differs from this result's, such as `host` or `versions.candle`.
    #[must_use]
    pub fn other_provenance(&self, other: &Self) -> Vec<Difference> {
        let values = [self, other].map(|result| serde_json::to_value(&result.provenance).unwrap_or_default());
        let mut found = Vec::new();
        for key in values[0].as_object().into_iter().flat_map(|keys| keys.keys()) {
            walk(key.clone(), &values[0][key], &values[1][key], &mut found);
        }
        found
    }
}

/// Adds every place at which two values differ.
fn walk(place: String, first: &Value, other: &Value, found: &mut Vec<Difference>) {
    match (first, other) {
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).for_each(|i| {
            let at = |list: &[Value]| list.get(i).cloned().unwrap_or_default();
            walk(format!("{place}[{i}]"), &at(a), &at(b), found);
        }),
        (Value::Object(a), Value::Object(b)) => {
            let only_there = b.keys().filter(|key| !a.contains_key(*key));
            a.keys().chain(only_there).for_each(|key| {
                let at = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                walk(format!("{place}.{key}"), &at(a), &at(b), found);
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
