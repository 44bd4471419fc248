//! The state of a running grid.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use lrlab_runs::{PlannedRun, RunStore};

use super::active::Active;
use crate::child::Output;
use crate::common_failure::CommonFailure;
use crate::gpu;
use crate::queue::Queue;
use crate::slots::Slots;
use crate::{
    Assignment, ClaimMonitor, Costs, Estimate, Failure, GridOutcome, LocalExecutor, Machine, Notice,
    OnFailure, WorkerCommand, Workload,
};

/// A running grid.
pub(super) struct Grid<'a> {
    pub(super) executor: &'a LocalExecutor,
    pub(super) store: &'a RunStore,
    pub(super) workload: Workload<'a>,
    pub(super) worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
    pub(super) observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    pub(super) output: (Sender<Output>, Receiver<Output>),
    pub(super) threads: usize,
    pub(super) costs: Costs,
    pub(super) claims: ClaimMonitor,
    pub(super) common_failure: CommonFailure,
    pub(super) slots: Slots,
    pub(super) queue: Queue,
    /// Runs that wait for the shorter ones that they continue.
    pub(super) blocked: Vec<usize>,
    pub(super) active: Vec<Active>,
    /// Runs that other processes have claimed, and whether their owners are known to be alive.
    pub(super) elsewhere: Vec<(usize, bool)>,
    /// Runs to try again after a delay.
    pub(super) delayed: Vec<(Instant, usize)>,
    pub(super) last_poll: Instant,
    pub(super) started: u64,
    /// The number of stop requests that were sent to the workers.
    pub(super) stop_requests: u32,
    /// Whether the stop was requested because of the time limit.
    pub(super) out_of_time: bool,
    pub(super) end: GridOutcome,
}

impl<'a> Grid<'a> {
    pub(super) fn new(
        executor: &'a LocalExecutor,
        store: &'a RunStore,
        workload: Workload<'a>,
        worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
        observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    ) -> Self {
        let mut queue = Queue::new(workload.runs, &workload.beginnings, workload.first);
        let (mut blocked, mut end) = (Vec::new(), GridOutcome::default());
        for (index, run) in workload.runs.iter().enumerate() {
            if store.is_finished(&run.run_id) {
                end.done += 1;
            } else if workload
                .shorter(index)
                .is_some_and(|shorter| !store.is_finished(&workload.runs[shorter].run_id))
            {
                blocked.push(index);
            } else {
                queue.push(index);
            }
        }
        let devices = match &workload.memory {
            None => Slots::even(executor.jobs, executor.devices),
            Some(memory) => gpu::devices(&memory.free_mib, executor.devices),
        };
        Self {
            executor,
            store,
            worker,
            observe,
            output: channel(),
            threads: executor.threads.unwrap_or_else(|| Machine::detect().threads(executor.jobs)),
            costs: Costs::measured(store, workload.runs),
            claims: ClaimMonitor::new(executor.claim_timeout),
            common_failure: CommonFailure::new(executor.common_failures),
            slots: Slots::new(executor.jobs, devices),
            queue,
            blocked,
            workload,
            active: Vec::new(),
            elsewhere: Vec::new(),
            delayed: Vec::new(),
            last_poll: Instant::now(),
            started: 0,
            stop_requests: 0,
            out_of_time: false,
            end,
        }
    }

    /// Returns the device memory that the run needs, if known: the maximum of the preflight's and the measured value.
    pub(super) fn need(&self, index: usize) -> Option<u64> {
        let memory = self.workload.memory.as_ref()?;
        let seen = memory.peak_mib.get(index).copied().flatten();
        seen.max(self.costs.device_mib(&self.workload.runs[index])).map(gpu::need)
    }

    /// Returns whether an unfinished run continues this one.
    pub(super) fn is_continued(&self, index: usize) -> bool {
        (0..self.workload.runs.len()).any(|longer| self.workload.shorter(longer) == Some(index))
    }

    /// Queues the runs that wait for a run that has ended, regardless of its outcome.
    pub(super) fn release(&mut self, shorter: usize) {
        let workload = &self.workload;
        let released = self.blocked.extract_if(.., |longer| workload.shorter(*longer) == Some(shorter));
        released.for_each(|longer| self.queue.push(longer));
    }

    /// Returns the number of runs that wait for a run that another process has claimed.
    pub(super) fn blocked_elsewhere(&self) -> usize {
        let root = |index: usize| {
            std::iter::successors(Some(index), |index| self.workload.shorter(*index))
                .find(|index| !self.blocked.contains(index))
        };
        let elsewhere = |index: &&usize| {
            root(**index).is_some_and(|root| self.elsewhere.iter().any(|(index, _)| *index == root))
        };
        self.blocked.iter().filter(elsewhere).count()
    }

    pub(super) fn failed(&mut self, index: usize, failure: Failure) {
        let nothing_done = self.end.executed == 0;
        self.end.common_failure =
            self.end.common_failure.take().or_else(|| self.common_failure.add(&failure, nothing_done));
        self.end.failed.push((index, failure));
        let stop = self.executor.on_failure == OnFailure::FailFast || self.end.common_failure.is_some();
        if stop && self.stop_requests == 0 {
            self.stop_workers(1);
        }
    }

    pub(super) fn stop_workers(&mut self, requests: u32) {
        self.stop_requests = requests;
        for active in &mut self.active {
            if requests > 1 { active.worker.kill() } else { active.worker.stop() }
        }
    }

    pub(super) fn left(&self) -> Estimate {
        let active = self.active.iter().map(|active| active.index);
        let others = self.elsewhere.iter().map(|(index, _)| *index);
        let delayed = self.delayed.iter().map(|(_, index)| *index);
        let blocked = self.blocked.iter().copied();
        let indices = self.queue.waiting().chain(others).chain(delayed).chain(active).chain(blocked);
        self.costs.sum(self.queue.seconds(indices, &self.costs), self.executor.jobs)
    }
}
