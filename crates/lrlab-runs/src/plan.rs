//! `plan.json`: the runs of an experiment in their fixed order.

use serde::{Deserialize, Serialize};

use crate::{Cell, RunId};

/// One run of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Its identity.
    pub run_id: RunId,
    /// Its place in the grid.
    pub cell: Cell,
    /// Its resolved specification.
    pub spec: serde_json::Value,
    /// Digest of its data set.
    pub dataset_digest: String,
}

/// Every run of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The experiment's name.
    pub experiment: String,
    /// What it asks, for readers of the report.
    pub description: String,
    /// The runs, in the order of the experiment's axes.
    pub runs: Vec<PlannedRun>,
    /// The experiment's claims, as its file states them, for the report.
    #[serde(default)]
    pub claims: serde_json::Value,
}
