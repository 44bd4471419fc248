//! The vocabulary of a training run and its format on disk.
//!
//! Everything that records, schedules, reports or compares runs speaks these nouns: a run has a [`RunId`], it
//! belongs to a [`Cell`] of a grid, it emits [`Event`]s, and it ends with a [`RunResult`] whose presence in the
//! [`RunStore`] means that it is done. No candle here, and no decision: only the words and the files.

mod atomic;
mod checkpoint;
mod difference;
mod event;
pub mod exact_history;
mod id;
mod plan;
mod result;
mod store;
mod work;

pub use atomic::{file_digest, link_exclusive, write_atomic, write_exclusive};
pub use checkpoint::{Checkpoint, Checkpoints, Moment, Progress, Stamp, attempt_dir, progress};
pub use difference::Difference;
pub use event::Event;
pub use id::RunId;
pub use plan::{Call, Plan, PlannedRun, Search};
pub use result::{
    Cell, Decision, DecisionKind, EpochMetrics, Evaluation, Outcome, Provenance, RunResult, Timing, Updates,
    finite,
};
pub use store::{LONGEST_NAME, RESERVED_NAMES, RunStore};
pub use work::{Work, WorkLog, work_before};

/// What can go wrong with the files of a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: it is damaged ({source}); the same `run` makes it again")]
    Json {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A result lies in the folder of another run.
    #[error("{path}: it is the result of run {found}, not of {expected}; the same `run` makes it again")]
    Misplaced {
        /// The file.
        path: std::path::PathBuf,
        /// The run it says it is.
        found: RunId,
        /// The run whose folder it is in.
        expected: RunId,
    },
    /// A checkpoint that cannot be gone on from without mixing bits.
    #[error(
        "{path}: this checkpoint is of the numerics class {found:?}, this machine's is {expected:?}: go on with the \
         --device and on a machine of its class, take another --out, or remove it to begin anew"
    )]
    OtherNumerics {
        /// The checkpoint.
        path: std::path::PathBuf,
        /// Its class.
        found: String,
        /// The class here.
        expected: String,
    },
    /// Text that is no run id.
    #[error("{0:?} is no run id: expected 32 hexadecimal digits")]
    BadId(String),
}

impl Error {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
    pub(crate) fn json(path: &std::path::Path, source: serde_json::Error) -> Self {
        Self::Json { path: path.to_path_buf(), source }
    }
}

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
