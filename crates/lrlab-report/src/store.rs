//! What the store knows of one planned run.

use std::path::Path;

use lrlab_runs::{Event, Outcome, PlannedRun, RunResult, RunStore};

use crate::Error;

/// What is known of a planned run.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is done; a run that diverged is done.
    Done {
        /// Its result.
        result: Box<RunResult>,
        /// BLAKE3 of `result.json`.
        digest: String,
    },
    /// Its last attempt failed.
    Failed {
        /// Why.
        error: String,
    },
    /// It has no result.
    Missing,
}

/// Reads `result.json`, and where there is none, why the last attempt failed, if it did. A damaged one is a run that failed:
/// the others are reported all the same.
pub(crate) fn state(store: &RunStore, planned: &PlannedRun) -> Result<State, Error> {
    let folder = store.run_dir(&planned.run_id);
    let Some(bytes) = store.result_bytes(&planned.run_id)? else {
        return Ok(failure(&folder)?.map_or(State::Missing, |error| State::Failed { error }));
    };
    let result =
        serde_json::from_slice(&bytes).ok().filter(|result: &RunResult| result.run_id == planned.run_id);
    let Some(mut result) = result.filter(|_| store.paused(&planned.run_id).is_ok()) else {
        let damage = store.damage(&planned.run_id)?;
        let error =
            damage.map_or_else(|| "its result cannot be read".to_owned(), |damage| damage.to_string());
        return Ok(State::Failed { error });
    };
    // Left by a search where it was given up: it is no run of this length, and none of its figures counts as one's.
    if result.outcome == Outcome::Pruned {
        return Ok(State::Missing);
    }
    // The plan has the same.
    result.spec = serde_json::Value::Null;
    result.cell.clear();
    result.history.shrink_to_fit();
    Ok(State::Done { result: Box::new(result), digest: blake3::hash(&bytes).to_hex().to_string() })
}

/// The error of the last attempt: the message of `failure.json`, or the error that a worker on its own wrote as the
/// last word of `events.jsonl`. Lines that are torn or that this version does not know are passed over.
fn failure(folder: &Path) -> Result<Option<String>, Error> {
    if let Some(bytes) = read(&folder.join("failure.json"))? {
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let word = |key: &str| json.get(key).and_then(serde_json::Value::as_str);
        let message = word("message").unwrap_or("failed, and failure.json cannot be read");
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
