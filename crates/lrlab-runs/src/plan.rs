//! `plan.json`: the runs of an experiment in their fixed order.

use std::collections::BTreeMap;

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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Where the runs are trials of a search: its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

/// The rules of a search over the runs of a plan. A run's cell holds its trial's number and its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// For readers: `grid`, `random` or `halving`.
    pub method: String,
    /// The keys that are searched.
    pub keys: Vec<String>,
    /// The metric of the validation split that decides; `None` is each run's `select`.
    pub metric: Option<String>,
    /// The first so many seeds judge; the winner is run with the others too.
    pub seeds: usize,
    /// Epochs at which trials are judged, by the epochs of a whole run.
    pub rungs: BTreeMap<u64, Vec<u64>>,
    /// At each rung one in so many goes on.
    pub eta: usize,
}
