//! What a running worker says, one JSON object per line: on its standard output for the process that started
//! it, and in `events.jsonl` for everyone else.

use serde::{Deserialize, Serialize};

use crate::{Decision, EpochMetrics, Outcome};

/// One line of a run's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Training begins.
    Started {
        /// Updates the run will make.
        updates: u64,
        /// Epochs the run will make.
        epochs: u64,
    },
    /// Updates made so far; sent now and then.
    Progress {
        /// Updates made.
        update: u64,
        /// Loss of the last batch.
        loss: Option<f64>,
        /// Rate in force.
        lr: f64,
    },
    /// An epoch was completed.
    Epoch {
        /// Its figures.
        metrics: Box<EpochMetrics>,
    },
    /// A callback decided something.
    Decided {
        /// What and why.
        decision: Box<Decision>,
    },
    /// Something a person should know: where it goes on after an interruption, what could not be saved.
    Note {
        /// What.
        message: String,
    },
    /// The run is done.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
    /// The run failed.
    Failed {
        /// Why.
        error: String,
    },
}
