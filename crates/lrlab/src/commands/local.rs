//! The runs of a plan on this machine: tried first, then done by workers, as many at once as fit.

use std::num::NonZeroUsize;

use candle_core::Device;
use lrlab_grid::{Assignment, Finish, Interrupt, LocalExecutor, Machine as Host, Notice, OnFailure, Share};
use lrlab_runs::{Plan, PlannedRun, RunStore};

use super::launch::{self, Launch};
use super::preflight::{Flown, Preflight};
use super::search;
use crate::options::Machine;
use crate::progress::{Progress, clock, tell};
use crate::{DeviceChoice, device};

/// What one run may need where it was not measured; small networks on small data stay well below.
const MEMORY_PER_RUN: u64 = 3 << 30;

/// A plan, and with what it is run.
pub(crate) struct Local<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a RunStore,
    pub(crate) machine: &'a Machine,
    /// What the machine's choice came to.
    pub(crate) device: &'a Device,
    /// Runs at once; `None` is as many as fit.
    pub(crate) jobs: Option<u16>,
    pub(crate) on_failure: OnFailure,
}

impl Local<'_> {
    /// Tries what the missing runs need, with a few examples where this is not the machine that will train. `None`:
    /// something is wrong, and it was told.
    pub(crate) fn preflight(&self, small: bool) -> anyhow::Result<Option<Flown>> {
        let preflight = Preflight {
            store: self.store,
            device: &device::name(self.device),
            small,
            threads: self.machine.threads.map(NonZeroUsize::get),
            kept: self.machine.keep.weights() as u64,
        };
        match preflight.fly(self.plan)? {
            Ok(flown) => {
                flown.notes().into_iter().for_each(|note| tell(&format!("warning: {note}")));
                Ok(Some(flown))
            }
            Err(wrong) => {
                for words in wrong {
                    tell(&format!("error: preflight: {words}"));
                }
                tell("nothing was started");
                Ok(None)
            }
        }
    }

    /// How workers are started.
    pub(crate) fn launch(&self) -> anyhow::Result<Launch> {
        let Machine { device, keep, checkpoint_every, .. } = self.machine;
        Launch::new(self.store, *device, self.device, keep.word(), &checkpoint_every.to_string())
    }

    /// Does the runs that are missing; each until the epoch that `until` names for it beside what a search says, or to its
    /// end.
    pub(crate) fn run(
        &self,
        launch: &Launch,
        flown: &Flown,
        interrupt: &Interrupt,
        until: impl Fn(&PlannedRun) -> Option<u64>,
    ) -> anyhow::Result<Finish> {
        let Self { plan, store, machine, .. } = self;
        let jobs = self.at_once(&launch.gpus, Some(flown));
        let executor = LocalExecutor {
            jobs,
            threads: machine.threads.map(NonZeroUsize::get),
            devices: launch.devices(),
            on_failure: self.on_failure,
            ..LocalExecutor::default()
        };
        let runs = search::asked_for(plan, store)?;
        let done = runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
        let total = runs.len();
        let device = launch.device_words();
        tell(&format!(
            "{}: {total} runs, {done} of {total} done, {jobs} at once on {device}",
            plan.experiment
        ));
        if plan.search.is_none() {
            self.estimate(jobs, Some(flown));
        }
        let mut progress = Progress::new(&runs, done);
        let mut observe = |run: &PlannedRun, notice: Notice<'_>| launch::show(&mut progress, run, notice);
        let keep = machine.keep.checkpoints();
        let stages = search::Stages { plan, store, keep, ours: &|_| true, wait: &|_| false };
        let finish = stages.run(|runs, stage| {
            let until =
                stage.into_iter().zip(runs).map(|(stage, run)| stage.or_else(|| until(run))).collect();
            // Who says how many has the last word on it.
            let memory = if self.jobs.is_none() { flown.memory(&launch.gpus, runs) } else { None };
            let share = Share { memory, ..search::share(store, runs, until)? };
            let command = |assignment: &Assignment<'_>| launch.command(assignment);
            Ok(executor.run_share(store, share, interrupt, command, &mut observe)?)
        });
        progress.close();
        finish
    }

    /// Runs at once. GPUs take as many as their memory holds of those that need least, and the executor sees to it that
    /// those that need more get it; the rest is a matter of cores and memory.
    pub(crate) fn at_once(&self, gpus: &[lrlab_grid::Gpu], flown: Option<&Flown>) -> usize {
        if let Some(jobs) = self.jobs {
            return usize::from(jobs);
        }
        let host = Host::detect();
        let memory = flown.and_then(Flown::memory_per_run).unwrap_or(MEMORY_PER_RUN);
        let fit = host.jobs(self.plan.runs.len(), memory);
        if self.device.is_cpu() {
            return fit;
        }
        let on_devices = match self.machine.device {
            DeviceChoice::Metal => 1,
            _ => lrlab_grid::at_once(gpus, flown.and_then(Flown::least_device_mib)),
        };
        on_devices.min(fit)
    }

    /// Says what the missing runs will take.
    pub(crate) fn estimate(&self, jobs: usize, flown: Option<&Flown>) {
        let Self { plan, store, .. } = self;
        let missing: Vec<_> = plan.runs.iter().filter(|run| !store.is_finished(&run.run_id)).collect();
        if missing.is_empty() {
            return;
        }
        let mut costs = lrlab_grid::Costs::measured(store, &plan.runs);
        let measured = costs.estimate(missing.iter().copied(), jobs).unknown < missing.len();
        for run in &missing {
            if let Some(seen) = flown.and_then(|flown| flown.of(run)) {
                costs.assume(run, seen.update_s * seen.updates_per_epoch as f64);
            }
        }
        let estimate = costs.estimate(missing.iter().copied(), jobs);
        let basis = if measured { "" } else { ", judged by the first updates" };
        tell(&match estimate.wall_s.zip(estimate.seconds) {
            Some((wall, all)) => format!(
                "{} runs to do, about {} with {jobs} at once ({} of work{basis})",
                estimate.runs,
                clock(wall),
                clock(all)
            ),
            None => {
                format!("{} runs to do, {jobs} at once; no run of this kind was measured yet", estimate.runs)
            }
        });
    }
}
