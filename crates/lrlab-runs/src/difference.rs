//! Bitwise comparison of two results of one run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Conflict, Outcome, RunResult, coordinate};

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

    /// Returns whether this result contains all of `other`: they do not differ, or a search pruned `other` after a part of
    /// the epochs, whose metrics are equal.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.history.len(), other.history.len());
        let is_longer = ours > theirs || (ours == theirs && self.outcome != Outcome::Pruned);
        if other.outcome != Outcome::Pruned || !is_longer {
            return self.difference(other).is_none();
        }
        let [ours, theirs] = [&self.history[..theirs], &other.history[..]]
            .map(|history| serde_json::to_value(history).unwrap_or_default());
        let mut found = Vec::new();
        collect_differences(String::new(), &ours, &theirs, &mut found);
        found.is_empty()
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

impl Conflict {
    /// Describes two results of one run, each with its place.
    #[must_use]
    pub fn new(first: (&RunResult, String), other: (&RunResult, String)) -> Self {
        let coordinates: Vec<String> = other.0.cell.iter().map(coordinate).collect();
        let run = match &coordinates[..] {
            [] => other.0.run_id.to_string(),
            all => format!("{} ({})", other.0.run_id, all.join(", ")),
        };
        Self { run, difference: in_words(first.0, other.0), first: first.1, other: other.1 }
    }
}

/// Describes how two results differ, `other` as "here" and `first` as "there".
fn in_words(first: &RunResult, other: &RunResult) -> String {
    let ending = |result: &RunResult| {
        let epochs = result.history.len();
        format!("{} after {epochs} epoch{}", result.outcome.word(), if epochs == 1 { "" } else { "s" })
    };
    let [there, here] = [ending(first), ending(other)];
    let mut words = Vec::new();
    if there != here {
        words.push(format!("it is {here} here and {there} there"));
    }
    // The endings contain the outcome.
    let difference = first.difference(other).filter(|difference| difference.place != "outcome");
    if let Some(Difference { place, first, other }) = difference {
        // A part that one of them lacks, such as the epochs that only the longer one has.
        let is_part = first.is_object() || other.is_object();
        if !is_part {
            words.push(format!("{place} is {other} here and {first} there"));
        } else if there == here {
            words.push(format!("{place} is only {}", if other.is_object() { "here" } else { "there" }));
        }
    }
    words.join(", and ")
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
