//! The results of a plan.

use lrlab_runs::{Outcome, Plan, PlannedRun, RunResult, RunStore};

use crate::progress::eprint_line;

/// Returns the finished runs of a plan with their results. A result that is damaged or cannot be read is reported, and its run
/// counts as not finished.
pub(crate) fn finished<'a>(plan: &'a Plan, store: &RunStore) -> Vec<(&'a PlannedRun, RunResult)> {
    let mut finished = Vec::new();
    for run in &plan.runs {
        match store.result(&run.run_id) {
            // A grid trains the runs that a search pruned to their end.
            Ok(Some(result)) if result.outcome == Outcome::Pruned && plan.search.is_none() => {}
            Ok(result) => finished.extend(result.map(|result| (run, result))),
            Err(damage) => eprint_line(&format!("warning: {damage}")),
        }
    }
    finished
}
