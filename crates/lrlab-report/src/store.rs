//! The state of a planned run in the store.

use std::path::Path;
use std::sync::Arc;

use lrlab_runs::{Event, Outcome, PlannedRun, RunResult, RunStore};

use crate::Error;

/// The state of a planned run.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The run has a result, which includes diverged runs.
    Done {
        /// The result.
        result: Arc<RunResult>,
        /// BLAKE3 digest of `result.json`, hexadecimal.
        digest: String,
    },
    /// The last attempt failed.
    Failed {
        /// The error message.
        error: String,
    },
    /// A file of the run is damaged or cannot be read; the run counts as missing.
    Damaged {
        /// The file and the damage.
        error: String,
    },
    /// The run has no result.
    Missing,
}

impl State {
    /// The state in one word: the outcome, `failed`, `damaged` or `missing`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { result, .. } => result.outcome.word(),
            Self::Failed { .. } => "failed",
            Self::Damaged { .. } => "damaged",
            Self::Missing => "missing",
        }
    }

    /// The digest of `result.json`; `None` without a result.
    pub(crate) fn digest(&self) -> Option<&str> {
        match self {
            Self::Done { digest, .. } => Some(digest),
            Self::Failed { .. } | Self::Damaged { .. } | Self::Missing => None,
        }
    }

    /// The error of a failed or damaged run; empty for others.
    pub(crate) fn error(&self) -> &str {
        match self {
            Self::Failed { error } | Self::Damaged { error } => error,
            Self::Done { .. } | Self::Missing => "",
        }
    }
}

/// As [`state_of_trial`]; a run that a search pruned before its full length is missing, so that its metrics do not count.
pub(crate) fn state(store: &RunStore, planned: &PlannedRun) -> State {
    match state_of_trial(store, planned) {
        State::Done { result, .. } if result.outcome == Outcome::Pruned => State::Missing,
        state => state,
    }
}

/// Reads `result.json` or, without one, the error of the last attempt. A file that is damaged or cannot be read hides no other
/// run.
pub(crate) fn state_of_trial(store: &RunStore, planned: &PlannedRun) -> State {
    let damaged = |error: &dyn std::fmt::Display| State::Damaged { error: error.to_string() };
    let bytes = match store.result_bytes(&planned.run_id) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return match failure(&store.run_dir(&planned.run_id)) {
                Ok(failure) => failure.map_or(State::Missing, |error| State::Failed { error }),
                Err(error) => damaged(&error),
            };
        }
        Err(error) => return damaged(&error),
    };
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let result = match store.recorded(&planned.run_id) {
        Some(recorded) => Some(Arc::clone(recorded)),
        None => serde_json::from_slice(&bytes).ok().map(|mut result: RunResult| {
            // Frees memory: the plan has the same specification and cell.
            result.spec = Arc::default();
            result.cell.clear();
            result.history.shrink_to_fit();
            Arc::new(result)
        }),
    };
    let result = result.filter(|result| result.run_id == planned.run_id);
    let Some(result) = result.filter(|_| store.paused(&planned.run_id).is_ok()) else {
        return match store.damage(&planned.run_id) {
            Ok(None) => damaged(&"result.json is invalid"),
            Ok(Some(damage)) | Err(damage) => damaged(&damage),
        };
    };
    State::Done { result, digest }
}

/// The error of the last attempt: the message of `failure.json`, or the last event of `events.jsonl` if it is a failure.
/// Incomplete and unknown lines are ignored.
fn failure(folder: &Path) -> Result<Option<String>, Error> {
    if let Some(bytes) = read(&folder.join("failure.json"))? {
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let word = |key: &str| json.get(key).and_then(serde_json::Value::as_str);
        let message = word("message").unwrap_or("the run failed, and failure.json is invalid");
        return Ok(Some(
            word("kind").map_or_else(|| message.to_owned(), |kind| format!("{kind}: {message}")),
        ));
    }
    let Some(bytes) = read(&folder.join("events.jsonl"))? else { return Ok(None) };
    let mut last = None;
    for line in bytes.split(|b| *b == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Event::Failed { error }) => last = Some(error),
            Ok(Event::Started { .. } | Event::Finished { .. }) => last = None,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(last)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}
