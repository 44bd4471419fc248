//! The vocabulary of a training run and its format on disk.
//!
//! Everything that records, schedules, reports or compares runs speaks these nouns: a run has a [`RunId`], it
//! belongs to a [`Cell`] of a grid, it emits [`Event`]s, and it ends with a [`RunResult`] whose presence in the
//! [`RunStore`] means that it is done. No candle here, and no decision: only the words and the files.

mod atomic;
mod checkpoint;
mod difference;
mod error;
mod event;
pub mod exact;
pub mod exact_history;
mod id;
mod plan;
mod records;
mod result;
mod store;
mod work;

pub use atomic::{file_digest, link_exclusive, write_atomic, write_atomic_parts, write_exclusive};
pub use checkpoint::{Checkpoint, Checkpoints, Moment, Progress, Stamp, attempt_dir, progress};
pub use difference::Difference;
pub use error::{Conflict, Error};
pub use event::Event;
pub use id::RunId;
pub use plan::{Call, Plan, PlannedRun, Search};
pub use records::{Record, Records, write_records};
pub use result::{
    Cell, Decision, DecisionKind, EpochMetrics, Evaluation, Outcome, Provenance, RunResult, Timing, Updates,
    finite,
};
pub use store::{LONGEST_NAME, RESERVED_NAMES, RunStore};
pub use work::{Work, WorkLog, work_before};

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
