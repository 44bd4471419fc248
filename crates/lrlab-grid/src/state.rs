//! The state of a run, derived from its files.

use lrlab_runs::{Outcome, Plan, PlannedRun, RunId, RunStore, attempt_dir};
use serde::Serialize;

use crate::attempt::{Ending, newest};
use crate::clock::Clock;
use crate::{AttemptProgress, Error, Failure, Liveness, Owner, Role, SearchState};

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The run has a result and is trained in full.
    Done,
    /// A process that is or may be alive has claimed the run.
    Running {
        /// The process.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
        /// Seconds since the last change of the claim, by the clock of the file system. Owners update their claims every
        /// five seconds.
        silent_s: f64,
        /// Its progress, once reported.
        live: Option<Box<AttemptProgress>>,
    },
    /// The result or the paused state is damaged; `run` sets it aside and repeats the run. Or a file of the run cannot be read.
    /// Only [`status()`] detects this.
    Damaged {
        /// The file and the damage.
        error: String,
    },
    /// The last attempt failed.
    Failed(Box<Failure>),
    /// A trial that has reached its rung and waits for the others. In a grid without a search: a run that a search
    /// paused and that still has to be trained in full.
    Paused {
        /// Completed epochs.
        epochs: u64,
    },
    /// A search eliminated the run.
    Pruned {
        /// Completed epochs.
        epochs: u64,
    },
    /// A remaining seed that its search does not need, or not yet.
    Unneeded,
    /// None of these: never started, interrupted, or abandoned.
    Missing,
}

/// A claim of another machine that has not changed for this many seconds is probably one of a process that died.
pub(crate) const SILENT_S: f64 = 90.0;

impl RunState {
    /// Returns whether the run is claimed by a process that this machine cannot observe and that has been silent for longer than
    /// a minute and a half, such as one of a machine that lost power.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Running { owner, silent_s, .. }
            if *silent_s > SILENT_S && owner.liveness() == Liveness::Unknown)
    }
}

/// The status of a grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// All runs; in a search, those that are known to be needed.
    pub total: usize,
    /// Runs with nothing left to do.
    pub done: usize,
    /// Running.
    pub running: usize,
    /// Failed.
    pub failed: usize,
    /// None of these.
    pub missing: usize,
    /// Of those done: eliminated by the search.
    pub pruned: usize,
    /// Of those done: their loss became non-finite.
    pub diverged: usize,
    /// Of those missing: paused at a rung.
    pub paused: usize,
    /// Of those missing: damaged.
    pub damaged: usize,
    /// Not in the total: runs of the plan that the search does not need.
    pub unneeded: usize,
}

/// Returns the state of `run`, regardless of searches.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn run_state(store: &RunStore, run: &PlannedRun) -> Result<RunState, Error> {
    state(store, run, &mut None)
}

fn state(store: &RunStore, run: &PlannedRun, clock: &mut Option<Clock>) -> Result<RunState, Error> {
    let id = &run.run_id;
    let finished = || store.is_finished(id);
    if finished() {
        return Ok(RunState::Done);
    }
    let newest = newest(&store.run_dir(id))?;
    let paused = |otherwise| -> Result<RunState, Error> {
        let epochs = match store.paused_after(id) {
            Err(lrlab_runs::Error::Json { .. }) => None,
            read => read?,
        };
        Ok(epochs.map_or(otherwise, |epochs| RunState::Paused { epochs }))
    };
    let Some(newest) = newest else { return paused(RunState::Missing) };
    Ok(match newest.exit.map(|exit| exit.ending) {
        // The result was committed between the two checks, or removed by hand.
        Some(Ending::Done) if finished() => RunState::Done,
        Some(Ending::Paused) => paused(RunState::Missing)?,
        Some(Ending::Done | Ending::Interrupted) => RunState::Missing,
        Some(Ending::Failed(failure)) => RunState::Failed(failure),
        None if newest.owner.liveness() == Liveness::Dead => RunState::Missing,
        None => RunState::Running {
            live: AttemptProgress::read(&attempt_dir(&store.run_dir(id), newest.number)).map(Box::new),
            silent_s: clock
                .get_or_insert_with(|| Clock::of(store.root()))
                .since(newest.touched)
                .as_secs_f64(),
            attempt: newest.number,
            owner: newest.owner,
        },
    })
}

/// Returns the runs that a process has claimed, with the process, even if they have a result. One that is dead or has long been
/// silent is left out.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn running<'a>(
    store: &RunStore,
    ids: impl IntoIterator<Item = &'a RunId>,
) -> Result<Vec<(&'a RunId, Owner)>, Error> {
    let (mut clock, mut running) = (None, Vec::new());
    for id in ids {
        let Some(newest) = newest(&store.run_dir(id))?.filter(|newest| newest.exit.is_none()) else {
            continue;
        };
        let mut silent = || {
            let clock = clock.get_or_insert_with(|| Clock::of(store.root()));
            clock.since(newest.touched).as_secs_f64() > SILENT_S
        };
        match newest.owner.liveness() {
            Liveness::Dead => {}
            Liveness::Unknown if silent() => {}
            Liveness::Alive | Liveness::Unknown => running.push((id, newest.owner)),
        }
    }
    Ok(running)
}

/// Returns the status of a grid, and the state of each run in the plan's order. In a search only the runs that it
/// needs count, and eliminated runs are done.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn status(store: &RunStore, plan: &Plan) -> Result<(Status, Vec<RunState>), Error> {
    let mut clock = None;
    let mut status = Status::default();
    let states = plan.runs.iter().map(|run| {
        let id = &run.run_id;
        let result = store.result(id).and_then(|result| store.paused(id).map(|_| result));
        Ok::<_, Error>(match (state(store, run, &mut clock), result) {
            (Ok(running @ RunState::Running { .. }), _) => running,
            (_, Err(damage)) => RunState::Damaged { error: damage.to_string() },
            // The files of one run hide no other run.
            (Err(error @ (Error::Io { .. } | Error::Runs(lrlab_runs::Error::Io { .. }))), _) => {
                RunState::Damaged { error: error.to_string() }
            }
            (Err(error), _) => return Err(error),
            (Ok(state), Ok(result)) => {
                let diverged = result.is_some_and(|result| result.outcome == Outcome::Diverged);
                status.diverged += usize::from(diverged);
                state
            }
        })
    });
    let mut states = states.collect::<Result<Vec<_>, _>>()?;
    if let Some(search) = SearchState::read(store, plan)? {
        for (index, role) in search.roles().into_iter().enumerate() {
            let state = &mut states[index];
            let is_unowned =
                matches!(state, RunState::Missing | RunState::Paused { .. } | RunState::Failed(_));
            match role {
                Role::Eliminated if is_unowned => *state = RunState::Pruned { epochs: search.epochs(index) },
                Role::Unneeded if is_unowned => *state = RunState::Unneeded,
                _ => {}
            }
        }
    }
    for state in &states {
        let counted = match state {
            RunState::Done => &mut status.done,
            RunState::Running { .. } => &mut status.running,
            RunState::Failed(_) => &mut status.failed,
            RunState::Missing => &mut status.missing,
            RunState::Pruned { .. } => {
                status.pruned += 1;
                &mut status.done
            }
            RunState::Damaged { .. } => {
                status.damaged += 1;
                &mut status.missing
            }
            RunState::Paused { .. } => {
                status.paused += 1;
                &mut status.missing
            }
            RunState::Unneeded => {
                status.unneeded += 1;
                continue;
            }
        };
        *counted += 1;
        status.total += 1;
    }
    Ok((status, states))
}
