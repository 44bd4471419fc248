//! How the searches of a plan stand, from the files of its runs: what is due, who is out, who won. A pure function of
//! what is there, so that every process on a store comes to the same, and none has to stay for the others.

use std::path::Path;

use lrlab_runs::{Cell, EpochMetrics, Outcome, Plan, PlannedRun, RunStore, attempt_dir};
use lrlab_search::{Arm, Due, Record, Standing, Verdict, arms, judge};
use serde::{Deserialize, Serialize};

use crate::attempt::{attempts, in_use};
use crate::{Error, read_paused, read_result};

/// How the searches of a plan stand.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchState {
    /// Every arm of the grid with what follows from what is known of its trials.
    pub arms: Vec<(Arm, Verdict)>,
    /// For each run of the plan, the epochs that are known of it.
    known: Vec<u64>,
}

/// What a search wants of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is, or may come to be, trained.
    Open,
    /// Nobody goes on with it: other trials were better, or it diverged.
    Out,
    /// A further seed of a trial that has not won, or not yet.
    Unneeded,
}

/// How the search of one arm stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmStatus {
    /// The coordinates of the arm.
    pub cell: Cell,
    /// The metric of the validation split that decides.
    pub metric: String,
    /// The stages that were begun, the whole run last.
    pub rungs: Vec<RungStatus>,
    /// The number of the best trial, once it is known.
    pub winner: Option<usize>,
    /// Its values.
    pub point: Option<Cell>,
    /// Nothing is left to be trained.
    pub over: bool,
}

/// How a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RungStatus {
    /// Completed epochs at which trials are judged.
    pub epochs: u64,
    /// Trials that take part.
    pub trials: usize,
    /// Of these: those that have come so far.
    pub reached: usize,
    /// Of these: those that diverged, once all have come so far.
    pub diverged: usize,
    /// Those that go on, once all have come so far; after the last stage, the winner.
    pub promoted: Option<usize>,
}

impl SearchState {
    /// The searches of `plan`; `None` where its runs are no trials.
    ///
    /// # Errors
    /// A result that cannot be read.
    pub fn read(store: &RunStore, plan: &Plan) -> Result<Option<Self>, Error> {
        let Some(search) = &plan.search else { return Ok(None) };
        let records = plan.runs.iter().map(|run| record(store, run)).collect::<Result<Vec<_>, _>>()?;
        let judged = |arm: Arm| {
            let verdict = judge(&arm, |run| records[run].as_ref());
            (arm, verdict)
        };
        let known = records.iter().map(|record| record.as_ref().map_or(0, |r| r.history.len() as u64));
        Ok(Some(Self {
            known: known.collect(),
            arms: arms(search, &plan.runs).into_iter().map(judged).collect(),
        }))
    }

    /// What to train next, over all arms.
    #[must_use]
    pub fn due(&self) -> Vec<Due> {
        self.arms.iter().flat_map(|(_, verdict)| verdict.due.iter().copied()).collect()
    }

    /// What the search wants of each run of the plan.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Unneeded; self.known.len()];
        for (arm, verdict) in &self.arms {
            for (number, trial) in arm.trials.iter().enumerate() {
                let further = trial.further.iter().filter(|_| verdict.winner == Some(number));
                trial.judged.iter().chain(further).for_each(|run| roles[*run] = Role::Open);
            }
            verdict.out.iter().for_each(|run| roles[*run] = Role::Out);
        }
        roles
    }

    /// The runs of the arms in which something is due: they are trained together, or wait for each other.
    #[must_use]
    pub fn members(&self, due: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut members = vec![false; self.known.len()];
        for (arm, verdict) in &self.arms {
            if verdict.due.iter().any(|each| due(each.run)) {
                for (trial, standing) in arm.trials.iter().zip(&verdict.standings) {
                    if matches!(standing, Standing::In | Standing::Won) {
                        trial.judged.iter().chain(&trial.further).for_each(|run| members[*run] = true);
                    }
                }
            }
        }
        members
    }

    /// Epochs that are known of a run.
    #[must_use]
    pub fn epochs(&self, run: usize) -> u64 {
        self.known[run]
    }

    /// How each arm stands, stage by stage.
    #[must_use]
    pub fn status(&self) -> Vec<ArmStatus> {
        self.arms.iter().map(|(arm, verdict)| status(arm, verdict)).collect()
    }

    /// Ends the paused runs that nobody goes on with; how many there were. What somebody works on, for another
    /// experiment, is left to them. Without `keep` checkpoints go: a search that wants such a run after all begins
    /// it anew.
    ///
    /// # Errors
    /// Their files cannot be read, written or removed.
    pub fn prune(&self, store: &RunStore, plan: &Plan, keep: bool) -> Result<usize, Error> {
        let mut pruned = 0;
        for run in self.arms.iter().flat_map(|(_, verdict)| &verdict.out) {
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
    let going_on = |standing: &&Standing| matches!(standing, Standing::In | Standing::Won);
    let now = verdict.standings.iter().filter(going_on).count();
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
    let alive = || arm.trials.iter().zip(&verdict.standings).filter(|(_, s)| **s == Standing::In);
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

/// What the files say of a run: its result, or where it paused.
fn record(store: &RunStore, run: &PlannedRun) -> Result<Option<Record>, Error> {
    if let Some(part) = read_result::<Part>(store, &run.run_id)? {
        return Ok(Some(Record::new(part.history, Some(part.outcome))));
    }
    Ok(read_paused::<Part>(store, &run.run_id)?.map(|part| Record::new(part.history, None)))
}

/// The part of a result that judges need.
#[derive(Deserialize)]
struct Part {
    history: Vec<EpochMetrics>,
    outcome: Outcome,
}
