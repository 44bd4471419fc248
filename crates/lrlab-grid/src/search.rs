//! The state of a plan's searches, derived from the files of its runs: every process on a store derives the same state
//! without communication.

use std::path::Path;

use lrlab_runs::{Cell, EpochMetrics, Outcome, Plan, PlannedRun, RunStore, attempt_dir};
use lrlab_search::{Arm, Due, Record, TrialStatus, Verdict, arms, judge};
use serde::{Deserialize, Serialize};

use crate::attempt::{attempts, in_use};
use crate::{Error, read_paused, read_result};

/// The state of a plan's searches.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchState {
    /// The arms of the grid, judged by the records of their trials.
    pub arms: Vec<(Arm, Verdict)>,
    /// The recorded epochs of each run of the plan.
    known: Vec<u64>,
}

/// The role of a run in its search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The run is trained, or may be.
    Open,
    /// The trial of the run was eliminated: others were better, or it diverged.
    Eliminated,
    /// The run is a remaining seed of a trial that has not won.
    Unneeded,
}

/// The status of the search of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmStatus {
    /// The coordinates of the arm.
    pub cell: Cell,
    /// The validation metric that trials are judged by.
    pub metric: String,
    /// The rungs that have started; the last is the full run.
    pub rungs: Vec<RungStatus>,
    /// The index of the best trial, once it is known.
    pub winner: Option<usize>,
    /// Its values.
    pub point: Option<Cell>,
    /// Whether nothing is left to train.
    pub over: bool,
}

/// The status of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RungStatus {
    /// The completed epochs at which trials are judged.
    pub epochs: u64,
    /// The trials that take part.
    pub trials: usize,
    /// Those of them that have reached the rung.
    pub reached: usize,
    /// Those of them that diverged, once all have reached the rung.
    pub diverged: usize,
    /// Those that are promoted, once all have reached the rung; after the last rung, the winner.
    pub promoted: Option<usize>,
}

impl SearchState {
    /// Reads the searches of `plan`; `None` if it has none.
    ///
    /// # Errors
    /// Returns an error if a result cannot be read or the metric of a search cannot rank trials.
    pub fn read(store: &RunStore, plan: &Plan) -> Result<Option<Self>, Error> {
        let Some(search) = &plan.search else { return Ok(None) };
        let records = plan.runs.iter().map(|run| record(store, run)).collect::<Result<Vec<_>, _>>()?;
        let judged = |arm: Arm| {
            let verdict = judge(&arm, |run| records[run].as_ref())?;
            Ok((arm, verdict))
        };
        let known = records.iter().map(|record| record.as_ref().map_or(0, |r| r.history.len() as u64));
        Ok(Some(Self {
            known: known.collect(),
            arms: arms(search, &plan.runs).into_iter().map(judged).collect::<Result<_, Error>>()?,
        }))
    }

    /// Returns the runs to train next, over all arms.
    #[must_use]
    pub fn due(&self) -> Vec<Due> {
        self.arms.iter().flat_map(|(_, verdict)| verdict.due.iter().copied()).collect()
    }

    /// Returns the role of each run of the plan.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Unneeded; self.known.len()];
        for (arm, verdict) in &self.arms {
            for (number, trial) in arm.trials.iter().enumerate() {
                let remaining = trial.remaining.iter().filter(|_| verdict.winner == Some(number));
                trial.judged.iter().chain(remaining).for_each(|run| roles[*run] = Role::Open);
            }
            verdict.eliminated.iter().for_each(|run| roles[*run] = Role::Eliminated);
        }
        roles
    }

    /// Returns, for each run of the plan, whether it belongs to a remaining trial of an arm with a run that satisfies `due`.
    /// Such runs are trained together, or wait for each other.
    #[must_use]
    pub fn members(&self, due: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut members = vec![false; self.known.len()];
        for (arm, verdict) in &self.arms {
            if verdict.due.iter().any(|each| due(each.run)) {
                for (trial, status) in arm.trials.iter().zip(&verdict.statuses) {
                    if matches!(status, TrialStatus::Active | TrialStatus::Won) {
                        trial.judged.iter().chain(&trial.remaining).for_each(|run| members[*run] = true);
                    }
                }
            }
        }
        members
    }

    /// Returns the recorded epochs of a run.
    #[must_use]
    pub fn epochs(&self, run: usize) -> u64 {
        self.known[run]
    }

    /// Returns the status of each arm.
    #[must_use]
    pub fn status(&self) -> Vec<ArmStatus> {
        self.arms.iter().map(|(arm, verdict)| status(arm, verdict)).collect()
    }

    /// Ends the paused runs of eliminated trials. Returns the number of runs. Runs that another experiment is training
    /// are not changed. Unless `keep` is set, the checkpoints are removed, and a search that needs such a run later
    /// restarts it.
    ///
    /// # Errors
    /// Returns an error if their files cannot be read, written or removed.
    pub fn prune(&self, store: &RunStore, plan: &Plan, keep: bool) -> Result<usize, Error> {
        let mut pruned = 0;
        for run in self.arms.iter().flat_map(|(_, verdict)| &verdict.eliminated) {
            let id = &plan.runs[*run].run_id;
            if !store.is_done(id) && !in_use(&store.run_dir(id))? && store.prune(id)? {
                pruned += 1;
                if !keep {
                    remove_checkpoints(&store.run_dir(id))?;
                }
            }
        }
        Ok(pruned)
    }
}

fn status(arm: &Arm, verdict: &Verdict) -> ArmStatus {
    let is_alive = |status: &&TrialStatus| matches!(status, TrialStatus::Active | TrialStatus::Won);
    let now = verdict.statuses.iter().filter(is_alive).count();
    let on = |stage: usize| verdict.stages.get(stage + 1).map_or(now, |next| next.ranking.len());
    let mut rungs: Vec<RungStatus> = verdict
        .stages
        .iter()
        .enumerate()
        .map(|(number, stage)| RungStatus {
            epochs: stage.epochs,
            trials: stage.ranking.len(),
            reached: stage.ranking.len(),
            diverged: stage.ranking.iter().filter(|score| score.value.is_none()).count(),
            promoted: Some(on(number)),
        })
        .collect();
    let all = arm.rungs.iter().copied().chain([arm.budget]);
    let alive = || arm.trials.iter().zip(&verdict.statuses).filter(|(_, s)| **s == TrialStatus::Active);
    if let (Some(epochs), 1..) = (all.clone().nth(rungs.len()), alive().count()) {
        let waits = |run: &usize| verdict.due.iter().any(|due| due.run == *run);
        let reached = alive().filter(|(trial, _)| !trial.judged.iter().any(waits)).count();
        rungs.push(RungStatus { epochs, trials: alive().count(), reached, diverged: 0, promoted: None });
    }
    ArmStatus {
        cell: arm.cell.clone(),
        metric: arm.metric.clone(),
        rungs,
        winner: verdict.winner,
        point: verdict.winner.map(|winner| arm.trials[winner].point.clone()),
        over: verdict.due.is_empty(),
    }
}

fn remove_checkpoints(run_dir: &Path) -> Result<(), Error> {
    for (number, _) in attempts(run_dir)? {
        let folder = attempt_dir(run_dir, number).join("checkpoints");
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&folder, e)),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the record of a run: its result, or its state when it paused.
fn record(store: &RunStore, run: &PlannedRun) -> Result<Option<Record>, Error> {
    if let Some(part) = read_result::<Part>(store, &run.run_id)? {
        return Ok(Some(Record::new(part.history, Some(part.outcome))));
    }
    Ok(read_paused::<Part>(store, &run.run_id)?.map(|part| Record::new(part.history, None)))
}

/// The part of a result that is needed to judge it.
#[derive(Deserialize)]
struct Part {
    history: Vec<EpochMetrics>,
    outcome: Outcome,
}
