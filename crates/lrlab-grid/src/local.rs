//! Runs a grid on this machine, one process per run: what it takes and what it tells.

use std::path::Path;
use std::time::{Duration, Instant};

use lrlab_runs::{Event, PlannedRun, RunStore};

use crate::attempt::newest;
use crate::{Ending, Error, Estimate, Failure, Life, Owner};

/// What a failed run does to the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The others go on.
    #[default]
    KeepGoing,
    /// The others are asked to stop; what was not done begins again in a later call.
    FailFast,
}

/// What is done about runs that other processes work on, once there is nothing else to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Others {
    /// They are waited for.
    #[default]
    Wait,
    /// They are left to those who have them, as soon as these were seen to live.
    Leave,
}

/// When the executor has to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// What is kept for saving. A run is begun only where an epoch of its kind, and this, still fit.
    pub margin: Duration,
}

/// Runs a grid on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalExecutor {
    /// Runs at once.
    pub jobs: usize,
    /// Threads per run; `None` divides the cores among the jobs.
    pub threads: Option<usize>,
    /// Devices that the jobs are spread over.
    pub devices: usize,
    /// What a failed run does to the rest.
    pub on_failure: OnFailure,
    /// When the first so many runs all failed for the same reason, the rest would too: the executor stops. 0 is never.
    pub alike: usize,
    /// How long a claim of a process that cannot be seen from here (another machine) may be silent before it is
    /// taken over. Beats come every five seconds.
    pub patience: Duration,
    /// What is done about runs that other processes have.
    pub others: Others,
    /// When the executor has to be gone.
    pub deadline: Option<Deadline>,
    /// A worker that says nothing for so long is ended: it hangs.
    pub silence: Option<Duration>,
}

impl Default for LocalExecutor {
    fn default() -> Self {
        Self {
            jobs: 1,
            threads: None,
            devices: 1,
            on_failure: OnFailure::KeepGoing,
            alike: 3,
            patience: Duration::from_mins(1),
            others: Others::Wait,
            deadline: None,
            silence: Some(Duration::from_hours(1)),
        }
    }
}

/// What an executor is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Share<'a> {
    /// The runs.
    pub runs: &'a [PlannedRun],
    /// For each of them, the number of the attempt up to which failures are history: see [`baseline`].
    pub since: Vec<u32>,
    /// For each of them, the completed epochs at which it is to pause, unless that is its end: see [`Assignment::until`].
    pub until: Vec<Option<u64>>,
    /// The run to begin with, where it is still free, so that many executors that start at once do not all reach for
    /// the same.
    pub first: Option<usize>,
    /// What the devices have and the runs need; without it the number of jobs is all that counts.
    pub memory: Option<Memory>,
}

/// Memory of devices in MiB. Runs are placed so that what they need fits, whatever the number of jobs; one that needs
/// more than there is, or whose need is not known, gets a device for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is free on each of the executor's devices, where known.
    pub free_mib: Vec<Option<u64>>,
    /// The most that each run was seen to have, where known. What results of runs of the same kind say counts too.
    pub peak_mib: Vec<Option<u64>>,
}

impl<'a> Share<'a> {
    /// All of `runs`, and what failed before is history.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn all(store: &RunStore, runs: &'a [PlannedRun]) -> Result<Self, Error> {
        let since = runs.iter().map(|run| baseline(store, run)).collect::<Result<_, _>>()?;
        Ok(Self { runs, since, until: vec![None; runs.len()], first: None, memory: None })
    }
}

/// The newest attempt of `run` that is over: what failed up to there does not count for a call that begins now.
///
/// # Errors
/// Files that cannot be read.
pub fn baseline(store: &RunStore, run: &PlannedRun) -> Result<u32, Error> {
    let newest = newest(&store.run_dir(&run.run_id))?;
    Ok(newest.map_or(0, |newest| {
        let over = newest.exit.is_some() || newest.owner.life() == Life::Dead;
        if over { newest.number } else { newest.number - 1 }
    }))
}

/// What a worker is started for.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// The run.
    pub run: &'a PlannedRun,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Where the attempt may write.
    pub folder: &'a Path,
    /// Threads it should use.
    pub threads: usize,
    /// Which of the executor's places it has, 0 … `jobs` − 1.
    pub slot: usize,
    /// Which of the executor's devices it has, 0 … `devices` − 1.
    pub device: usize,
    /// Once it has completed so many epochs it is to save, say so in `paused.json`, and end with 86: its search decides
    /// whether it goes on.
    pub until: Option<u64>,
}

/// What an observer is told.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// A worker was started.
    Began {
        /// The attempt.
        attempt: u32,
    },
    /// The worker said something.
    Said(&'a Event),
    /// The worker is asked to save and stop, because someone asked or the time limit is near.
    Asked {
        /// It is the time limit.
        out_of_time: bool,
    },
    /// The worker ended.
    Ended {
        /// How.
        ending: &'a Ending,
        /// Seconds since it began.
        seconds: f64,
        /// It will be tried again.
        again: bool,
        /// What is left now.
        left: Estimate,
    },
    /// Another process works on it; it is waited for.
    Elsewhere(Option<&'a Owner>),
    /// Another process ended it, well (`None`) or with a failure.
    EndedElsewhere(Option<&'a Failure>),
}

/// How a grid ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finish {
    /// Runs that are done, those done before included.
    pub done: usize,
    /// Runs that this call did.
    pub executed: usize,
    /// Workers that this call started.
    pub begun: usize,
    /// Runs that failed, by their index.
    pub failed: Vec<(usize, Failure)>,
    /// Runs that paused where their worker was told to.
    pub paused: usize,
    /// Runs that are none of these.
    pub missing: usize,
    /// Of the missing ones: those that others work on, and that were left to them.
    pub elsewhere: usize,
    /// Runs are missing because someone asked to stop.
    pub interrupted: bool,
    /// Runs are missing because there was not enough time left for one more.
    pub out_of_time: bool,
    /// Runs are missing because the first ones all failed for this reason.
    pub alike: Option<String>,
}
