//! Finds files that killed processes left behind.
//!
//! Files are written under temporary names (`.….tmp`) and renamed once complete. Uncommitted
//! weights of an attempt are also temporary. Writing takes seconds, so a temporary file that has not been modified for an hour, by the
//! clock of its file system, is stale. Runs with an owner are skipped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lrlab_runs::{RunId, RunStore, attempt_dir};

use crate::attempt::in_use;
use crate::clock::Clock;
use crate::{Error, attempts};

/// The age at which a temporary file is stale.
pub(crate) const STALE_AFTER: Duration = Duration::from_hours(1);
/// The extension of weights: `best`, `last`, `epoch-0003`.
const WEIGHTS: &str = "safetensors";

/// Returns the stale files in `store`, sorted by path.
pub(crate) fn stale_files(store: &RunStore, clock: Clock) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    walk(store.root(), clock, &mut found)?;
    if store.runs_dir().is_symlink() {
        // On another disk.
        walk(&store.runs_dir(), clock, &mut found)?;
    }
    for (path, id) in runs(store)? {
        if store.is_finished(&id) && !in_use(&path)? {
            weights(&path, clock, &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

/// Walks `folder` without following links.
fn walk(folder: &Path, clock: Clock, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let is_run = folder.file_name().and_then(|name| name.to_str()).is_some_and(is_id);
    if is_run && in_use(folder)? {
        return Ok(());
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // The folder was removed in the meantime.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let path = entry.path();
        if is_temporary(&path) {
            if is_stale(&path, clock) {
                found.push(path);
            }
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, clock, found)?;
        }
    }
    Ok(())
}

fn is_id(name: &str) -> bool {
    RunId::try_from(name.to_owned()).is_ok()
}

fn is_temporary(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    hidden && path.extension().is_some_and(|extension| extension == "tmp")
}

/// Returns whether a file, or every file in a folder and below it, has not been modified for [`STALE_AFTER`].
pub(crate) fn is_stale(path: &Path, clock: Clock) -> bool {
    let is_old = |path: &Path| {
        let touched = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
        touched.is_ok_and(|touched| clock.since(touched) >= STALE_AFTER)
    };
    let is_folder = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let entries = is_folder.then(|| std::fs::read_dir(path)).into_iter().flatten().flatten().flatten();
    is_old(path) && entries.into_iter().all(|entry| is_stale(&entry.path(), clock))
}

/// Returns the folders of runs.
fn runs(store: &RunStore) -> Result<Vec<(PathBuf, RunId)>, Error> {
    let folder = store.runs_dir();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(&folder, e)),
    };
    let run = |entry: std::fs::DirEntry| {
        let id = RunId::try_from(entry.file_name().to_str()?.to_owned()).ok()?;
        Some((entry.path(), id))
    };
    Ok(entries.flatten().filter_map(run).collect())
}

/// Adds weights that attempts at a finished run did not commit. Weights that differ from the committed ones are kept.
fn weights(run_dir: &Path, clock: Clock, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for (number, _) in attempts(run_dir)? {
        let folder = attempt_dir(run_dir, number);
        if !folder.join("nondeterminism.json").exists() {
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let left = files.filter(|path| path.extension().is_some_and(|kind| kind == WEIGHTS));
            found.extend(left.filter(|path| path.is_file() && is_stale(path, clock)));
        }
    }
    Ok(())
}
