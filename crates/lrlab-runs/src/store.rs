//! The store: where the files of runs and grids lie.
//!
//! ```text
//! DIR/store/<run_id>/result.json       presence means done
//! DIR/store/<run_id>/paused.json       what the result is if nobody goes on with a run that paused
//! DIR/store/<run_id>/spec.json  best.safetensors  …
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

/// Names that no experiment has: its folder would be one that the store keeps for itself.
pub const RESERVED_NAMES: [&str; 3] = [RUNS, CACHE, BIN];

/// The most bytes in the name of an experiment or of one of its parts: names become those of files, with more before and
/// after them, and file systems take 255 bytes.
pub const LONGEST_NAME: usize = 100;

/// A folder of runs and grids.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStore {
    root: PathBuf,
    /// Results that count where the folder has none.
    records: Arc<Records>,
}

impl RunStore {
    /// The store at `root`; nothing is created until something is written.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), records: Arc::default() }
    }

    /// The same store to those who only look: a run without a result in it has the one on record. Nothing of `records` is
    /// written; [`Self::put`] does that.
    #[must_use]
    pub fn with_records(self, records: Records) -> Self {
        Self { records: Arc::new(records), ..self }
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `DIR/store`: the folders of the runs.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.root.join(RUNS)
    }

    /// `DIR/store/<run_id>`.
    #[must_use]
    pub fn run_dir(&self, id: &RunId) -> PathBuf {
        self.runs_dir().join(id.as_str())
    }

    /// `DIR/cache`: prepared data, and what preflights saw.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.root.join(CACHE)
    }

    /// `DIR/bin`: frozen runners.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.root.join(BIN)
    }

    /// `DIR/<experiment>`.
    #[must_use]
    pub fn experiment_dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether the run is done.
    #[must_use]
    pub fn is_done(&self, id: &RunId) -> bool {
        self.result_path(id).is_file() || self.records.get(id).is_some()
    }

    /// Whether the run is done and no search gave it up on the way: nothing is left to be trained.
    #[must_use]
    pub fn is_finished(&self, id: &RunId) -> bool {
        self.is_done(id) && !self.is_pruned(id)
    }

    /// Whether the result of the run is what it had come to when a search gave it up: it can go on.
    fn is_pruned(&self, id: &RunId) -> bool {
        let path = self.result_path(id);
        if let (false, Some(record)) = (path.is_file(), self.records.get(id)) {
            return record.result.outcome == Outcome::Pruned;
        }
        // Only a run that paused can have been given up; the result of any other is not read for this.
        let outcome = || -> Option<Outcome> {
            let bytes = std::fs::read(path).ok()?;
            serde_json::from_slice::<Ended>(&bytes).ok().map(|ended| ended.outcome)
        };
        self.paused_path(id).is_file() && outcome() == Some(Outcome::Pruned)
    }

    /// The ids of the runs with a result in the folder, sorted.
    ///
    /// # Errors
    /// The folder of the runs cannot be read; one that is not there has none.
    pub fn done(&self) -> Result<Vec<RunId>, Error> {
        let folder = self.runs_dir();
        let entries = match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&folder, e)),
        };
        let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter_map(|name| RunId::try_from(name).ok());
        let mut done: Vec<RunId> = ids.filter(|id| self.result_path(id).is_file()).collect();
        done.sort_unstable();
        Ok(done)
    }

    /// The result of a run, `None` where it is not done.
    ///
    /// # Errors
    /// A file that cannot be read, is no result, or is that of another run.
    pub fn result(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        let result = read_result(&self.result_path(id), id)?;
        Ok(result.or_else(|| self.records.get(id).map(|record| record.result.clone())))
    }

    /// The bytes of the result of a run, `None` where it is not done: a run on record has those that its file would have.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn result_bytes(&self, id: &RunId) -> Result<Option<Vec<u8>>, Error> {
        let path = self.result_path(id);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.records.get(id).map(|record| to_json(&path, &record.result)).transpose()
            }
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    /// Puts a finished run into the store, as if it had been run here; `false` where there is a result already, which stays.
    ///
    /// # Errors
    /// Writing fails.
    pub fn put(&self, result: &RunResult) -> Result<bool, Error> {
        if result.outcome != Outcome::Pruned {
            return self.commit(result);
        }
        if self.is_done(&result.run_id) {
            return Ok(false);
        }
        self.pause(result)?;
        self.prune(&result.run_id)
    }

    /// What is wrong with the result of a run, or with what it left when it paused; `None` where nothing is. Such a run
    /// counts as done for [`Self::is_done`], and is to be set aside and done again.
    ///
    /// # Errors
    /// A file that cannot be read: of that nobody knows whether it is damaged.
    pub fn damage(&self, id: &RunId) -> Result<Option<Error>, Error> {
        match self.result(id).and_then(|_| self.paused(id)) {
            Ok(_) => Ok(None),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) => Ok(Some(error)),
        }
    }

    /// Writes `result.json`; `false` where another attempt was first. A run that a search gave up while it went on
    /// all the same is done now.
    ///
    /// # Errors
    /// Writing fails.
    pub fn commit(&self, result: &RunResult) -> Result<bool, Error> {
        let path = self.result_path(&result.run_id);
        let bytes = to_json(&path, result)?;
        let mut first = write_exclusive(&path, &bytes)?;
        if !first && self.is_pruned(&result.run_id) {
            write_atomic(&path, &bytes)?;
            first = true;
        }
        // What it would have been is of no interest any more; not being there is the usual case.
        let _ = std::fs::remove_file(self.paused_path(&result.run_id));
        Ok(first)
    }

    /// What the result of a paused run is if nobody goes on with it; `None` where it never paused.
    ///
    /// # Errors
    /// A file that cannot be read or is no result.
    pub fn paused(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        read_result(&self.paused_path(id), id)
    }

    /// The completed epochs after which a run paused last; `None` where it never did.
    ///
    /// # Errors
    /// A file that cannot be read or is no result.
    pub fn paused_after(&self, id: &RunId) -> Result<Option<u64>, Error> {
        Ok(read_json::<Made>(&self.paused_path(id))?.map(|made| made.history.len() as u64))
    }

    /// Says how far a run is that pauses: `result` is what becomes its result if nobody goes on.
    ///
    /// # Errors
    /// Writing fails.
    pub fn pause(&self, result: &RunResult) -> Result<(), Error> {
        let path = self.paused_path(&result.run_id);
        write_atomic(&path, &to_json(&path, result)?)
    }

    /// Ends a paused run where it is; `false` where it is not paused, or done.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn prune(&self, id: &RunId) -> Result<bool, Error> {
        let paused = self.paused_path(id);
        if self.is_done(id) || !paused.is_file() {
            return Ok(false);
        }
        link_exclusive(&paused, &self.result_path(id))
    }

    /// Takes the result of a pruned run away, which goes on where it paused.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn revive(&self, id: &RunId) -> Result<(), Error> {
        let path = self.result_path(id);
        // It is `paused.json` under another name: nothing is lost.
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

    /// The plan of an experiment, `None` where there is none yet.
    ///
    /// # Errors
    /// A file that cannot be read or is no plan.
    pub fn plan(&self, experiment: &str) -> Result<Option<Plan>, Error> {
        read_json(&self.experiment_dir(experiment).join("plan.json"))
    }

    /// Writes `plan.json`.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_plan(&self, plan: &Plan) -> Result<(), Error> {
        let path = self.experiment_dir(&plan.experiment).join("plan.json");
        write_atomic_with(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, plan).map_err(|e| match e.io_error_kind() {
                Some(kind) => Error::io(&path, kind.into()),
                None => Error::json(&path, e),
            })?;
            file.write_all(b"\n").map_err(|e| Error::io(&path, e))
        })
    }
}

/// The part of a result that says how the run ended.
#[derive(Deserialize)]
struct Ended {
    outcome: Outcome,
}

/// The part of a result that says how many epochs were made.
#[derive(Deserialize)]
struct Made {
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
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::json(path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}
