//! Experiment grids: plan, claims, attempts and executors.
//!
//! A grid is a list of runs and a folder. [`resolve`] gives every cell its identity, [`record`] writes
//! `plan.json`, and an executor starts one process per run until nothing is missing. Nothing about the state of
//! a run is stored as a field that could lie: [`run_state`] derives it from the files of [`lrlab_runs::RunStore`].
//!
//! ```text
//! DIR/store/<run_id>/spec.json               what to train
//! DIR/store/<run_id>/attempts/<n>/claim.json created exclusively: who works on attempt n; touched while alive
//! DIR/store/<run_id>/attempts/<n>/exit.json  how attempt n ended
//! DIR/store/<run_id>/attempts/<n>/log.txt    what the worker said on standard error
//! DIR/store/<run_id>/attempts/<n>/progress.json   how far it is, for those who look from outside
//! DIR/store/<run_id>/failure.json            why the last attempt failed
//! DIR/store/<run_id>/result.json             the run is done
//! ```
//!
//! The next attempt may begin when the newest one ended, or when its owner is provably gone ([`Owner::life`]), or
//! when its claim was not touched for a while ([`Patience`]). Claims are numbered and only ever added, so that of
//! two processes that find a run free exactly one gets it, on a shared folder too: no locks, no server.

mod alike;
mod attempt;
mod budget;
mod child;
mod clock;
mod cost;
mod failure;
mod freeze;
mod gc;
mod gpu;
mod interrupt;
mod litter;
mod live;
mod local;
mod machine;
mod origin;
mod owner;
mod patience;
mod places;
mod plan;
mod queue;
mod search;
pub mod slurm;
mod space;
mod state;
mod work;

pub use attempt::{Acquired, Attempt, Ending, Exit, attempts, holds};
pub use child::WorkerCommand;
pub use cost::{Costs, Estimate};
pub use failure::{Failure, FailureKind, classify};
pub use freeze::{build_id, freeze};
pub use gc::{Garbage, Kind as GarbageKind, collect, further, garbage};
pub use gpu::{Gpu, at_once, gpus};
pub use interrupt::{Interrupt, heeded};
pub use live::Live;
pub use local::{
    Assignment, Deadline, Finish, LocalExecutor, Memory, Notice, OnFailure, Others, Share, baseline,
};
pub use machine::Machine;
pub use origin::{Origin, Origins, origins, put_aside};
pub use owner::{Life, Owner, SlurmJob, host};
pub use patience::{Patience, Sign};
pub use plan::{name_only, record, resolve};
pub use search::{ArmStatus, Role, RungStatus, SearchState};
pub use space::free_space;
pub use state::{RunState, Status, run_state, status};

use std::path::{Path, PathBuf};

use lrlab_runs::{RunId, RunStore};

/// What can go wrong with a grid. A run that fails is no error of the grid: see [`Failure`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files of a run or a plan.
    #[error(transparent)]
    Runs(#[from] lrlab_runs::Error),
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: it is damaged ({source}); once it is moved away, the same `run` makes it again")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A specification is no JSON.
    #[error("cell {cell}: {source}")]
    Spec {
        /// The cell.
        cell: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A specification has no identity.
    #[error("cell {cell}: {source}")]
    Identity {
        /// The cell.
        cell: String,
        /// Why.
        source: lrlab_spec::NoIdentity,
    },
    /// The data of some runs could not be identified: for each data set, the first cell that needs it, and why.
    #[error("{}", unknown(.0))]
    Data(Vec<(String, Box<dyn std::error::Error + Send + Sync>)>),
    /// Two cells are one and the same run; counting it twice would make a report lie.
    #[error("cells {first} and {second} are the same run {id}: they differ in nothing that decides a result")]
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
        /// Why.
        source: std::io::Error,
    },
    /// Jobs of the grid were submitted before, and Slurm cannot be asked about them.
    #[error("Slurm cannot be asked ({source}), and jobs of this grid were submitted before: {}", list(jobs))]
    Unreachable {
        /// The jobs.
        jobs: Vec<u64>,
        /// Why.
        source: slurm::SlurmError,
    },
    /// Slurm refused something.
    #[error(transparent)]
    Slurm(#[from] slurm::SlurmError),
    /// Signals could not be caught.
    #[error("cannot listen for signals: {source}")]
    Signals {
        /// Why.
        source: std::io::Error,
    },
}

fn list(jobs: &[u64]) -> String {
    jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// One line per data set, with every cause.
fn unknown(all: &[(String, Box<dyn std::error::Error + Send + Sync>)]) -> String {
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

/// Reads a JSON file; `None` where there is none.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::json(path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Part of the result of a run, `None` where it is not done. What is damaged is as good as not there, and told by those who
/// look for damage ([`RunStore::damage`](lrlab_runs::RunStore::damage)).
pub(crate) fn read_result<T: serde::de::DeserializeOwned>(
    store: &RunStore,
    id: &RunId,
) -> Result<Option<T>, Error> {
    Ok(store.result_bytes(id)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// As [`read_result`], of what is the result of a paused run if nobody goes on with it.
pub(crate) fn read_paused<T: serde::de::DeserializeOwned>(
    store: &RunStore,
    id: &RunId,
) -> Result<Option<T>, Error> {
    match read_json(&store.run_dir(id).join("paused.json")) {
        Err(Error::Json { .. }) => Ok(None),
        read => read,
    }
}

pub(crate) fn to_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::json(path, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
