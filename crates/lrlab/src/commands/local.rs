//! Executes the runs of a plan in worker processes on this machine, as many at once as fit.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use lrlab_grid::{
    Assignment, GridOutcome, Interrupt, LocalExecutor, Machine as Host, Notice, OnFailure, Workload,
};
use lrlab_runs::{PlannedRun, RunId, RunStore};

use super::follow;
use super::grid::{Execution, Grid};
use super::launch::{self, Launcher};
use super::preflight::PreflightReport;
use super::{report, search};
use crate::progress::{Progress, clock, counted, eprint_line, label, report_error, with_causes};
use crate::{DeviceChoice, Exit, provenance};

/// The assumed memory of a run that was not measured, in bytes; small networks on small data need much less.
const MEMORY_PER_RUN: u64 = 3 << 30;

/// How to run a grid on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Local {
    /// The maximum number of concurrent runs; `None` means as many as fit.
    pub(crate) jobs: Option<u16>,
    pub(crate) on_failure: OnFailure,
}

impl Local {
    /// Executes the missing runs, and keeps the report up to date meanwhile.
    pub(crate) fn execute(self, grid: &Grid<'_>, preflight: &PreflightReport) -> anyhow::Result<Execution> {
        let (launch, interrupt) =
            (Launcher::new(grid.store, grid.machine, grid.device)?, Interrupt::on_signals()?);
        let outcome = std::thread::scope(|scope| {
            let _up_to_date = follow::follow(scope, grid.reported, grid.store);
            self.run(grid, &launch, preflight, &interrupt, |_| None)
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            // The store contains the progress of started runs, so the same command resumes them.
            Err(error) => {
                report_error(&error);
                if let Err(error) = report::refresh(grid.reported, grid.store, false) {
                    eprint_line(&format!("error: the report could not be written: {}", with_causes(&error)));
                }
                eprint_line(
                    "this error stopped the grid; finished runs are kept, and the same command resumes",
                );
                return Ok(Execution::Left(Exit::SomeFailed));
            }
        };
        let exit = match &outcome {
            GridOutcome { interrupted: true, .. } => Exit::Interrupted,
            GridOutcome { failed, missing, .. } if !failed.is_empty() || *missing > 0 => Exit::SomeFailed,
            GridOutcome { .. } => Exit::Done,
        };
        Ok(Execution::Ended { summary: summary(grid, &outcome), exit })
    }

    /// Executes the missing runs, each up to the epoch that the search or `until` returns, or to its end.
    pub(crate) fn run(
        self,
        grid: &Grid<'_>,
        launch: &Launcher,
        preflight: &PreflightReport,
        interrupt: &Interrupt,
        until: impl Fn(&PlannedRun) -> Option<u64>,
    ) -> anyhow::Result<GridOutcome> {
        let Grid { plan, store, machine, .. } = grid;
        let jobs = self.at_once(grid, &launch.gpus, Some(preflight));
        let executor = LocalExecutor {
            jobs,
            threads: machine.threads.map(NonZeroUsize::get),
            devices: launch.devices(),
            on_failure: self.on_failure,
            ..LocalExecutor::default()
        };
        let runs = search::needed_runs(plan, store)?;
        let done = match plan.search {
            // A trial that the search pruned is done, too.
            Some(_) => lrlab_grid::status(store, plan)?.0.done,
            None => runs.iter().filter(|run| store.is_finished(&run.run_id)).count(),
        };
        let total = runs.len();
        let device = launch.describe_device();
        eprint_line(&format!(
            "{}: {}, {done} of {total} done, {jobs} at once on {device}",
            plan.experiment,
            counted(total, "run")
        ));
        if plan.search.is_none() {
            show_estimate(grid, jobs, Some(preflight));
        }
        let mut progress = Progress::new(&plan.runs, total, done);
        let mut observe = |run: &PlannedRun, notice: Notice<'_>| launch::show(&mut progress, run, notice);
        let stages = search::Stages { plan, store, keep: machine.keep, ours: &|_| true, wait: &|_| false };
        let outcome = stages.run(|runs, stage| {
            let until =
                stage.into_iter().zip(runs).map(|(stage, run)| stage.or_else(|| until(run))).collect();
            // An explicit number of jobs takes precedence over memory.
            let memory = if self.jobs.is_none() { preflight.memory(&launch.gpus, runs) } else { None };
            let beginnings = grid.beginnings(runs)?;
            let numerics = Some(provenance::numerics(grid.device));
            let workload = Workload { memory, until, beginnings, numerics, ..Workload::all(store, runs)? };
            let command = |assignment: &Assignment<'_>| launch.command(assignment);
            Ok(executor.run_workload(store, workload, interrupt, command, &mut observe)?)
        });
        progress.close();
        outcome
    }

    /// Returns the maximum number of concurrent runs. On GPUs, it is the number of the smallest runs that fit into
    /// memory, and the executor runs fewer if they need more; on the CPU, it depends on cores and memory.
    pub(crate) fn at_once(
        self,
        grid: &Grid<'_>,
        gpus: &[lrlab_grid::Gpu],
        preflight: Option<&PreflightReport>,
    ) -> usize {
        if let Some(jobs) = self.jobs {
            return usize::from(jobs);
        }
        let memory = preflight.and_then(PreflightReport::memory_per_run).unwrap_or(MEMORY_PER_RUN);
        let fit = Host::detect().jobs(grid.plan.runs.len(), memory);
        if grid.device.is_cpu() {
            return fit;
        }
        let on_devices = match grid.machine.device {
            DeviceChoice::Metal => 1,
            _ => lrlab_grid::at_once(gpus, preflight.and_then(PreflightReport::min_device_mib)),
        };
        on_devices.min(fit)
    }
}

/// Returns the number of completed epochs that an interrupted run resumes after.
pub(crate) fn saved_epochs(store: &RunStore, run: &PlannedRun) -> u64 {
    lrlab_runs::progress(&store.run_dir(&run.run_id)).map_or(0, |saved| saved.epoch)
}

/// Prints an estimate for the missing runs.
pub(crate) fn show_estimate(grid: &Grid<'_>, jobs: usize, preflight: Option<&PreflightReport>) {
    // An error is ignored here, because executing the grid reports it.
    let missing = grid.missing().unwrap_or_default();
    if missing.is_empty() {
        return;
    }
    let mut costs = lrlab_grid::Costs::measured(grid.store, &grid.plan.runs);
    let measured = costs.estimate(missing.iter().copied(), jobs).unknown < missing.len();
    for run in &missing {
        if let Some(seen) = preflight.and_then(|preflight| preflight.of(run)) {
            costs.assume(run, seen.update_s * seen.updates_per_epoch as f64);
        }
    }
    let beginnings = grid.beginnings(&grid.plan.runs).unwrap_or_else(|_| vec![None; grid.plan.runs.len()]);
    let open: BTreeSet<&RunId> = missing.iter().map(|run| &run.run_id).collect();
    let runs = grid.plan.runs.iter().zip(&beginnings);
    let seconds = runs.filter(|(run, _)| open.contains(&run.run_id)).map(|(run, beginning)| {
        let reused = beginning.as_ref().map_or(0, |beginning| beginning.epochs);
        costs.left_s(run, reused.max(saved_epochs(grid.store, run)))
    });
    let estimate = costs.sum(seconds, jobs);
    let basis = if measured { "" } else { ", estimated from the first updates" };
    eprint_line(&match estimate.wall_s.zip(estimate.seconds) {
        Some((wall, all)) => format!(
            "{} to do, about {} with {jobs} at once ({} of work{basis})",
            counted(estimate.runs, "run"),
            clock(wall),
            clock(all)
        ),
        None => {
            format!(
                "{} to do, {jobs} at once; no run of this kind has been measured yet",
                counted(estimate.runs, "run")
            )
        }
    });
}

fn summary(grid: &Grid<'_>, outcome: &GridOutcome) -> String {
    let GridOutcome { done, executed, failed, missing, interrupted, common_failure, .. } = outcome;
    let total = done + failed.len() + missing;
    let mut text =
        format!("{}: {done} of {total} runs are done ({executed} in this call)", grid.plan.experiment);
    if !failed.is_empty() {
        let _ = write!(text, ", {} failed", failed.len());
    }
    if *missing > 0 {
        let _ = write!(text, ", {missing} are missing");
    }
    if *interrupted {
        text.push_str("; interrupted: the same command resumes");
    }
    if let Some(reason) = common_failure {
        let n = failed.len();
        let _ = write!(text, "; stopped because the first {n} runs failed for the same reason: {reason}");
    }
    for (index, failure) in failed {
        let run = &grid.plan.runs[*index];
        let _ = write!(text, "\n  {} {}: {}", run.run_id.short(), label(&run.cell), failure.message);
    }
    text
}
