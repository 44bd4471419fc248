//! Searches in a report: the trials of every arm, their outcomes and costs, and the winners.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use lrlab_runs::{Cell, Plan, PlannedRun, RunId, RunStore};
use lrlab_search::{Arm, Record, TRIAL, TrialStatus, arms, judge};

use crate::Error;
use crate::store::{State, state_of_trial};

/// The search of one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmSearch {
    /// The arm's coordinates.
    pub cell: Cell,
    /// The metric, on the validation split, by which trials are ranked.
    pub metric: String,
    /// The epochs after which trials are ranked; the last is the full budget.
    pub stages: Vec<u64>,
    /// The trials by number.
    pub trials: Vec<TrialReport>,
    /// The best trial; `None` while the search is in progress or if every trial diverged.
    pub winner: Option<usize>,
    /// Whether the search is finished.
    pub over: bool,
    /// Epochs trained in all trials, without the winner's additional seeds.
    pub epochs: u64,
    /// Epochs needed to train every trial with the full budget.
    pub full_epochs: u64,
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialReport {
    /// The values of the searched keys.
    pub point: Cell,
    /// The base rate of its runs: a searched `lr` times the `lr_scale` of the optimizer.
    pub lr: Option<f64>,
    /// The metric at each completed stage; `None` if the trial had diverged.
    pub values: Vec<Option<f64>>,
    /// The status of the trial.
    pub status: TrialStatus,
    /// The runs whose mean metric ranks the trial; none if their data is not available, so that they have no id.
    pub runs: Vec<TrialRun>,
    /// Epochs trained in these runs.
    pub epochs: u64,
}

/// A run of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRun {
    /// The run id.
    pub id: RunId,
    /// The run's coordinates in the grid, with those of the trial.
    pub cell: Cell,
    /// The run's state in the store.
    pub state: State,
    /// Whether the run has no result but can be resumed at a rung.
    pub paused: bool,
}

impl TrialRun {
    /// Returns whether a file of the run is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self.state, State::Damaged { .. })
    }

    /// The state in one word, as [`Run::word`](crate::Run::word), or `paused`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.paused { "paused" } else { self.state.word() }
    }
}

impl TrialReport {
    /// The ids of the trial's runs.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &RunId> {
        self.runs.iter().map(|run| &run.id)
    }
}

/// The part of a plan that a report shows: without a search the plan itself; with a search each arm's winner, or one of its
/// trials while the search is in progress.
pub(crate) struct View<'a> {
    pub(crate) plan: Cow<'a, Plan>,
    /// Runs that represent an arm without a winner and count as missing.
    pub(crate) undecided: BTreeSet<RunId>,
    pub(crate) searches: Vec<ArmSearch>,
}

/// Reads the state of the searches of a plan.
pub(crate) fn view<'a>(plan: &'a Plan, store: &RunStore) -> Result<View<'a>, Error> {
    let mut view = View { plan: Cow::Borrowed(plan), undecided: BTreeSet::new(), searches: Vec::new() };
    let Some(rules) = &plan.search else { return Ok(view) };
    let known = plan.runs.iter().map(|run| Known::read(store, run)).collect::<Vec<_>>();
    let mut shown = Vec::new();
    for arm in arms(rules, &plan.runs) {
        let verdict = judge(&arm, |run| known[run].record.as_ref())?;
        let trial = &arm.trials[verdict.winner.unwrap_or(0)];
        for index in trial.judged.iter().chain(&trial.remaining) {
            let mut run = plan.runs[*index].clone();
            run.cell.retain(|key, _| key != TRIAL && !rules.keys.contains(key));
            if verdict.winner.is_none() {
                view.undecided.insert(run.run_id.clone());
            }
            shown.push(run);
        }
        view.searches.push(arm_search(arm, &verdict, plan, &known));
    }
    view.plan = Cow::Owned(Plan { runs: shown, ..plan.clone() });
    Ok(view)
}

fn arm_search(arm: Arm, verdict: &lrlab_search::Verdict, plan: &Plan, known: &[Known]) -> ArmSearch {
    let length = |run: &usize| known[*run].record.as_ref().map_or(0, |record| record.history.len() as u64);
    let identified = |run: &usize| {
        let (planned, known) = (&plan.runs[*run], &known[*run]);
        (!planned.dataset_digest.is_empty()).then(|| TrialRun {
            id: planned.run_id.clone(),
            cell: planned.cell.clone(),
            state: known.state.clone(),
            paused: known.record.is_some() && !matches!(known.state, State::Done { .. }),
        })
    };
    let trial = |(number, trial): (usize, &lrlab_search::Trial)| {
        let at =
            |stage: &lrlab_search::Stage| stage.ranking.iter().find(|score| score.trial == number).copied();
        TrialReport {
            point: trial.point.clone(),
            lr: trial.judged.first().and_then(|run| plan.runs[*run].spec["lr"].as_f64()),
            values: verdict.stages.iter().filter_map(at).map(|score| score.value).collect(),
            status: verdict.statuses[number],
            runs: trial.judged.iter().filter_map(identified).collect(),
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

/// What the store has of a run.
struct Known {
    state: State,
    /// The epochs by which its trial is ranked: those of its result or, without one, of its last pause.
    record: Option<Record>,
}

impl Known {
    fn read(store: &RunStore, run: &PlannedRun) -> Self {
        let state = state_of_trial(store, run);
        let record = match &state {
            State::Done { result, .. } => Some(Record::new(result.history.clone(), Some(result.outcome))),
            // The state says if the file is damaged.
            State::Failed { .. } | State::Damaged { .. } | State::Missing => {
                let paused = store.paused(&run.run_id).ok().flatten();
                paused.map(|result| Record::new(result.history, None))
            }
        };
        Self { state, record }
    }
}

/// The runs of all trials, each once, with those that are also runs of an arm.
pub(crate) fn trial_runs(searches: &[ArmSearch]) -> BTreeMap<&RunId, &TrialRun> {
    let trials = searches.iter().flat_map(|search| &search.trials);
    trials.flat_map(|trial| &trial.runs).map(|run| (&run.id, run)).collect()
}

/// Warnings about unfinished and failed searches.
pub(crate) fn warnings(searches: &[ArmSearch]) -> Vec<String> {
    let open = searches.iter().filter(|search| search.winner.is_none() && !search.over).count();
    let lost = searches.iter().filter(|search| search.winner.is_none() && search.over).count();
    let mut out = Vec::new();
    if open > 0 {
        out.push(format!(
            "The search of {open} of {} arms is in progress; these arms have no results yet.",
            searches.len()
        ));
    }
    if lost > 0 {
        out.push(format!(
            "Every trial of {lost} of {} arms diverged; these arms have no results.",
            searches.len()
        ));
    }
    out
}
