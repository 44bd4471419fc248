//! The events of a running worker, one JSON object per line: on standard output for the parent process, and in
//! `events.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Decision, EpochMetrics, Outcome};

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Training starts.
    Started {
        /// The number of updates of the run.
        updates: u64,
        /// The number of epochs of the run.
        epochs: u64,
    },
    /// Progress, reported at intervals.
    Progress {
        /// Completed updates.
        update: u64,
        /// Loss of the last batch.
        loss: Option<f64>,
        /// Learning rate of the update.
        lr: f64,
        /// Global gradient norm before clipping; `None` if it was not computed or is not finite.
        #[serde(default)]
        grad_norm: Option<f64>,
        /// Custom metrics; `None` if a value is not finite.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        extra: BTreeMap<String, Option<f64>>,
    },
    /// An epoch was completed.
    Epoch {
        /// Its metrics.
        metrics: Box<EpochMetrics>,
    },
    /// A callback made a decision.
    Decided {
        /// The decision and its reason.
        decision: Box<Decision>,
    },
    /// A message for the user: where the run resumes, or what could not be saved.
    Note {
        /// The message.
        message: String,
    },
    /// The run is done.
    Finished {
        /// How the run ended.
        outcome: Outcome,
    },
    /// The run failed.
    Failed {
        /// The cause.
        error: String,
    },
}
