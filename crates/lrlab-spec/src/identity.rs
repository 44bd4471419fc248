//! The canonical form and the identity of a run.

use std::fmt;

use lrlab_config::Source;
use lrlab_runs::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::RunSpec;

/// Fields that were added after the first ids were assigned, each with its default, which is the behaviour before the field
/// was added. `*` matches any single key.
///
/// A run with the default of a later field keeps the id that it had before.
fn later() -> [(&'static str, Value); 7] {
    [
        ("averaging", Value::Null),
        ("divergence", Value::Null),
        ("early_stopping.baseline", Value::Null),
        ("early_stopping.at_restart", "ignore".into()),
        ("model.resnet.init", "torchvision".into()),
        ("monitor.at_restart", "keep".into()),
        ("precision", json!("f32")),
    ]
}

/// The reason why a specification has no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoIdentity {
    /// It contains a NaN or infinite number, which JSON cannot represent, so that different runs could have equal ids.
    NotFinite,
    /// It is not valid JSON.
    NoJson(String),
}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str(
                "the specification contains a NaN or infinite number, so it has no identity: use finite numbers",
            ),
            Self::NoJson(why) => write!(f, "the specification is not valid JSON, so it has no identity: {why}"),
        }
    }
}

impl std::error::Error for NoIdentity {}

/// The canonical form of a specification: RFC 8785 JSON (sorted keys, shortest numbers, no white space), except that
/// integers have all their digits, and `1.0` differs from `1` in the options of a custom model or data set, because a
/// builder can distinguish them.
///
/// The paths of data files are omitted: only their content affects results, and the digest of the content is the other
/// part of the [identity](run_id). For the same reason, a digest to compare with (`pin_digest`) is omitted. The number of kept
/// weights, the logging interval of updates, and later fields with their default are omitted as well.
///
/// # Errors
/// Returns an error if a number is not finite.
pub fn canonical(spec: &RunSpec) -> Result<String, NoIdentity> {
    let mut spec = spec.clone();
    // Removed before serialization, because a path may not be valid Unicode.
    if let Source::Cifar10(files) | Source::Imdb(files) = &mut spec.data.source {
        files.folder = None;
    }
    let json = serde_json::to_value(&spec).map_err(|error| NoIdentity::NoJson(error.to_string()))?;
    // Values that JSON cannot represent became null, so the round trip differs.
    if RunSpec::deserialize(&json).ok().as_ref() != Some(&spec) {
        return Err(NoIdentity::NotFinite);
    }
    canonical_of(json, &later())
}

/// The identity of a run: a hash of the canonical form and the content digest of its data set.
///
/// # Errors
/// Returns the errors of [`canonical`].
pub fn run_id(spec: &RunSpec, dataset_digest: &str) -> Result<RunId, NoIdentity> {
    Ok(RunId::of(&canonical(spec)?, dataset_digest))
}

/// Like [`run_id`], for a specification as JSON: the value of [`run_id`] if the fields `more` were added with these defaults.
///
/// # Errors
/// Returns the errors of [`canonical`].
#[doc(hidden)]
pub fn run_id_of(spec: &Value, dataset_digest: &str, more: &[(&str, Value)]) -> Result<RunId, NoIdentity> {
    let later: Vec<_> = later().into_iter().chain(more.iter().cloned()).collect();
    Ok(RunId::of(&canonical_of(spec.clone(), &later)?, dataset_digest))
}

fn canonical_of(mut json: Value, later: &[(&str, Value)]) -> Result<String, NoIdentity> {
    if let Some(source) = json.pointer_mut("/data/source").and_then(Value::as_object_mut) {
        for name in ["cifar10", "imdb"] {
            if let Some(files) = source.get_mut(name).and_then(Value::as_object_mut) {
                files.remove("folder");
            }
        }
    }
    // The field was there when the first ids were given, so it stays, empty.
    if let Some(pin) = json.pointer_mut("/data/pin_digest") {
        *pin = Value::Null;
    }
    if let Some(fields) = json.as_object_mut() {
        fields.remove("keep_top");
        fields.remove("log_every");
    }
    for (path, silent) in later {
        leave_out(&mut json, path, silent);
    }
    let mut text = String::new();
    write(&json, "", &mut text)?;
    Ok(text)
}

/// The paths of options that are passed to a builder, which can distinguish integers from floats.
const PASSED_ON: [&str; 2] = ["model.custom.options", "data.source.custom.options"];

fn write(json: &Value, path: &str, text: &mut String) -> Result<(), NoIdentity> {
    let leaf = |json: &Value| {
        serde_json_canonicalizer::to_string(json).map_err(|error| NoIdentity::NoJson(error.to_string()))
    };
    match json {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            // The order of RFC 8785, section 3.2.3.
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                text.push_str(if i == 0 { "" } else { "," });
                text.push_str(&leaf(&Value::String(key.clone()))?);
                text.push(':');
                // Below such options the path does not change, regardless of their keys.
                let below = match path {
                    "" => key.clone(),
                    path if PASSED_ON.contains(&path) => path.to_owned(),
                    path => format!("{path}.{key}"),
                };
                write(&fields[key], &below, text)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                text.push_str(if i == 0 { "" } else { "," });
                write(item, path, text)?;
            }
            text.push(']');
        }
        // RFC 8785 would round it to a double.
        Value::Number(number) if !number.is_f64() => text.push_str(&number.to_string()),
        Value::Number(number) if PASSED_ON.contains(&path) => {
            // ECMAScript writes -0 as 0.
            let negative_zero = number.as_f64().is_some_and(|x| x == 0.0 && x.is_sign_negative());
            let digits = leaf(json)?;
            text.push_str(if negative_zero { "-" } else { "" });
            text.push_str(&digits);
            text.push_str(if digits.contains(['.', 'e']) { "" } else { ".0" });
        }
        _ => text.push_str(&leaf(json)?),
    }
    Ok(())
}

/// Removes the value at `path` if it equals `silent`.
fn leave_out(json: &mut Value, path: &str, silent: &Value) {
    let Some(fields) = json.as_object_mut() else { return };
    match path.split_once('.') {
        Some(("*", rest)) => fields.values_mut().for_each(|field| leave_out(field, rest, silent)),
        Some((key, rest)) => fields.get_mut(key).into_iter().for_each(|field| leave_out(field, rest, silent)),
        None if fields.get(path) == Some(silent) => drop(fields.remove(path)),
        None => {}
    }
}
