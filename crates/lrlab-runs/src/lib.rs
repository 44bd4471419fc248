//! The types of a training run and their format on disk.
//!
//! A run has a [`RunId`], belongs to a [`Cell`] of a grid, emits [`Event`]s, and ends with a [`RunResult`], whose presence in
//! the [`RunStore`] means that the run is done. The crate does not depend on candle.

mod atomic;
mod checkpoint;
mod difference;
mod error;
mod event;
pub mod exact;
pub mod exact_history;
mod id;
mod metrics;
mod penultimate;
mod plan;
mod records;
mod result;
mod store;
mod work;
mod work_log;

pub use atomic::{
    FolderLock, file_digest, folder_of, link_exclusive, lock_folder, write_atomic, write_atomic_with,
    write_exclusive,
};
pub use checkpoint::{
    Checkpoint, Checkpoints, Fingerprint, Progress, Step, attempt_dir, progress, saved_numerics,
};
pub use difference::Difference;
pub use error::{Conflict, Error};
pub use event::Event;
pub use id::RunId;
pub use metrics::{EpochMetrics, finite};
pub use penultimate::{
    KeptFor, has_penultimate, kept_penultimate, read_penultimate, remove_penultimate, settle_penultimate,
    write_penultimate,
};
pub use plan::{Call, Plan, PlannedRun, Search};
pub use records::{Record, Records, is_record_file, write_records};
pub use result::{
    Cell, Continued, Decision, DecisionKind, Evaluation, Outcome, Provenance, RegisteredPart, RunResult,
    Timing, Updates, coordinate,
};
pub use store::{LONGEST_NAME, RESERVED_NAMES, RunStore, create_numbered};
pub use work::Work;
pub use work_log::{WorkLog, earlier_work};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
