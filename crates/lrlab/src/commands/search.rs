//! Executes a search stage by stage: executes due runs and ends eliminated ones until every arm has a winner. Every process
//! on a store derives the due runs from the files of the trials.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use lrlab_grid::{ArmStatus, GridOutcome, Role, SearchState};
use lrlab_options::Keep;
use lrlab_runs::{Cell, Plan, PlannedRun, RunId, RunStore};
use lrlab_search::Due;

use super::print_line;
use crate::progress::{arm, counted, eprint_line};

/// The part of a search that this process executes.
pub(crate) struct Stages<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a RunStore,
    /// Whether to keep the checkpoints of eliminated trials.
    pub(crate) keep: Keep,
    /// The runs that this process may execute.
    pub(crate) ours: &'a dyn Fn(&RunId) -> bool,
    /// Called when other processes have all due runs, with the maximum number of runs that may be due next. Waits
    /// briefly and returns whether to check again.
    pub(crate) wait: &'a dyn Fn(usize) -> bool,
}

impl Stages<'_> {
    /// Runs the stages. `work` executes each of the given runs up to the given epoch, or to its end. An arm with a failed
    /// run is not continued, because promotion compares all its trials. Without a search, all runs of this process are
    /// one stage.
    ///
    /// # Errors
    /// Returns an error of `work`, of reading or writing files, or if a stage makes no progress.
    pub(crate) fn run(
        &self,
        mut work: impl FnMut(&[PlannedRun], Vec<Option<u64>>) -> anyhow::Result<GridOutcome>,
    ) -> anyhow::Result<GridOutcome> {
        let (mut all, mut failed) = (GridOutcome::default(), BTreeSet::new());
        let mut before: Vec<Due> = Vec::new();
        let mut worked_on = BTreeSet::new();
        loop {
            let Some(state) = SearchState::read(self.store, self.plan)? else {
                let ours = self.plan.runs.iter().filter(|run| (self.ours)(&run.run_id));
                let ours: Vec<PlannedRun> = ours.cloned().collect();
                return work(&ours, vec![None; ours.len()]);
            };
            state.prune(self.store, self.plan, self.keep.checkpoints())?;
            let (due, next) = self.due(&state, &failed);
            worked_on.extend(due.iter().map(|due| due.run));
            if due.is_empty() {
                return Ok(self.finish(all, &state, &worked_on));
            }
            anyhow::ensure!(due != before, "the last stage of the search made no progress");
            let runs: Vec<PlannedRun> = due.iter().map(|due| self.plan.runs[due.run].clone()).collect();
            let until = due.iter().zip(&runs).map(|(due, run)| until(run, due.until)).collect();
            if all.elsewhere == 0 {
                eprint_line(&self.describe(&due));
            }
            let end = work(&runs, until)?;
            failed.extend(end.failed.iter().map(|(index, _)| due[*index].run));
            let newly_failed = end.failed.into_iter().map(|(index, failure)| (due[index].run, failure));
            all = GridOutcome {
                started: all.started + end.started,
                failed: all.failed.into_iter().chain(newly_failed).collect(),
                ..end
            };
            let stopped = end.interrupted || end.out_of_time || end.missing > end.elsewhere;
            if stopped || (end.elsewhere > 0 && !(self.wait)(next)) {
                let state = SearchState::read(self.store, self.plan)?.unwrap_or(state);
                return Ok(self.finish(all, &state, &worked_on));
            }
            before = if end.elsewhere > 0 { Vec::new() } else { due };
        }
    }

    /// Returns the due runs of this process in the arms without a failure, and the maximum number of runs that may be
    /// due in the next stage.
    fn due(&self, state: &SearchState, failed: &BTreeSet<usize>) -> (Vec<Due>, usize) {
        let ours = |due: &&Due| (self.ours)(&self.plan.runs[due.run].run_id);
        let (mut all, mut next) = (Vec::new(), 0);
        for (_, verdict) in &state.arms {
            if verdict.due.iter().any(|due| failed.contains(&due.run)) {
                continue;
            }
            let before = all.len();
            all.extend(verdict.due.iter().filter(ours));
            next += if all.len() > before { verdict.next } else { 0 };
        }
        (all, next)
    }

    fn describe(&self, due: &[Due]) -> String {
        format!("{}: {}", self.plan.experiment, describe_due(due))
    }

    /// Returns the totals over the runs that the search needs. The runs that this call `worked_on` and that are done count
    /// as executed, eliminated trials included.
    fn finish(&self, all: GridOutcome, state: &SearchState, worked_on: &BTreeSet<usize>) -> GridOutcome {
        let (mut total, mut done, mut executed) = (0, 0, 0);
        for (index, (run, role)) in self.plan.runs.iter().zip(state.roles()).enumerate() {
            total += usize::from(role != Role::Unneeded);
            if role == Role::Eliminated || role == Role::Open && self.store.is_finished(&run.run_id) {
                done += 1;
                executed += usize::from(worked_on.contains(&index));
            }
        }
        let missing = total - done - all.failed.len().min(total - done);
        GridOutcome { done, executed, missing, ..all }
    }
}

/// Returns the epoch at which a run pauses; `None` if it is the last one.
pub(crate) fn until(run: &PlannedRun, epochs: u64) -> Option<u64> {
    (run.spec["epochs"] != epochs).then_some(epochs)
}

/// `9 runs until epoch 3`.
pub(crate) fn describe_due(due: &[Due]) -> String {
    let mut epochs: Vec<u64> = due.iter().map(|due| due.until).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let epochs: Vec<String> = epochs.iter().map(u64::to_string).collect();
    format!("{} until epoch {}", counted(due.len(), "run"), epochs.join(" or "))
}

/// Returns the runs that are needed: all runs of a grid, or the trials of a search that are known to be needed.
pub(crate) fn needed_runs<'a>(plan: &'a Plan, store: &RunStore) -> anyhow::Result<Cow<'a, [PlannedRun]>> {
    let Some(state) = SearchState::read(store, plan)? else { return Ok(Cow::Borrowed(&plan.runs)) };
    let asked = plan.runs.iter().zip(state.roles()).filter(|(_, role)| *role != Role::Unneeded);
    Ok(asked.map(|(run, _)| run.clone()).collect())
}

/// Prints the cost and the status of a search.
pub(crate) fn show(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    let (Some(rules), Some(state)) = (&plan.search, SearchState::read(store, plan)?) else { return Ok(()) };
    for ((arm, _), status) in state.arms.iter().zip(state.status()) {
        let (ours, full) = (arm.epochs(), arm.full_epochs());
        let mut text = format!(
            "{}: {} trials, {ours} epochs",
            title(&rules.method, &status, arm.budget),
            arm.trials.len()
        );
        if ours < full {
            let _ = write!(text, " of {full}");
        }
        let _ = write!(text, "; {}", describe_status(plan, &status));
        print_line(&text);
    }
    Ok(())
}

/// `search by halving, linear / static / optimizer sgd, 9 epochs`.
fn title(method: &str, status: &ArmStatus, budget: u64) -> String {
    format!("search by {method}, {}, {budget} epochs", arm(&status.cell))
}

/// Describes the status of each arm, one line each.
pub(crate) fn lines(plan: &Plan, arms: &[ArmStatus]) -> Vec<String> {
    let Some(rules) = &plan.search else { return Vec::new() };
    let budget = |status: &ArmStatus| status.rungs.last().map_or(0, |rung| rung.epochs);
    let line = |status: &ArmStatus| {
        let full_run =
            plan.runs.iter().find(|run| status.cell.iter().all(|(k, v)| run.cell.get(k) == Some(v)));
        let epochs = full_run.and_then(|run| run.spec["epochs"].as_u64());
        format!(
            "{}: {}",
            title(&rules.method, status, epochs.unwrap_or_else(|| budget(status))),
            describe_status(plan, status)
        )
    };
    arms.iter().map(line).collect()
}

/// Returns the base rate of a trial if its optimizer scales the searched one.
fn trained_rate(plan: &Plan, status: &ArmStatus, point: &Cell) -> Option<f64> {
    let of_trial =
        |run: &&PlannedRun| status.cell.iter().chain(point).all(|(k, v)| run.cell.get(k) == Some(v));
    let lr = plan.runs.iter().find(of_trial)?.spec["lr"].as_f64()?;
    (point.get("lr")?.as_f64()? != lr).then_some(lr)
}

/// `epoch 1: 9 of 9 trials, 3 promoted; epoch 3: 1 of 3 trials`.
fn describe_status(plan: &Plan, status: &ArmStatus) -> String {
    let rung = |rung: &lrlab_grid::RungStatus| {
        let mut text = format!("epoch {}: {} of {} trials", rung.epochs, rung.reached, rung.trials);
        if rung.diverged > 0 {
            let _ = write!(text, ", {} diverged", rung.diverged);
        }
        if let Some(on) =
            rung.promoted.filter(|_| status.winner.is_none() || Some(rung) != status.rungs.last())
        {
            let _ = write!(text, ", {on} promoted");
        }
        text
    };
    let mut parts: Vec<String> = status.rungs.iter().map(rung).collect();
    match (status.winner, &status.point) {
        (Some(winner), Some(point)) => {
            let values = point.iter().map(|(key, value)| match trained_rate(plan, status, point) {
                Some(lr) if key == "lr" => format!("{key} = {value} (× lr_scale = {lr})"),
                _ => format!("{key} = {value}"),
            });
            parts.push(format!("trial {winner} won: {}", values.collect::<Vec<_>>().join(", ")));
        }
        _ if status.over => parts.push("every trial diverged".to_owned()),
        _ => {}
    }
    parts.join("; ")
}
