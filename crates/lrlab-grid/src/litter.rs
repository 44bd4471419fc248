//! What killed processes left half written.
//!
//! Files get their names when they are whole; until then they are called `.….tmp`. Weights of an attempt that did not come
//! to commit them are left over too. Whoever writes such a file is done with it in seconds, so that one that was not
//! touched for an hour, by the clock of the machine that keeps it, belongs to nobody; and below a run that somebody works
//! on, nothing is looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lrlab_runs::{RunId, RunStore, attempt_dir};

use crate::attempt::in_use;
use crate::clock::Clock;
use crate::{Error, attempts};

/// Untouched for so long, it is nobody's.
pub(crate) const IDLE: Duration = Duration::from_hours(1);
/// What the names of weights end in: `best`, `last`, `epoch-0003`.
const WEIGHTS: &str = "safetensors";

/// Everything in `store` that is half written and nobody's, by path.
pub(crate) fn litter(store: &RunStore, clock: Clock) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    walk(store.root(), clock, &mut found)?;
    for (path, id) in runs(store)? {
        if store.is_finished(&id) && !in_use(&path)? {
            weights(&path, clock, &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

/// Looks at every name below `folder`; links are not followed.
fn walk(folder: &Path, clock: Clock, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let is_run = folder.file_name().and_then(|name| name.to_str()).is_some_and(is_id);
    if is_run && in_use(folder)? {
        return Ok(());
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // It went away meanwhile.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let path = entry.path();
        if half_written(&path) {
            if idle(&path, clock) {
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

fn half_written(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    hidden && path.extension().is_some_and(|extension| extension == "tmp")
}

/// Whether a file, or everything in a folder, was left alone for long enough.
pub(crate) fn idle(path: &Path, clock: Clock) -> bool {
    let alone = |path: &Path| {
        let touched = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
        touched.is_ok_and(|touched| clock.since(touched) >= IDLE)
    };
    alone(path) && std::fs::read_dir(path).into_iter().flatten().flatten().all(|entry| alone(&entry.path()))
}

/// The runs' folders.
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

/// Weights that attempts at a run that is done did not commit; where they differ from what was, they are kept.
fn weights(run_dir: &Path, clock: Clock, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for (number, _) in attempts(run_dir)? {
        let folder = attempt_dir(run_dir, number);
        if !folder.join("nondeterminism.json").exists() {
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let left = files.filter(|path| path.extension().is_some_and(|kind| kind == WEIGHTS));
            found.extend(left.filter(|path| path.is_file() && idle(path, clock)));
        }
    }
    Ok(())
}
