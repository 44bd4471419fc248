//! The current state of a grid, as `lrlab status` shows it.

use std::fmt::Write as _;

use lrlab_grid::slurm::{self, Queued};
use lrlab_grid::{ArmStatus, Costs, Estimate, RunState, SearchState, Status};
use lrlab_runs::{Plan, RunStore};

use super::grid::beginnings;
use super::lines::{counts, line};
use super::local::saved_epochs;
use super::search;
use crate::Registry;
use crate::progress::{clock, counted};

/// The current state of a grid.
pub(crate) struct Dashboard {
    pub(crate) status: Status,
    pub(crate) states: Vec<RunState>,
    /// The remaining work, less the progress of running runs.
    pub(crate) left: Estimate,
    /// Runs of the experiment outside the plan, and how many of them are done.
    other_runs: (usize, usize),
    /// The status of each arm of a search.
    search: Option<Vec<ArmStatus>>,
    /// The jobs on Slurm, or the error if Slurm is not reachable.
    jobs: Result<Vec<Queued>, String>,
    /// Warnings about results and jobs.
    warnings: Vec<String>,
}

impl Dashboard {
    /// Reads the state of a plan. `reused` has the epochs that each run takes from a shorter one ([`reused_epochs`]).
    pub(crate) fn read(plan: &Plan, store: &RunStore, reused: &[u64]) -> anyhow::Result<Self> {
        let (status, states) = lrlab_grid::status(store, plan)?;
        let others = lrlab_grid::other_runs(store, plan)?;
        let mut others_done = 0;
        for id in others.iter().filter(|id| store.is_finished(id)) {
            others_done += usize::from(store.damage(id)?.is_none());
        }
        let costs = Costs::measured(store, &plan.runs);
        let submitted = slurm::submission_status(store, &plan.experiment);
        let mut warnings = lrlab_grid::origins(store, &plan.runs)?.warnings();
        warnings.extend(submitted.iter().flat_map(|submitted| &submitted.moved).map(ToString::to_string));
        Ok(Self {
            left: left(store, plan, (&states, reused), &costs, status.running),
            status,
            states,
            other_runs: (others.len(), others_done),
            search: SearchState::read(store, plan)?.map(|search| search.status()),
            jobs: submitted.map(|submitted| submitted.queued).map_err(|error| error.to_string()),
            warnings,
        })
    }

    pub(crate) fn json(&self, plan: &Plan) -> serde_json::Value {
        let runs: Vec<_> = plan
            .runs
            .iter()
            .zip(&self.states)
            .map(|(run, state)| serde_json::json!({ "run_id": run.run_id, "cell": run.cell, "state": state }))
            .collect();
        let job = |job: &Queued| serde_json::json!({ "job": job.job, "state": job.state, "name": job.name });
        let jobs = match &self.jobs {
            Ok(jobs) => jobs.iter().map(job).collect::<Vec<_>>().into(),
            Err(error) => serde_json::json!({ "error": error }),
        };
        serde_json::json!({
            "experiment": plan.experiment,
            "status": self.status,
            "left": self.left,
            "further": { "runs": self.other_runs.0, "done": self.other_runs.1 },
            "search": self.search,
            "runs": runs,
            "jobs": jobs,
            "warnings": self.warnings,
        })
    }

    /// Every run with its state, and the totals.
    pub(crate) fn text(&self, plan: &Plan, store: &RunStore) -> String {
        let mut text = String::new();
        let needed = plan.runs.iter().zip(&self.states).filter(|(_, state)| **state != RunState::Unneeded);
        for (run, state) in needed {
            let _ = writeln!(text, "{}", line(store, run, state));
        }
        let _ = writeln!(text, "{}", self.totals(plan));
        text
    }

    /// The totals, the remaining time, and warnings.
    pub(crate) fn totals(&self, plan: &Plan) -> String {
        let mut text = format!("{}: {}", plan.experiment, counts(&self.status));
        if let Some(wall) = self.left.wall_s.filter(|_| self.left.runs > 0) {
            let _ = write!(text, ", about {} left", clock(wall));
        }
        for line in search::lines(plan, self.search.as_deref().unwrap_or_default()) {
            let _ = write!(text, "\n{line}");
        }
        if let (runs @ 1.., done) = self.other_runs {
            let _ = write!(
                text,
                "\nnote: earlier calls planned {} of the experiment ({done} done)",
                counted(runs, "other run")
            );
        }
        match &self.jobs {
            Ok(jobs) if jobs.is_empty() => {}
            Ok(jobs) => {
                let waiting = jobs.iter().filter(|job| job.state == "PENDING").count();
                let _ = write!(text, "\nslurm: {}, {waiting} of them waiting", counted(jobs.len(), "job"));
            }
            Err(error) => {
                let _ = write!(text, "\nslurm: {error}");
            }
        }
        for warning in &self.warnings {
            let _ = write!(text, "\nnote: {warning}");
        }
        text
    }
}

/// Returns the epochs that each run of a plan takes from a shorter one.
pub(crate) fn reused_epochs(plan: &Plan, store: &RunStore, registry: &Registry) -> anyhow::Result<Vec<u64>> {
    let beginnings = beginnings(plan, store, &plan.runs, registry)?;
    Ok(beginnings.into_iter().map(|beginning| beginning.map_or(0, |beginning| beginning.epochs)).collect())
}

/// Estimates the remaining work. Running runs count with their remaining time, extrapolated from their own progress.
fn left(
    store: &RunStore,
    plan: &Plan,
    (states, reused): (&[RunState], &[u64]),
    costs: &Costs,
    running: usize,
) -> Estimate {
    let open = plan.runs.iter().zip(states.iter().zip(reused));
    let open = open.filter(|(_, (state, _))| {
        !matches!(state, RunState::Done | RunState::Pruned { .. } | RunState::Unneeded)
    });
    let seconds = open.map(|(run, (state, &reused))| match state {
        RunState::Running { live: Some(live), .. } => {
            live.left_s().or_else(|| costs.seconds(run).map(|all| all * (1.0 - live.share())))
        }
        RunState::Missing | RunState::Paused { .. } => {
            costs.left_s(run, reused.max(saved_epochs(store, run)))
        }
        _ => costs.left_s(run, reused),
    });
    costs.sum(seconds, running)
}
