//! A search, stage by stage: what is due is run, what lost is ended, until every arm has its winner.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lrlab_grid::{Finish, SearchState};
use lrlab_runs::{Outcome, Plan, PlannedRun, RunId, RunStore};
use lrlab_search::Due;

use super::say_line;
use crate::progress::tell;

/// Runs the stages of a search. `work` runs each of the runs it is given until the epoch that is named for it, or to
/// its end; `keep` keeps the checkpoints of those that lost. An arm in which a run failed is left as it is: trials are never judged by a part of them.
///
/// # Errors
/// What `work` returns, files that cannot be read or written, and a stage that changes nothing.
pub(crate) fn stages(
    plan: &Plan,
    store: &RunStore,
    keep: bool,
    mut work: impl FnMut(&[PlannedRun], &BTreeMap<RunId, u64>) -> anyhow::Result<Finish>,
) -> anyhow::Result<Finish> {
    let (mut all, mut failed) = (Finish::default(), BTreeSet::new());
    let mut before: Vec<Due> = Vec::new();
    loop {
        let Some(state) = SearchState::read(store, plan)? else { return work(&plan.runs, &BTreeMap::new()) };
        state.prune(store, plan, keep)?;
        let due = due(&state, &failed);
        if due.is_empty() {
            return Ok(finish(all, &state, store, plan));
        }
        anyhow::ensure!(due != before, "the last stage of the search changed nothing");
        revive(store, plan, &due)?;
        tell(&stage(plan, &due));
        let runs: Vec<PlannedRun> = due.iter().map(|due| plan.runs[due.run].clone()).collect();
        let until = due.iter().zip(&runs).filter(|(due, run)| run.spec["epochs"] != due.until);
        let until = until.map(|(due, run)| (run.run_id.clone(), due.until)).collect();
        let end = work(&runs, &until)?;
        failed.extend(end.failed.iter().map(|(index, _)| due[*index].run));
        let those = end.failed.into_iter().map(|(index, failure)| (due[index].run, failure));
        let stopped = end.interrupted || end.missing > 0;
        all = Finish {
            executed: all.executed + end.executed,
            failed: all.failed.into_iter().chain(those).collect(),
            ..end
        };
        if stopped {
            let state = SearchState::read(store, plan)?.unwrap_or(state);
            return Ok(finish(all, &state, store, plan));
        }
        before = due;
    }
}

/// The runs that are asked for: all of a grid; of a search those that it needs, as far as is known.
pub(crate) fn asked_for<'a>(plan: &'a Plan, store: &RunStore) -> anyhow::Result<Cow<'a, [PlannedRun]>> {
    let Some(state) = SearchState::read(store, plan)? else { return Ok(Cow::Borrowed(&plan.runs)) };
    let asked = plan.runs.iter().zip(state.asked_for()).filter(|(_, asked)| *asked);
    Ok(asked.map(|(run, _)| run.clone()).collect())
}

/// What is due in the arms without a failure.
fn due(state: &SearchState, failed: &BTreeSet<usize>) -> Vec<Due> {
    let whole = |verdict: &lrlab_search::Verdict| verdict.due.iter().all(|due| !failed.contains(&due.run));
    let arms = state.arms.iter().filter(|(_, verdict)| whole(verdict));
    arms.flat_map(|(_, verdict)| verdict.due.iter().copied()).collect()
}

/// A run that an earlier search gave up, and that goes on now, is not done any more.
fn revive(store: &RunStore, plan: &Plan, due: &[Due]) -> anyhow::Result<()> {
    for id in due.iter().map(|due| &plan.runs[due.run].run_id) {
        if store.result(id)?.is_some_and(|result| result.outcome == Outcome::Pruned) {
            store.revive(id)?;
        }
    }
    Ok(())
}

fn stage(plan: &Plan, due: &[Due]) -> String {
    let mut epochs: Vec<u64> = due.iter().map(|due| due.until).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let epochs: Vec<String> = epochs.iter().map(u64::to_string).collect();
    format!("{}: {} runs until epoch {}", plan.experiment, due.len(), epochs.join(" or "))
}

/// The sums over what the search asks for.
fn finish(all: Finish, state: &SearchState, store: &RunStore, plan: &Plan) -> Finish {
    let asked = state.asked_for();
    let runs = plan.runs.iter().zip(&asked).filter(|(_, asked)| **asked);
    let (mut total, mut done) = (0, 0);
    for (run, _) in runs {
        total += 1;
        done += usize::from(store.is_done(&run.run_id));
    }
    let missing = total - done - all.failed.len().min(total - done);
    Finish { done, missing, ..all }
}

/// What a search will take, and what it came to.
pub(crate) fn show(plan: &Plan, store: &RunStore) -> anyhow::Result<()> {
    let (Some(rules), Some(state)) = (&plan.search, SearchState::read(store, plan)?) else { return Ok(()) };
    for (arm, verdict) in &state.arms {
        let name = ["model", "schedule", "monitor"].into_iter().filter_map(|key| arm.cell.get(key)?.as_str());
        let name: Vec<&str> = name.collect();
        let (ours, full) = (arm.epochs(), arm.full_epochs());
        let mut text = format!(
            "search by {}, {}, {} epochs: {} trials, {ours} epochs",
            rules.method,
            name.join(" / "),
            arm.budget,
            arm.trials.len()
        );
        if ours < full {
            let _ = write!(text, " of {full}");
        }
        match verdict.winner {
            Some(winner) => {
                let values = arm.trials[winner].point.iter().map(|(key, value)| format!("{key} = {value}"));
                let _ = write!(text, "; trial {winner} won: {}", values.collect::<Vec<_>>().join(", "));
            }
            None if verdict.due.is_empty() => text.push_str("; every trial diverged"),
            None => {}
        }
        say_line(&text);
    }
    Ok(())
}
