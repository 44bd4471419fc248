//! What state a run is in, derived from its files.

use std::time::SystemTime;

use lrlab_runs::{Plan, PlannedRun, RunStore};
use serde::Serialize;

use crate::attempt::{Ending, newest};
use crate::{Error, Failure, Life, Live, Owner, SearchState};

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// `result.json` is there.
    Done,
    /// A process that lives, or may live, has claimed it.
    Running {
        /// The process.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
        /// Seconds since it last gave a sign of life, as far as clocks agree; beats come every five seconds.
        silent_s: f64,
        /// How far it is, once it said so.
        live: Option<Box<Live>>,
    },
    /// Its last attempt failed.
    Failed(Box<Failure>),
    /// None of these: never begun, interrupted, or its process is gone.
    Missing,
}

/// How far a grid is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Runs in all.
    pub total: usize,
    /// Done.
    pub done: usize,
    /// Running.
    pub running: usize,
    /// Failed.
    pub failed: usize,
    /// Neither.
    pub missing: usize,
}

/// The state of `run`.
///
/// # Errors
/// Files that cannot be read.
pub fn run_state(store: &RunStore, run: &PlannedRun) -> Result<RunState, Error> {
    if store.is_done(&run.run_id) {
        return Ok(RunState::Done);
    }
    let Some(newest) = newest(&store.run_dir(&run.run_id))? else { return Ok(RunState::Missing) };
    Ok(match newest.exit.map(|exit| exit.ending) {
        // The result was committed between our two looks, or taken away by hand.
        Some(Ending::Done) if store.is_done(&run.run_id) => RunState::Done,
        Some(Ending::Done | Ending::Interrupted | Ending::Paused) => RunState::Missing,
        Some(Ending::Failed(failure)) => RunState::Failed(failure),
        None if newest.owner.life() == Life::Dead => RunState::Missing,
        None => RunState::Running {
            live: Live::read(&store.run_dir(&run.run_id).join("attempts").join(newest.number.to_string()))
                .map(Box::new),
            silent_s: SystemTime::now().duration_since(newest.touched).unwrap_or_default().as_secs_f64(),
            attempt: newest.number,
            owner: newest.owner,
        },
    })
}

/// How far the runs of `plan` are, and the state of each in the plan's order. In a search only the runs that are
/// [asked for](SearchState::asked_for) count.
///
/// # Errors
/// Files that cannot be read.
pub fn status(store: &RunStore, plan: &Plan) -> Result<(Status, Vec<RunState>), Error> {
    let states = plan.runs.iter().map(|run| run_state(store, run)).collect::<Result<Vec<_>, _>>()?;
    let asked = SearchState::read(store, plan)?.map(|search| search.asked_for());
    let counts = |index: usize| asked.as_ref().is_none_or(|asked| asked[index]);
    let mut status = Status::default();
    for state in states.iter().enumerate().filter(|(index, _)| counts(*index)).map(|(_, state)| state) {
        status.total += 1;
        *match state {
            RunState::Done => &mut status.done,
            RunState::Running { .. } => &mut status.running,
            RunState::Failed(_) => &mut status.failed,
            RunState::Missing => &mut status.missing,
        } += 1;
    }
    Ok((status, states))
}
