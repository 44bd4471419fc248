//! A run's canonical form and identity.

use lrlab_runs::RunId;
use serde_json::{Value, json};

use crate::RunSpec;

/// Fields that were added after the first ids were given, each with what it means where nothing is said: what runs did
/// before there was such a field. `*` stands for any one key.
///
/// A run that leaves a later field at that meaning keeps the id it had before.
fn later() -> [(&'static str, Value); 6] {
    [
        ("averaging", Value::Null),
        ("divergence", Value::Null),
        ("early_stopping.baseline", Value::Null),
        ("early_stopping.at_restart", "ignore".into()),
        ("monitor.at_restart", "keep".into()),
        ("precision", json!("f32")),
    ]
}

/// The canonical form of a specification: RFC 8785 JSON (sorted keys, shortest numbers, no white space).
///
/// The paths of data files are left out: where a file lies decides nothing, its content does, and the content's
/// digest is the other half of the [identity](run_id). So is how many weights are kept beside the result, and so are fields
/// that were added later and say nothing new.
#[must_use]
pub fn canonical(spec: &RunSpec) -> String {
    canonical_of(serde_json::to_value(spec).unwrap_or_default(), &later())
}

/// The identity of a run: a hash of the canonical form and the content digest of its data set.
#[must_use]
pub fn run_id(spec: &RunSpec, dataset_digest: &str) -> RunId {
    RunId::of(&canonical(spec), dataset_digest)
}

/// As [`run_id`], of a specification as JSON and with more later fields: what [`run_id`] would be had they been added.
#[doc(hidden)]
#[must_use]
pub fn run_id_of(spec: &Value, dataset_digest: &str, more: &[(&str, Value)]) -> RunId {
    let later: Vec<_> = later().into_iter().chain(more.iter().cloned()).collect();
    RunId::of(&canonical_of(spec.clone(), &later), dataset_digest)
}

fn canonical_of(mut json: Value, later: &[(&str, Value)]) -> String {
    if let Some(source) = json.pointer_mut("/data/source").and_then(Value::as_object_mut) {
        for name in ["cifar10", "imdb"] {
            if let Some(files) = source.get_mut(name).and_then(Value::as_object_mut) {
                files.remove("folder");
            }
        }
    }
    if let Some(fields) = json.as_object_mut() {
        fields.remove("keep_top");
    }
    for (path, silent) in later {
        leave_out(&mut json, path, silent);
    }
    // A specification holds no map with keys other than strings and no NaN, the two things this refuses.
    serde_json_canonicalizer::to_string(&json).unwrap_or_default()
}

/// Removes what stands at `path` where it is `silent`.
fn leave_out(json: &mut Value, path: &str, silent: &Value) {
    let Some(fields) = json.as_object_mut() else { return };
    match path.split_once('.') {
        Some(("*", rest)) => fields.values_mut().for_each(|field| leave_out(field, rest, silent)),
        Some((key, rest)) => fields.get_mut(key).into_iter().for_each(|field| leave_out(field, rest, silent)),
        None if fields.get(path) == Some(silent) => drop(fields.remove(path)),
        None => {}
    }
}
