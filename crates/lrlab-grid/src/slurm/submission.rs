//! What was submitted, on record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrlab_runs::{Plan, RunId, RunStore, write_atomic};
use lrlab_spec::{SlurmProfile, SlurmResources};
use serde::{Deserialize, Serialize};

use crate::{Error, budget, read_json, to_json};

/// How the runs of a submission are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The frozen runner.
    pub program: PathBuf,
    /// The store, from the root of the file system.
    pub out: PathBuf,
    /// Where to train.
    pub device: String,
    /// Which weights stay.
    pub keep: String,
    /// How often a run's state is saved.
    pub checkpoint_every: String,
    /// Threads per run.
    pub threads: Option<usize>,
    /// What a failed run does to the rest.
    pub fail_fast: bool,
    /// Set for the jobs.
    pub env: BTreeMap<String, String>,
    /// The profile, for what is submitted again.
    pub profile: SlurmProfile,
    /// How many submissions in a row brought no run further.
    pub fruitless: u32,
}

/// One submission: the arrays that do the runs, and the job that writes the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The experiment.
    pub experiment: String,
    /// How the runs are done.
    pub settings: Settings,
    /// One array per class of resources.
    pub arrays: Vec<Array>,
    /// The name of the job that writes the report.
    pub report_name: String,
    /// Its id, once it was submitted.
    pub report_job: Option<u64>,
}

/// A job array: its tasks do the runs of one class of resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// The class.
    pub class: String,
    /// What each task asks for.
    pub resources: SlurmResources,
    /// The name of the job: how it is found again where its id was not recorded.
    pub name: String,
    /// How many tasks.
    pub tasks: u32,
    /// The most that run at once.
    pub throttle: Option<u32>,
    /// Its id, once it was submitted.
    pub job: Option<u64>,
    /// The runs.
    pub runs: Vec<Member>,
}

/// A run of an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The run.
    pub run_id: RunId,
    /// The attempt up to which failures were history when it was submitted.
    pub since: u32,
}

const FILE: &str = "submission.json";
/// The plan as it was when it was submitted, so that no job depends on what a later call plans.
pub(super) const PLAN: &str = "plan.json";

/// Where the submissions of an experiment are numbered, as attempts at a run are.
pub(crate) fn folder(store: &RunStore, experiment: &str) -> PathBuf {
    store.experiment_dir(experiment).join("slurm")
}

impl Submission {
    /// Reads the submission that lies in `folder`; `None` where none was made.
    ///
    /// # Errors
    /// A file that cannot be read or is no submission.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        read_json(&folder.join(FILE))
    }

    /// The plan that was submitted; `None` where none was.
    ///
    /// # Errors
    /// A file that cannot be read or is no plan.
    pub fn plan(folder: &Path) -> Result<Option<Plan>, Error> {
        read_json(&folder.join(PLAN))
    }

    /// Whether its jobs brought any run further.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn progressed(&self, store: &RunStore) -> Result<bool, Error> {
        for member in self.arrays.iter().flat_map(|array| &array.runs) {
            let folder = store.run_dir(&member.run_id);
            let reached = |attempts: Option<u32>| budget::furthest(&folder, attempts.unwrap_or(u32::MAX));
            if store.is_finished(&member.run_id) || reached(None)? > reached(Some(member.since + 1))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the submission that lies in `folder` off the record.
    pub(super) fn remove(folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        std::fs::remove_file(&path).map_err(|source| Error::io(&path, source))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        Ok(write_atomic(&path, &to_json(&path, self)?)?)
    }
}

/// Every submission of an experiment with its folder, the newest first.
///
/// # Errors
/// Files that cannot be read.
pub fn submissions(store: &RunStore, experiment: &str) -> Result<Vec<(PathBuf, Submission)>, Error> {
    let folder = folder(store, experiment);
    let mut all = Vec::new();
    for (number, _) in crate::attempts(&folder)?.into_iter().rev() {
        let folder = folder.join("attempts").join(number.to_string());
        if let Some(submission) = Submission::read(&folder)? {
            all.push((folder, submission));
        }
    }
    Ok(all)
}
