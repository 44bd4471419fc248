//! A run's canonical form and identity.

use std::fmt;

use lrlab_config::Source;
use lrlab_runs::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::RunSpec;

/// Fields that were added after the first ids were given, each with what it means where nothing is said: what runs did
/// before there was such a field. `*` stands for any one key.
///
/// A run that leaves a later field at that meaning keeps the id it had before.
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

/// Why a specification has no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoIdentity {
    /// A number of it is NaN or infinite, which JSON cannot hold: two different runs would look alike.
    NotFinite,
    /// It is no JSON.
    NoJson(String),
}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str(
                "the specification holds a number that is NaN or infinite, so it has no identity: give a finite one",
            ),
            Self::NoJson(why) => write!(f, "the specification is no JSON, so it has no identity: {why}"),
        }
    }
}

impl std::error::Error for NoIdentity {}

/// The canonical form of a specification: RFC 8785 JSON (sorted keys, shortest numbers, no white space), but whole
/// numbers have all their digits, and in the options of a user's own model or data set `1.0` is not `1`: the builder
/// can tell them apart.
///
/// The paths of data files are left out: where a file lies decides nothing, its content does, and the content's
/// digest is the other half of the [identity](run_id), so that a digest to compare with (`pin_digest`) decides nothing either.
/// Left out as well are the number of weights kept beside the result, how often updates are logged, and fields that were
/// added later and hold their default.
///
/// # Errors
/// A number is not finite.
pub fn canonical(spec: &RunSpec) -> Result<String, NoIdentity> {
    let mut spec = spec.clone();
    // Left out here already: a path need not be text.
    if let Source::Cifar10(files) | Source::Imdb(files) = &mut spec.data.source {
        files.folder = None;
    }
    let json = serde_json::to_value(&spec).map_err(|error| NoIdentity::NoJson(error.to_string()))?;
    // What JSON cannot hold became null, and reads as something else or as nothing.
    if RunSpec::deserialize(&json).ok().as_ref() != Some(&spec) {
        return Err(NoIdentity::NotFinite);
    }
    canonical_of(json, &later())
}

/// The identity of a run: a hash of the canonical form and the content digest of its data set.
///
/// # Errors
/// As [`canonical`].
pub fn run_id(spec: &RunSpec, dataset_digest: &str) -> Result<RunId, NoIdentity> {
    Ok(RunId::of(&canonical(spec)?, dataset_digest))
}

/// As [`run_id`], of a specification as JSON and with more later fields: what [`run_id`] would be had they been added.
///
/// # Errors
/// As [`canonical`].
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

/// Where options are passed on to a builder that sees whether a number has a point.
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
                // Below passed-on options the path stays theirs, whatever their keys are called.
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
        // RFC 8785 would round it to what a double holds.
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
