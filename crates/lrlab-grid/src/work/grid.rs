//! What a grid under way consists of.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use lrlab_runs::{PlannedRun, RunStore};

use super::active::Active;
use crate::alike::Alike;
use crate::child::Output;
use crate::gpu;
use crate::places::Places;
use crate::queue::Queue;
use crate::{
    Assignment, Costs, Estimate, Failure, Finish, LocalExecutor, Machine, Notice, OnFailure, Patience, Share,
    WorkerCommand,
};

/// A grid under way.
pub(super) struct Grid<'a> {
    pub(super) executor: &'a LocalExecutor,
    pub(super) store: &'a RunStore,
    pub(super) share: Share<'a>,
    pub(super) worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
    pub(super) observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    pub(super) output: (Sender<Output>, Receiver<Output>),
    pub(super) threads: usize,
    pub(super) costs: Costs,
    pub(super) patience: Patience,
    pub(super) alike: Alike,
    pub(super) places: Places,
    pub(super) queue: Queue,
    pub(super) active: Vec<Active>,
    /// Runs that other processes have, and whether these were seen to live.
    pub(super) away: Vec<(usize, bool)>,
    /// Runs that are tried again a little later.
    pub(super) resting: Vec<(Instant, usize)>,
    pub(super) looked: Instant,
    pub(super) started: u64,
    /// How often the workers were asked to stop.
    pub(super) asked: u32,
    /// The time limit asked.
    pub(super) out_of_time: bool,
    pub(super) end: Finish,
}

impl<'a> Grid<'a> {
    pub(super) fn new(
        executor: &'a LocalExecutor,
        store: &'a RunStore,
        share: Share<'a>,
        worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
        observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    ) -> Self {
        let (mut queue, mut end) = (Queue::new(share.runs, share.first), Finish::default());
        for (index, run) in share.runs.iter().enumerate() {
            if store.is_finished(&run.run_id) {
                end.done += 1;
            } else {
                queue.push(index);
            }
        }
        let devices = match &share.memory {
            None => Places::even(executor.jobs, executor.devices),
            Some(memory) => gpu::devices(&memory.free_mib, executor.devices),
        };
        Self {
            executor,
            store,
            worker,
            observe,
            output: channel(),
            threads: executor.threads.unwrap_or_else(|| Machine::detect().threads(executor.jobs)),
            costs: Costs::measured(store, share.runs),
            patience: Patience::new(executor.patience),
            alike: Alike::new(executor.alike),
            places: Places::new(executor.jobs, devices),
            queue,
            share,
            active: Vec::new(),
            away: Vec::new(),
            resting: Vec::new(),
            looked: Instant::now(),
            started: 0,
            asked: 0,
            out_of_time: false,
            end,
        }
    }

    /// Memory that the run will take of its device, where something is known of it. More counts than was seen first.
    pub(super) fn need(&self, index: usize) -> Option<u64> {
        let memory = self.share.memory.as_ref()?;
        let seen = memory.peak_mib.get(index).copied().flatten();
        seen.max(self.costs.device_mib(&self.share.runs[index])).map(gpu::need)
    }

    pub(super) fn failed(&mut self, index: usize, failure: Failure) {
        let nothing_done = self.end.executed == 0;
        self.end.alike = self.end.alike.take().or_else(|| self.alike.add(&failure, nothing_done));
        self.end.failed.push((index, failure));
        let stop = self.executor.on_failure == OnFailure::FailFast || self.end.alike.is_some();
        if stop && self.asked == 0 {
            self.stop_workers(1);
        }
    }

    pub(super) fn stop_workers(&mut self, asked: u32) {
        self.asked = asked;
        for active in &mut self.active {
            if asked > 1 { active.worker.kill() } else { active.worker.stop() }
        }
    }

    pub(super) fn left(&self) -> Estimate {
        let active = self.active.iter().map(|active| active.index);
        let others = self.away.iter().map(|(index, _)| *index);
        let resting = self.resting.iter().map(|(_, index)| *index);
        let indices = self.queue.waiting().chain(others).chain(resting).chain(active);
        self.costs.sum(self.queue.seconds(indices, &self.costs), self.executor.jobs)
    }
}
