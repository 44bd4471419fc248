//! `plan.json`: the runs of an experiment in their fixed order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cell, RunId};

/// One run of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Its identity.
    pub run_id: RunId,
    /// Its coordinates in the grid.
    pub cell: Cell,
    /// Its resolved specification.
    pub spec: Arc<serde_json::Value>,
    /// The digest of its data set.
    pub dataset_digest: String,
}

/// The runs of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The experiment's name.
    pub experiment: String,
    /// The description, for the report.
    pub description: String,
    /// The call that made the plan; `None` in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The options that selected the runs, if they are not all runs of the experiment: `--filter model=lstm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The runs, in the order of the experiment's axes.
    pub runs: Vec<PlannedRun>,
    /// The claims of the experiment, as in its file, for the report.
    #[serde(default)]
    pub claims: serde_json::Value,
    /// The templates of documents that the report renders, relative to the folder of the experiment file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    /// The leading metrics of the report; empty for the default ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// The baseline with which arms are compared, for each axis that has one.
    #[serde(default, skip_serializing_if = "Cell::is_empty")]
    pub baseline: Cell,
    /// Whether the experiment reproduces the paper, so that the report contains the paper's figures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paper: bool,
    /// The rules of the search, if the runs are trials of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

/// The parts of the call that made a plan on which the specifications of its runs depend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The start of the command line of the runner's `run` command: `lrlab run`.
    pub program: Vec<String>,
    /// The experiment file, as given.
    pub experiment: String,
    /// The absolute working directory of the call.
    pub folder: String,
    /// The overrides `KEY=VALUE`, in their order.
    #[serde(default)]
    pub set: Vec<String>,
}

impl Call {
    /// Returns the POSIX shell command that repeats the run `id` in the store `out`, to be run in [`Call::folder`].
    #[must_use]
    pub fn command(&self, id: &RunId, out: &str) -> String {
        let mut words: Vec<&str> = self.program.iter().map(String::as_str).collect();
        words.push(&self.experiment);
        words.extend(self.set.iter().flat_map(|set| ["--set", set]));
        words.extend(["--run", id.as_str(), "--out", out]);
        // Only NUL cannot be quoted, and no argument contains it.
        let quoted = words.into_iter().map(|word| shlex::try_quote(word).unwrap_or(word.into()));
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// The rules of a search over the runs of a plan. The cell of a run contains the index and the values of its trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The name of the method, for display: `grid`, `random` or `halving`.
    pub method: String,
    /// The keys of the search space.
    pub keys: Vec<String>,
    /// The validation metric that ranks trials; `None` uses `select` of each run.
    pub metric: Option<String>,
    /// The number of seeds that rank trials; the winner is run with the remaining seeds too.
    pub seeds: usize,
    /// The epochs at which trials are ranked, by the epochs of a full run.
    pub rungs: BTreeMap<u64, Vec<u64>>,
    /// At each rung, one in `eta` trials is promoted.
    pub eta: usize,
}
