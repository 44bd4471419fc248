//! The options, work items, notices and outcome of the executor that runs a grid on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use lrlab_runs::{Event, PlannedRun, RunId, RunStore};

use crate::attempt::newest;
use crate::{Beginning, Ending, Error, Estimate, Failure, Liveness, Owner};

/// How a failed run affects the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The others continue.
    #[default]
    KeepGoing,
    /// The others are stopped; a later call resumes them.
    FailFast,
}

/// How to treat runs that other processes have claimed once nothing else is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Others {
    /// Wait for them.
    #[default]
    Wait,
    /// Do not wait for owners that are known to be alive.
    Leave,
}

/// When the executor has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The time.
    pub at: Instant,
    /// The time reserved for saving. A run starts only if an epoch of its kind fits before the margin.
    pub margin: Duration,
}

/// Runs a grid on this machine, one process per run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalExecutor {
    /// The maximum number of concurrent runs.
    pub jobs: usize,
    /// Threads per run; `None` divides the cores among the jobs.
    pub threads: Option<usize>,
    /// The number of devices that the jobs are spread over.
    pub devices: usize,
    /// How a failed run affects the others.
    pub on_failure: OnFailure,
    /// The executor stops when this many runs, the first to end, all failed for the same reason. 0 means never.
    pub common_failures: usize,
    /// How long the modification time of a claim on another machine may stay unchanged before the claim is abandoned. Owners
    /// update it every five seconds.
    pub claim_timeout: Duration,
    /// How to treat runs that other processes have claimed.
    pub others: Others,
    /// When the executor has to end.
    pub deadline: Option<Deadline>,
    /// A worker without output for this long counts as hung and is killed.
    pub silence: Option<Duration>,
}

impl Default for LocalExecutor {
    fn default() -> Self {
        Self {
            jobs: 1,
            threads: None,
            devices: 1,
            on_failure: OnFailure::KeepGoing,
            common_failures: 3,
            claim_timeout: Duration::from_mins(1),
            others: Others::Wait,
            deadline: None,
            silence: Some(Duration::from_hours(1)),
        }
    }
}

/// The work of an executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload<'a> {
    /// The runs.
    pub runs: &'a [PlannedRun],
    /// For each run, the attempt up to which failures do not count: see [`baseline`].
    pub since: Vec<u32>,
    /// For each run, the completed epochs at which it pauses unless it ends there: see [`Assignment::until`].
    pub until: Vec<Option<u64>>,
    /// The position in the queue of the run to start with, so that concurrent executors do not all claim the same run.
    pub first: Option<usize>,
    /// For each run, the shorter one that it continues: see [`beginnings`](crate::beginnings).
    pub beginnings: Vec<Option<Beginning>>,
    /// Shorter runs that runs outside this workload continue, each with such a run, until whose end its state is kept.
    pub continued_elsewhere: Vec<(RunId, RunId)>,
    /// The numerics class of the results of this machine's device, which claims record for other processes.
    pub numerics: Option<String>,
    /// The memory of the devices and of the runs. If `None`, only the number of jobs is limited.
    pub memory: Option<Memory>,
}

/// Device memory in MiB. A run starts only on a device with enough unreserved memory, in addition to the limit on the number
/// of jobs. A run that needs more than any device has, or whose need is unknown, gets a device of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The free memory of each device, if known.
    pub free_mib: Vec<Option<u64>>,
    /// The measured peak of each run, if known. Results of runs of the same class are used too.
    pub peak_mib: Vec<Option<u64>>,
}

impl<'a> Workload<'a> {
    /// Creates a workload of all of `runs`, without continuations; earlier failures do not count.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn all(store: &RunStore, runs: &'a [PlannedRun]) -> Result<Self, Error> {
        let since = runs.iter().map(|run| baseline(store, run)).collect::<Result<_, _>>()?;
        let (until, beginnings) = (vec![None; runs.len()], vec![None; runs.len()]);
        let continued_elsewhere = Vec::new();
        let (first, numerics, memory) = (None, None, None);
        Ok(Self { runs, since, until, first, beginnings, continued_elsewhere, numerics, memory })
    }
}

impl Workload<'_> {
    /// Returns the index of the run that a run continues and has to wait for.
    pub(crate) fn shorter(&self, index: usize) -> Option<usize> {
        self.beginnings[index].as_ref()?.waits_for
    }
}

/// Returns the newest attempt of `run` that has ended. Failures up to it do not count for a call that starts now.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn baseline(store: &RunStore, run: &PlannedRun) -> Result<u32, Error> {
    let newest = newest(&store.run_dir(&run.run_id))?;
    Ok(newest.map_or(0, |newest| {
        let ended = newest.exit.is_some() || newest.owner.liveness() == Liveness::Dead;
        if ended { newest.number } else { newest.number - 1 }
    }))
}

/// The run and the resources of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// The run.
    pub run: &'a PlannedRun,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The folder that the attempt may write to.
    pub folder: &'a Path,
    /// The threads that the worker should use.
    pub threads: usize,
    /// The worker's slot, 0 … `jobs` − 1.
    pub slot: usize,
    /// The worker's device, 0 … `devices` − 1.
    pub device: usize,
    /// Completed epochs at which the worker saves its state, writes `paused.json` and exits with 86, so that its
    /// search can decide whether it is resumed.
    pub until: Option<u64>,
    /// The finished shorter run that this run continues, if any.
    pub continues: Option<&'a RunId>,
    /// Whether a longer run continues this run, so that its penultimate state is needed.
    pub continued: bool,
}

/// A notification for observers.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// A worker started.
    Started {
        /// The attempt.
        attempt: u32,
    },
    /// The worker sent an event.
    Event(&'a Event),
    /// The worker was requested to save and stop, by the user or because the time limit is near.
    StopRequested {
        /// Whether the reason is the time limit.
        out_of_time: bool,
    },
    /// The worker ended.
    Ended {
        /// How it ended.
        ending: &'a Ending,
        /// Seconds since the claim.
        seconds: f64,
        /// Whether the run is retried.
        again: bool,
        /// The remaining work.
        left: Estimate,
    },
    /// Another process has claimed the run; the executor waits for it.
    Elsewhere(Option<&'a Owner>),
    /// Another process ended the run: successfully (`None`) or with a failure.
    EndedElsewhere(Option<&'a Failure>),
}

/// How a grid ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GridOutcome {
    /// Runs that are done, including earlier ones.
    pub done: usize,
    /// Runs that this call completed.
    pub executed: usize,
    /// Workers that this call started.
    pub started: usize,
    /// Runs that failed, by their index.
    pub failed: Vec<(usize, Failure)>,
    /// Runs that paused at the requested epoch.
    pub paused: usize,
    /// All other runs.
    pub missing: usize,
    /// Missing runs that other processes have claimed.
    pub elsewhere: usize,
    /// Whether runs are missing because of a request to stop.
    pub interrupted: bool,
    /// Whether runs are missing because the remaining time was too short.
    pub out_of_time: bool,
    /// The common reason for which the first runs failed, so that the others were not started.
    pub common_failure: Option<String>,
}
