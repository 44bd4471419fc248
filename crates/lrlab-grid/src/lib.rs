//! Experiment grids: plan, claims, attempts and executors.
//!
//! A grid is a list of runs and a folder. [`resolve`] gives every cell its identity, [`record`] writes
//! `plan.json`, and an executor starts one process per run until nothing is missing. The state of a run is not stored:
//! [`run_state`] derives it from the files of [`lrlab_runs::RunStore`].
//!
//! ```text
//! DIR/store/<run_id>/spec.json               what to train
//! DIR/store/<run_id>/attempts/<n>/claim.json created exclusively: the owner of attempt n; its modification time changes while the owner runs
//! DIR/store/<run_id>/attempts/<n>/exit.json  how attempt n ended
//! DIR/store/<run_id>/attempts/<n>/log.txt    standard error of the worker
//! DIR/store/<run_id>/attempts/<n>/progress.json   its progress, for observers
//! DIR/store/<run_id>/failure.json            why the last attempt failed
//! DIR/store/<run_id>/result.json             the run is done
//! ```
//!
//! The next attempt may start when the newest one has ended, when its owner is dead ([`Owner::liveness`]), or when its
//! claim is abandoned ([`ClaimMonitor`]). Claims are numbered and never removed, so that exactly one of several processes
//! claims a free run, even on a shared file system, without locks or a server.

mod attempt;
mod child;
mod claim_monitor;
mod clock;
mod common_failure;
mod continuation;
mod cost;
mod failure;
mod freeze;
mod gc;
mod gpu;
mod interrupt;
mod local;
mod machine;
mod origin;
mod owner;
mod plan;
mod progress;
mod queue;
mod replace;
mod retry;
mod search;
mod slots;
pub mod slurm;
mod space;
mod stale;
mod state;
mod work;

pub use attempt::{Acquired, Attempt, Ending, Exit, attempts, holds};
pub use child::WorkerCommand;
pub use claim_monitor::{ClaimMonitor, ClaimState};
pub use continuation::{Beginning, ReadSpec, beginnings};
pub use cost::{Costs, Estimate};
pub use failure::{Failure, FailureKind, classify};
pub use freeze::{build_id, freeze};
pub use gc::{Garbage, Kind as GarbageKind, States, collect, garbage, other_runs};
pub use gpu::{Gpu, at_once, gpus};
pub use interrupt::{Interrupt, catchable};
pub use local::{
    Assignment, Deadline, GridOutcome, LocalExecutor, Memory, Notice, OnFailure, Others, Workload, baseline,
};
pub use machine::Machine;
pub use origin::{Origin, Origins, origins, supersede};
pub use owner::{Liveness, Owner, SlurmJob, host};
pub use plan::{record, record_runs, resolve, set_referenced};
pub use progress::AttemptProgress;
pub use search::{ArmStatus, Role, RungStatus, SearchState};
pub use space::free_space;
pub use state::{RunState, Status, run_state, running, status};

use std::path::{Path, PathBuf};

use lrlab_runs::{RunId, RunStore};

/// An error of a grid. A failed run is not one: see [`Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error of the files of a run or a plan.
    #[error(transparent)]
    Runs(#[from] lrlab_runs::Error),
    /// The trials of a search cannot be judged.
    #[error(transparent)]
    Search(#[from] lrlab_search::Error),
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is damaged.
    #[error("{path}: damaged ({source}); move it away and repeat the same `run`")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A specification cannot be serialised.
    #[error("cell {cell}: {source}")]
    Spec {
        /// The cell.
        cell: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The identity of a specification cannot be derived.
    #[error("cell {cell}: {source}")]
    Identity {
        /// The cell.
        cell: String,
        /// The cause.
        source: lrlab_spec::NoIdentity,
    },
    /// The data of some runs could not be identified: for each data set, the first cell that needs it, and why.
    #[error("{}", unidentified(.0))]
    Data(Vec<(String, Box<dyn std::error::Error + Send + Sync>)>),
    /// Two cells are the same run, which a report must not count twice.
    #[error(
        "cells {first} and {second} are the same run {id}: they differ only in settings that do not affect results"
    )]
    Duplicate {
        /// The run.
        id: RunId,
        /// The earlier cell.
        first: String,
        /// The later cell.
        second: String,
    },
    /// A worker could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Jobs of the grid were submitted before, and Slurm cannot be reached.
    #[error(
        "Slurm cannot be reached ({source}), and jobs of this grid were submitted before: {}",
        list(jobs)
    )]
    Unreachable {
        /// The jobs.
        jobs: Vec<u64>,
        /// The cause.
        source: slurm::SlurmError,
    },
    /// An error of Slurm.
    #[error(transparent)]
    Slurm(#[from] slurm::SlurmError),
    /// Signals could not be caught.
    #[error("cannot listen for signals: {source}")]
    Signals {
        /// The cause.
        source: std::io::Error,
    },
}

fn list(jobs: &[u64]) -> String {
    jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// One line per data set, with all causes.
fn unidentified(all: &[(String, Box<dyn std::error::Error + Send + Sync>)]) -> String {
    let line = |(cell, error): &(String, Box<dyn std::error::Error + Send + Sync>)| {
        let mut text = format!("cell {cell}: {error}");
        let mut cause = error.source();
        while let Some(next) = cause {
            let words = next.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = next.source();
        }
        text
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json { path: path.to_path_buf(), source }
    }
}

/// Reads a JSON file; `None` if it does not exist.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::json(path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Like [`read_json`]; `None` also if the file is damaged.
pub(crate) fn read_undamaged<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match read_json(path) {
        Err(Error::Json { .. }) => Ok(None),
        read => read,
    }
}

/// Reads part of the result of a run; `None` if it is not done. A damaged result counts as missing and is reported by
/// [`RunStore::damage`](lrlab_runs::RunStore::damage).
pub(crate) fn read_result<T: serde::de::DeserializeOwned>(
    store: &RunStore,
    id: &RunId,
) -> Result<Option<T>, Error> {
    match store.result_bytes(id) {
        Err(lrlab_runs::Error::NotAFile(_)) => Ok(None),
        bytes => Ok(bytes?.and_then(|bytes| serde_json::from_slice(&bytes).ok())),
    }
}

/// Like [`read_result`], for the result that a paused run has if it is not resumed.
pub(crate) fn read_paused<T: serde::de::DeserializeOwned>(
    store: &RunStore,
    id: &RunId,
) -> Result<Option<T>, Error> {
    let path = store.run_dir(id).join("paused.json");
    // A folder, or a link to nothing.
    if path.symlink_metadata().is_ok_and(|it| !it.is_file()) && !path.is_file() {
        return Ok(None);
    }
    read_undamaged(&path)
}

pub(crate) fn to_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::json(path, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
