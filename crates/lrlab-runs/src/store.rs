//! The store: the layout of the files of runs and grids.
//!
//! ```text
//! DIR/store/<run_id>/result.json       exists once the run is done
//! DIR/store/<run_id>/paused.json       the result of a paused run if no attempt resumes it
//! DIR/store/<run_id>/spec.json  best.safetensors  …
//! DIR/store/<run_id>/damaged/<n>/…     damaged results that others replaced, with their weights
//! DIR/store/<run_id>/superseded/<n>/…  the files of a run that is repeated
//! DIR/store/<run_id>/attempts/<n>/checkpoints  events.jsonl  metrics.csv  tensorboard  …
//! DIR/cache/…                          prepared data
//! DIR/bin/<build>/…                    frozen runners
//! DIR/<experiment>/plan.json
//! DIR/<experiment>/report/…
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::atomic::write_atomic_with;
use crate::{Error, Outcome, Plan, Records, RunId, RunResult, link_exclusive, write_atomic, write_exclusive};

/// The folder of the runs within a store.
const RUNS: &str = "store";
/// The folder of prepared data within a store.
const CACHE: &str = "cache";
/// The folder of frozen runners within a store.
const BIN: &str = "bin";

/// Names that no experiment may have, because the store uses folders with these names.
pub const RESERVED_NAMES: [&str; 3] = [RUNS, CACHE, BIN];

/// The maximum length in bytes of the name of an experiment or of one of its parts. Names become parts of file names, which
/// file systems limit to 255 bytes.
pub const LONGEST_NAME: usize = 100;

/// A folder of runs and grids.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStore {
    root: PathBuf,
    /// Results that count for runs without a result in the folder.
    records: Arc<Records>,
}

impl RunStore {
    /// Opens the store at `root`. The folder is created by the first write.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), records: Arc::default() }
    }

    /// Adds `records` for reading: a run without a result in the store has the recorded one. To write records to the store,
    /// use [`Self::put`].
    #[must_use]
    pub fn with_records(self, records: Records) -> Self {
        Self { records: Arc::new(records), ..self }
    }

    /// Returns the folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns `DIR/store`: the folders of the runs.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.root.join(RUNS)
    }

    /// Returns `DIR/store/<run_id>`.
    #[must_use]
    pub fn run_dir(&self, id: &RunId) -> PathBuf {
        self.runs_dir().join(id.as_str())
    }

    /// Returns `DIR/cache`: prepared data, and the results of preflights.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.root.join(CACHE)
    }

    /// Returns `DIR/bin`: frozen runners.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.root.join(BIN)
    }

    /// Returns `DIR/<experiment>`.
    #[must_use]
    pub fn experiment_dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns whether the run is done.
    #[must_use]
    pub fn is_done(&self, id: &RunId) -> bool {
        exists(&self.result_path(id)) || self.records.get(id).is_some()
    }

    /// Returns whether the run is done and was not pruned by a search, so that no training is left.
    #[must_use]
    pub fn is_finished(&self, id: &RunId) -> bool {
        self.is_done(id) && !self.is_pruned(id)
    }

    /// Returns whether a search pruned the run, so that it can be resumed.
    fn is_pruned(&self, id: &RunId) -> bool {
        if let Some(result) = self.recorded(id) {
            return result.outcome == Outcome::Pruned;
        }
        let path = self.result_path(id);
        // Only a paused run can have been pruned, so the results of other runs need not be read.
        let outcome = || -> Option<Outcome> {
            let bytes = std::fs::read(path).ok()?;
            serde_json::from_slice::<OutcomeOnly>(&bytes).ok().map(|read| read.outcome)
        };
        self.paused_path(id).is_file() && outcome() == Some(Outcome::Pruned)
    }

    /// Returns the sorted ids of the runs with a result in the folder; none if the folder does not exist.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn done(&self) -> Result<Vec<RunId>, Error> {
        let folder = self.runs_dir();
        let entries = match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&folder, e)),
        };
        let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter_map(|name| RunId::try_from(name).ok());
        let mut done: Vec<RunId> = ids.filter(|id| exists(&self.result_path(id))).collect();
        done.sort_unstable();
        Ok(done)
    }

    /// Returns the result of a run; `None` if it is not done.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is damaged, or contains the result of another run.
    pub fn result(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        let result = read_result(&self.result_path(id), id)?;
        Ok(result.or_else(|| self.records.get(id).map(|record| (*record.result).clone())))
    }

    /// Returns the result of a run that has it on record alone, and not in the folder.
    #[must_use]
    pub fn recorded(&self, id: &RunId) -> Option<&Arc<RunResult>> {
        let record = self.records.get(id).filter(|_| !exists(&self.result_path(id)));
        record.map(|record| &record.result)
    }

    /// Returns the result of a run as bytes; `None` if it is not done. For a recorded run, these are the bytes that its file
    /// would have.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn result_bytes(&self, id: &RunId) -> Result<Option<Vec<u8>>, Error> {
        let path = self.result_path(id);
        match read_file(&path)? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.records.get(id).map(|record| to_json(&path, &record.result)).transpose(),
        }
    }

    /// Adds a finished run to the store as if it had been run there. Returns `false` if a result exists, which is kept, unless
    /// a search pruned it after fewer epochs.
    ///
    /// # Errors
    /// Returns an error if writing fails, or the result of a pruned run is damaged.
    pub fn put(&self, result: &RunResult) -> Result<bool, Error> {
        if result.outcome != Outcome::Pruned {
            return self.commit(result);
        }
        let is_shorter = |known: &RunResult| {
            known.outcome == Outcome::Pruned && known.history.len() < result.history.len()
        };
        match self.result(&result.run_id)? {
            Some(known) if is_shorter(&known) => self.revive(&result.run_id)?,
            Some(_) => return Ok(false),
            None => {}
        }
        self.pause(result)?;
        self.prune(&result.run_id)
    }

    /// Returns the damage to the result or the paused state of a run; `None` if there is none. [`Self::is_done`] counts a
    /// damaged run as done; callers set it aside and repeat it.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, so that its state is unknown.
    pub fn damage(&self, id: &RunId) -> Result<Option<Error>, Error> {
        match self.result(id).and_then(|_| self.paused(id)) {
            Ok(_) => Ok(None),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) => Ok(Some(error)),
        }
    }

    /// Moves the files that [`Self::damage`] refers to into a new folder `damaged/<n>` of the run, a damaged result together
    /// with its weights, so that another result can take its place. The state of a pruned run is restored from its result.
    /// Returns the new paths; none if there is no damage.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or moved.
    pub fn set_damage_aside(&self, id: &RunId) -> Result<Vec<PathBuf>, Error> {
        let (result, paused) = (self.result_path(id), self.paused_path(id));
        let is_damaged = |path| match read_result(path, id) {
            Err(error @ Error::Io { .. }) => Err(error),
            read => Ok(read.is_err()),
        };
        let mut damaged = Vec::new();
        if is_damaged(&paused)? {
            damaged.push(paused.clone());
        }
        // The result is last: as long as it exists, the run counts as done.
        if is_damaged(&result)? {
            damaged.extend(self.weights(id)?);
            damaged.push(result.clone());
        }
        if damaged.is_empty() {
            return Ok(damaged);
        }
        let folder = create_numbered(&self.run_dir(id).join("damaged"))?;
        for path in &mut damaged {
            let aside = folder.join(path.file_name().unwrap_or_default());
            std::fs::rename(&*path, &aside).map_err(|e| Error::io(path, e))?;
            *path = aside;
        }
        if read_result(&result, id)?.is_some_and(|result| result.outcome == Outcome::Pruned) {
            link_exclusive(&result, &paused)?;
        }
        Ok(damaged)
    }

    /// The weights beside the result of a run, sorted.
    fn weights(&self, id: &RunId) -> Result<Vec<PathBuf>, Error> {
        let folder = self.run_dir(id);
        let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let paths = entries.map_err(|e| Error::io(&folder, e))?.into_iter().map(|entry| entry.path());
        let mut weights: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "safetensors")).collect();
        weights.sort();
        Ok(weights)
    }

    /// Writes `result.json`. Returns `false` if another attempt has already committed its result. If a search
    /// pruned the run in the meantime, the new result replaces the pruned one.
    ///
    /// # Errors
    /// Returns an error if writing fails.
    pub fn commit(&self, result: &RunResult) -> Result<bool, Error> {
        let path = self.result_path(&result.run_id);
        let bytes = to_json(&path, result)?;
        let mut first = write_exclusive(&path, &bytes)?;
        if !first && self.is_pruned(&result.run_id) {
            write_atomic(&path, &bytes)?;
            first = true;
        }
        // The paused state is obsolete, and usually absent.
        let _ = std::fs::remove_file(self.paused_path(&result.run_id));
        Ok(first)
    }

    /// Returns the result that a paused run has if no attempt resumes it; `None` if it never paused.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is damaged.
    pub fn paused(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        read_result(&self.paused_path(id), id)
    }

    /// Returns the number of completed epochs at the last pause; `None` if the run never paused.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is damaged.
    pub fn paused_after(&self, id: &RunId) -> Result<Option<u64>, Error> {
        Ok(read_json::<HistoryOnly>(&self.paused_path(id))?.map(|read| read.history.len() as u64))
    }

    /// Records that a run has paused. `result` becomes its result if no attempt resumes it.
    ///
    /// # Errors
    /// Returns an error if writing fails.
    pub fn pause(&self, result: &RunResult) -> Result<(), Error> {
        let path = self.paused_path(&result.run_id);
        write_atomic(&path, &to_json(&path, result)?)
    }

    /// Ends a paused run with its current result. Returns `false` if the run is not paused or is done.
    ///
    /// # Errors
    /// Returns an error if the files cannot be read or written.
    pub fn prune(&self, id: &RunId) -> Result<bool, Error> {
        let paused = self.paused_path(id);
        if self.is_done(id) || !paused.is_file() {
            return Ok(false);
        }
        link_exclusive(&paused, &self.result_path(id))
    }

    /// Removes the result of a pruned run, so that it can be resumed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be removed.
    pub fn revive(&self, id: &RunId) -> Result<(), Error> {
        let path = self.result_path(id);
        // The file is a link to `paused.json`, so nothing is lost.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, e)),
            _ => Ok(()),
        }
    }

    fn result_path(&self, id: &RunId) -> PathBuf {
        self.run_dir(id).join("result.json")
    }

    fn paused_path(&self, id: &RunId) -> PathBuf {
        self.run_dir(id).join("paused.json")
    }

    /// Returns the plan of an experiment; `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is damaged.
    pub fn plan(&self, experiment: &str) -> Result<Option<Plan>, Error> {
        read_json(&self.experiment_dir(experiment).join("plan.json"))
    }

    /// Writes `plan.json`.
    ///
    /// # Errors
    /// Returns an error if writing fails.
    pub fn write_plan(&self, plan: &Plan) -> Result<(), Error> {
        let path = self.experiment_dir(&plan.experiment).join("plan.json");
        write_atomic_with(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, plan)?;
            file.write_all(b"\n")
        })
    }
}

/// Creates the folder `parent/<n>` with the first unused number from 1, and returns its path.
///
/// # Errors
/// Returns [`Error::Io`] if it cannot be created.
pub fn create_numbered(parent: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    let mut number = 1_u32;
    loop {
        let folder = parent.join(number.to_string());
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(Error::io(&folder, e)),
        }
    }
}

/// The outcome alone, for reading it from a result.
#[derive(Deserialize)]
struct OutcomeOnly {
    outcome: Outcome,
}

/// The history alone, for counting its epochs.
#[derive(Deserialize)]
struct HistoryOnly {
    history: Vec<serde::de::IgnoredAny>,
}

fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::json(path, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read_result(path: &Path, id: &RunId) -> Result<Option<RunResult>, Error> {
    let result: Option<RunResult> = read_json(path)?;
    match result {
        Some(result) if result.run_id != *id => {
            let (found, expected) = (result.run_id.to_string(), id.to_string());
            Err(Error::Misplaced { path: path.to_path_buf(), found, expected })
        }
        result => Ok(result),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match read_file(path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::json(path, e)),
        None => Ok(None),
    }
}

/// Reads a file; `None` if there is nothing at `path`.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) if !exists(path) => Ok(None),
        // A folder, or a link to nothing or to itself.
        Err(_)
            if path.symlink_metadata().is_ok_and(|it| it.is_dir() || it.is_symlink() && !path.is_file()) =>
        {
            Err(Error::NotAFile(path.to_path_buf()))
        }
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Returns whether there is anything at `path`, even if it cannot be read: a folder, or a link to nothing.
fn exists(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    !matches!(path.symlink_metadata(), Err(e) if matches!(e.kind(), NotFound | NotADirectory))
}
