//! Submissions on record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lrlab_runs::{Plan, RunId, RunStore, write_atomic};
use lrlab_spec::{SlurmProfile, SlurmResources};
use serde::{Deserialize, Serialize};

use crate::{Error, read_json, retry, to_json};

/// The settings with which the runs of a submission are executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The frozen runner.
    pub program: PathBuf,
    /// The absolute path of the store.
    pub out: PathBuf,
    /// The device to train on.
    pub device: String,
    /// Which weights to keep.
    pub keep: String,
    /// How often to save a run's state.
    pub checkpoint_every: String,
    /// Threads per run.
    pub threads: Option<usize>,
    /// Whether runs do not continue shorter ones.
    #[serde(default)]
    pub from_scratch: bool,
    /// Whether a failed run stops the others.
    pub fail_fast: bool,
    /// Environment variables of the jobs.
    pub env: BTreeMap<String, String>,
    /// The profile, for resubmissions.
    pub profile: SlurmProfile,
    /// The number of consecutive submissions without progress.
    pub fruitless: u32,
}

/// A submission: the arrays that execute the runs, and the job that writes the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The experiment.
    pub experiment: String,
    /// The settings of the runs.
    pub settings: Settings,
    /// One array per resource class.
    pub arrays: Vec<Array>,
    /// The name of the job that writes the report.
    pub report_name: String,
    /// The id of that job, once submitted.
    pub report_job: Option<u64>,
}

/// A job array, whose tasks execute the runs of one resource class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// The class.
    pub class: String,
    /// The resources of each task.
    pub resources: SlurmResources,
    /// The name of the job, by which it is found if its id was not recorded.
    pub name: String,
    /// The number of tasks.
    pub tasks: u32,
    /// The maximum number of tasks at once.
    pub throttle: Option<u32>,
    /// The id of the job, once submitted.
    pub job: Option<u64>,
    /// The runs.
    pub runs: Vec<Member>,
}

/// A run of an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The run.
    pub run_id: RunId,
    /// The attempt up to which failures do not count.
    pub since: u32,
}

const FILE: &str = "submission.json";
/// The plan at the time of the submission, so that no job depends on later plans.
pub(super) const PLAN: &str = "plan.json";

/// The folder in which the submissions of an experiment are numbered, like attempts at a run.
pub(crate) fn folder(store: &RunStore, experiment: &str) -> PathBuf {
    store.experiment_dir(experiment).join("slurm")
}

impl Submission {
    /// Reads the submission in `folder`; `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a submission.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        read_json(&folder.join(FILE))
    }

    /// Reads the plan that was submitted; `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a plan.
    pub fn plan(folder: &Path) -> Result<Option<Plan>, Error> {
        read_json(&folder.join(PLAN))
    }

    /// Returns whether the jobs made progress with any run.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn progressed(&self, store: &RunStore) -> Result<bool, Error> {
        for member in self.arrays.iter().flat_map(|array| &array.runs) {
            let folder = store.run_dir(&member.run_id);
            let updates = |attempts: Option<u32>| retry::furthest(&folder, attempts.unwrap_or(u32::MAX));
            if store.is_finished(&member.run_id) || updates(None)? > updates(Some(member.since + 1))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the record of the submission in `folder`.
    pub(super) fn remove(folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        std::fs::remove_file(&path).map_err(|source| Error::io(&path, source))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        Ok(write_atomic(&path, &to_json(&path, self)?)?)
    }
}

/// Returns every submission of an experiment with its folder, newest first.
///
/// # Errors
/// Returns an error if a file cannot be read.
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
