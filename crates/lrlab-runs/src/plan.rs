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
    /// The call that made the plan; `None` in plans of versions that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The runs, in the order of the experiment's axes.
    pub runs: Vec<PlannedRun>,
    /// The experiment's claims, as its file states them, for the report.
    #[serde(default)]
    pub claims: serde_json::Value,
    /// Templates of documents that the report renders, as the experiment's file names them: relative to its folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    /// What arms are compared with, along each axis that the experiment's file names a baseline of.
    #[serde(default, skip_serializing_if = "Cell::is_empty")]
    pub baseline: Cell,
    /// Whether the experiment is about the paper: the report draws the paper's figures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paper: bool,
    /// Where the runs are trials of a search: its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

/// The call that made a plan, as far as the specifications of its runs depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The words that start the runner's `run`: `lrlab run`.
    pub program: Vec<String>,
    /// The experiment's file, as it was named.
    pub experiment: String,
    /// The folder in which the call was made, from the root of the file system: relative paths start there.
    pub folder: String,
    /// Overrides of the experiment's keys, `KEY=VALUE`, in their order.
    #[serde(default)]
    pub set: Vec<String>,
}

impl Call {
    /// The command that makes the run `id` again, in the store `out`: words of a POSIX shell, for [`Call::folder`].
    #[must_use]
    pub fn command(&self, id: &RunId, out: &str) -> String {
        let mut words: Vec<&str> = self.program.iter().map(String::as_str).collect();
        words.push(&self.experiment);
        words.extend(self.set.iter().flat_map(|set| ["--set", set]));
        words.extend(["--run", id.as_str(), "--out", out]);
        // No argument of a program holds the one character that cannot be quoted.
        let quoted = words.into_iter().map(|word| shlex::try_quote(word).unwrap_or(word.into()));
        quoted.collect::<Vec<_>>().join(" ")
    }
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
