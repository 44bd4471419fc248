//! Searches as a report tells them: every trial of every arm, who went on, who won, what it cost.

use std::borrow::Cow;
use std::collections::BTreeSet;

use lrlab_runs::{Cell, Outcome, Plan, PlannedRun, RunId, RunStore};
use lrlab_search::{Arm, Record, TRIAL, TrialStatus, arms, judge};

use crate::Error;

/// The search of one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmSearch {
    /// The arm's coordinates.
    pub cell: Cell,
    /// The metric of the validation split that decided.
    pub metric: String,
    /// Epochs after which trials were judged, the whole run last.
    pub stages: Vec<u64>,
    /// In the order of their numbers.
    pub trials: Vec<TrialReport>,
    /// The best trial, where the search is over and not every trial diverged.
    pub winner: Option<usize>,
    /// Nothing is left to do.
    pub over: bool,
    /// Epochs that trials were trained, the winner's further seeds left out.
    pub epochs: u64,
    /// Epochs that training every trial in full takes.
    pub full_epochs: u64,
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialReport {
    /// Its values.
    pub point: Cell,
    /// What it was judged by at each stage that it reached; `None` where it had diverged.
    pub values: Vec<Option<f64>>,
    /// How it stands.
    pub status: TrialStatus,
    /// The runs it was judged by.
    pub runs: Vec<RunId>,
    /// Epochs they were trained.
    pub epochs: u64,
}

/// What a report shows of a plan: without a search the plan itself; with one the winners in the place of their arms,
/// and what is undecided.
pub(crate) struct View<'a> {
    pub(crate) plan: Cow<'a, Plan>,
    /// Runs that stand for an arm without a winner: they have no result yet.
    pub(crate) undecided: BTreeSet<RunId>,
    pub(crate) searches: Vec<ArmSearch>,
}

/// Reads how the searches of a plan stand.
pub(crate) fn view<'a>(plan: &'a Plan, store: &RunStore) -> Result<View<'a>, Error> {
    let mut view = View { plan: Cow::Borrowed(plan), undecided: BTreeSet::new(), searches: Vec::new() };
    let Some(rules) = &plan.search else { return Ok(view) };
    let known = plan.runs.iter().map(|run| record(store, run)).collect::<Result<Vec<_>, _>>()?;
    let mut shown = Vec::new();
    for arm in arms(rules, &plan.runs) {
        let verdict = judge(&arm, |run| known[run].as_ref());
        let trial = &arm.trials[verdict.winner.unwrap_or(0)];
        for index in trial.judged.iter().chain(&trial.remaining) {
            let mut run = plan.runs[*index].clone();
            run.cell.retain(|key, _| key != TRIAL && !rules.keys.contains(key));
            if verdict.winner.is_none() {
                view.undecided.insert(run.run_id.clone());
            }
            shown.push(run);
        }
        view.searches.push(told(arm, &verdict, plan, &known));
    }
    view.plan = Cow::Owned(Plan { runs: shown, ..plan.clone() });
    Ok(view)
}

fn told(arm: Arm, verdict: &lrlab_search::Verdict, plan: &Plan, known: &[Option<Record>]) -> ArmSearch {
    let length = |run: &usize| known[*run].as_ref().map_or(0, |record| record.history.len() as u64);
    let trial = |(number, trial): (usize, &lrlab_search::Trial)| {
        let at =
            |stage: &lrlab_search::Stage| stage.ranking.iter().find(|score| score.trial == number).copied();
        TrialReport {
            point: trial.point.clone(),
            values: verdict.stages.iter().filter_map(at).map(|score| score.value).collect(),
            status: verdict.statuses[number],
            runs: trial.judged.iter().map(|run| plan.runs[*run].run_id.clone()).collect(),
            epochs: trial.judged.iter().map(length).sum(),
        }
    };
    let trials: Vec<TrialReport> = arm.trials.iter().enumerate().map(trial).collect();
    ArmSearch {
        epochs: trials.iter().map(|trial| trial.epochs).sum(),
        full_epochs: arm.full_epochs(),
        stages: arm.rungs.iter().copied().chain([arm.budget]).collect(),
        cell: arm.cell,
        metric: arm.metric,
        trials,
        winner: verdict.winner,
        over: verdict.due.is_empty(),
    }
}

fn record(store: &RunStore, run: &PlannedRun) -> Result<Option<Record>, Error> {
    if let Some(result) = store.result(&run.run_id)? {
        return Ok(Some(Record::new(result.history, Some(result.outcome))));
    }
    Ok(store.paused(&run.run_id)?.map(|result| Record::new(result.history, None::<Outcome>)))
}

/// What a reader has to know of the searches.
pub(crate) fn warnings(searches: &[ArmSearch]) -> Vec<String> {
    let open = searches.iter().filter(|search| search.winner.is_none() && !search.over).count();
    let lost = searches.iter().filter(|search| search.winner.is_none() && search.over).count();
    let mut out = Vec::new();
    if open > 0 {
        out.push(format!(
            "The search of {open} of {} arms is not over: they have no figures yet.",
            searches.len()
        ));
    }
    if lost > 0 {
        out.push(format!("Every trial of {lost} of {} arms diverged: they have no figures.", searches.len()));
    }
    out
}
