//! A run's canonical form and identity.

use lrlab_runs::RunId;
use serde_json::Value;

use crate::RunSpec;

/// The canonical form of a specification: RFC 8785 JSON (sorted keys, shortest numbers, no white space).
///
/// The paths of data files are left out: where a file lies decides nothing, its content does, and the content's
/// digest is the other half of the [identity](run_id).
#[must_use]
pub fn canonical(spec: &RunSpec) -> String {
    let mut json = serde_json::to_value(spec).unwrap_or_default();
    if let Some(source) = json.pointer_mut("/data/source").and_then(Value::as_object_mut) {
        for name in ["cifar10", "imdb"] {
            if let Some(files) = source.get_mut(name).and_then(Value::as_object_mut) {
                files.remove("folder");
            }
        }
    }
    // A specification holds no map with keys other than strings and no NaN, the two things this refuses.
    serde_json_canonicalizer::to_string(&json).unwrap_or_default()
}

/// The identity of a run: a hash of the canonical form and the content digest of its data set.
#[must_use]
pub fn run_id(spec: &RunSpec, dataset_digest: &str) -> RunId {
    RunId::of(&canonical(spec), dataset_digest)
}
