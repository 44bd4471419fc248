//! The store: where the files of runs and grids lie.
//!
//! ```text
//! DIR/store/<run_id>/result.json       presence means done
//! DIR/store/<run_id>/paused.json       what the result is if nobody goes on with a run that paused
//! DIR/store/<run_id>/spec.json  best.safetensors  …
//! DIR/store/<run_id>/attempts/<n>/checkpoints  events.jsonl  metrics.csv  tensorboard  …
//! DIR/<experiment>/plan.json
//! DIR/<experiment>/report/…
//! ```

use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Plan, RunId, RunResult, link_exclusive, write_atomic, write_exclusive};

/// A folder of runs and grids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStore {
    root: PathBuf,
}

impl RunStore {
    /// The store at `root`; nothing is created until something is written.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `DIR/store/<run_id>`.
    #[must_use]
    pub fn run_dir(&self, id: &RunId) -> PathBuf {
        self.root.join("store").join(id.as_str())
    }

    /// `DIR/<experiment>`.
    #[must_use]
    pub fn experiment_dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether the run is done.
    #[must_use]
    pub fn is_done(&self, id: &RunId) -> bool {
        self.run_dir(id).join("result.json").is_file()
    }

    /// The result of a run, `None` where it is not done.
    ///
    /// # Errors
    /// A file that cannot be read or is no result.
    pub fn result(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        read_json(&self.run_dir(id).join("result.json"))
    }

    /// Writes `result.json`; `false` where another attempt was first.
    ///
    /// # Errors
    /// Writing fails.
    pub fn commit(&self, result: &RunResult) -> Result<bool, Error> {
        let path = self.run_dir(&result.run_id).join("result.json");
        write_exclusive(&path, &to_json(&path, result)?)
    }

    /// What the result of a paused run is if nobody goes on with it; `None` where it never paused.
    ///
    /// # Errors
    /// A file that cannot be read or is no result.
    pub fn paused(&self, id: &RunId) -> Result<Option<RunResult>, Error> {
        read_json(&self.paused_path(id))
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
        link_exclusive(&paused, &self.run_dir(id).join("result.json"))
    }

    /// Takes the result of a pruned run away, which goes on where it paused.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn revive(&self, id: &RunId) -> Result<(), Error> {
        let path = self.run_dir(id).join("result.json");
        // It is `paused.json` under another name: nothing is lost.
        std::fs::remove_file(&path).map_err(|e| Error::io(&path, e))
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
        write_atomic(&path, &to_json(&path, plan)?)
    }
}

fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::json(path, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::json(path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}
