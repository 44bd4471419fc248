//! What state a run is in, derived from its files.

use lrlab_runs::{Plan, PlannedRun, RunStore, attempt_dir};
use serde::Serialize;

use crate::attempt::{Ending, newest};
use crate::clock::Clock;
use crate::{Error, Failure, Life, Live, Owner, Role, SearchState};

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It has a result, and nothing is left to be trained.
    Done,
    /// A process that lives, or may live, has claimed it.
    Running {
        /// The process.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
        /// Seconds since it last gave a sign of life, by the clock of the machine that keeps the files; beats come
        /// every five seconds.
        silent_s: f64,
        /// How far it is, once it said so.
        live: Option<Box<Live>>,
    },
    /// Its result, or what it left when it paused, is damaged: it is to be set aside and the run done again. Only
    /// [`status()`] looks for it.
    Damaged {
        /// The file, and what is wrong with it.
        error: String,
    },
    /// Its last attempt failed.
    Failed(Box<Failure>),
    /// A trial that has come to its rung: the others decide whether it goes on. In a grid without a search: a search
    /// left it there, and it is still to be trained to its end.
    Paused {
        /// Completed epochs.
        epochs: u64,
    },
    /// A search gave it up.
    Pruned {
        /// Completed epochs.
        epochs: u64,
    },
    /// A further seed that its search does not ask for: its trial has not won, or not yet.
    Unneeded,
    /// None of these: never begun, interrupted, or its process is gone.
    Missing,
}

/// How far a grid is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Runs in all; of a search, those it asks for as far as is known.
    pub total: usize,
    /// Nothing is left to be done with them.
    pub done: usize,
    /// Running.
    pub running: usize,
    /// Failed.
    pub failed: usize,
    /// Neither.
    pub missing: usize,
    /// Of those done: given up by the search.
    pub pruned: usize,
    /// Of those missing: they are somewhere on their way and wait.
    pub paused: usize,
    /// Of those missing: their results are damaged.
    pub damaged: usize,
    /// Not among the total: runs of the plan that the search does not ask for.
    pub unneeded: usize,
}

/// The state of `run`, whatever grid it is part of.
///
/// # Errors
/// Files that cannot be read.
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
        // The result was committed between our two looks, or taken away by hand.
        Some(Ending::Done) if finished() => RunState::Done,
        Some(Ending::Paused) => paused(RunState::Missing)?,
        Some(Ending::Done | Ending::Interrupted) => RunState::Missing,
        Some(Ending::Failed(failure)) => RunState::Failed(failure),
        None if newest.owner.life() == Life::Dead => RunState::Missing,
        None => RunState::Running {
            live: Live::read(&attempt_dir(&store.run_dir(id), newest.number)).map(Box::new),
            silent_s: clock
                .get_or_insert_with(|| Clock::of(store.root()))
                .since(newest.touched)
                .as_secs_f64(),
            attempt: newest.number,
            owner: newest.owner,
        },
    })
}

/// How far the runs of `plan` are, and the state of each in the plan's order. In a search only the runs that it asks
/// for count, and a run that it gave up is done.
///
/// # Errors
/// Files that cannot be read.
pub fn status(store: &RunStore, plan: &Plan) -> Result<(Status, Vec<RunState>), Error> {
    let mut clock = None;
    let states = plan.runs.iter().map(|run| {
        Ok::<_, Error>(match (state(store, run, &mut clock)?, store.damage(&run.run_id)?) {
            (running @ RunState::Running { .. }, _) => running,
            (_, Some(damage)) => RunState::Damaged { error: damage.to_string() },
            (state, None) => state,
        })
    });
    let mut states = states.collect::<Result<Vec<_>, _>>()?;
    if let Some(search) = SearchState::read(store, plan)? {
        for (index, role) in search.roles().into_iter().enumerate() {
            let state = &mut states[index];
            let nobody = matches!(state, RunState::Missing | RunState::Paused { .. } | RunState::Failed(_));
            match role {
                Role::Out if nobody => *state = RunState::Pruned { epochs: search.epochs(index) },
                Role::Unneeded if nobody => *state = RunState::Unneeded,
                _ => {}
            }
        }
    }
    let mut status = Status::default();
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
