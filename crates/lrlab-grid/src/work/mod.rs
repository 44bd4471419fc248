//! Runs a grid on this machine: the work. One thread looks after all workers; each look at a run's files decides anew
//! what to do with it.

mod active;
mod look;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use lrlab_runs::{PlannedRun, RunStore};

use self::active::Active;
use self::look::Look;
use crate::alike::Alike;
use crate::child::Output;
use crate::gpu;
use crate::places::Places;
use crate::queue::Queue;
use crate::{
    Assignment, Costs, Error, Estimate, Failure, Finish, Interrupt, LocalExecutor, Machine, Notice,
    OnFailure, Others, Patience, Share, WorkerCommand,
};

/// Between two looks at runs that other processes have.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Grid<'a> {
    executor: &'a LocalExecutor,
    store: &'a RunStore,
    share: Share<'a>,
    worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
    observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    output: (Sender<Output>, Receiver<Output>),
    threads: usize,
    costs: Costs,
    patience: Patience,
    alike: Alike,
    places: Places,
    queue: Queue,
    active: Vec<Active>,
    /// Runs that other processes have, and whether these were seen to live.
    away: Vec<(usize, bool)>,
    /// Runs that are tried again a little later.
    resting: Vec<(Instant, usize)>,
    looked: Instant,
    started: u64,
    /// How often the workers were asked to stop.
    asked: u32,
    /// The time limit asked.
    out_of_time: bool,
    end: Finish,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(
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

    pub(crate) fn work(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        loop {
            self.heed(interrupt);
            if self.asked == 0 {
                self.wake();
                self.fill()?;
            }
            if self.active.is_empty() && (self.asked > 0 || !self.waiting()) {
                return Ok(());
            }
            self.listen();
            self.end_silent_ones();
            self.reap()?;
        }
    }

    /// Whether something may still come to be done here.
    fn waiting(&self) -> bool {
        let away = match self.executor.others {
            Others::Wait => !self.away.is_empty(),
            Others::Leave => self.away.iter().any(|(_, lives)| !lives),
        };
        away || !self.queue.is_empty() || !self.resting.is_empty()
    }

    /// Passes the wish to stop on to the workers.
    fn heed(&mut self, interrupt: &Interrupt) {
        let asked = interrupt.asked().min(2);
        if asked > 0 {
            self.end.interrupted = true;
            self.out_of_time = interrupt.is_out_of_time();
        }
        if asked > self.asked {
            for active in &self.active {
                let notice = Notice::Asked { out_of_time: self.out_of_time };
                (self.observe)(&self.share.runs[active.index], notice);
            }
            self.stop_workers(asked);
        }
    }

    fn stop_workers(&mut self, asked: u32) {
        self.asked = asked;
        for active in &mut self.active {
            if asked > 1 { active.worker.kill() } else { active.worker.stop() }
        }
    }

    /// Puts runs back into the queue that are to be looked at again.
    fn wake(&mut self) {
        let now = Instant::now();
        let awake = self.resting.extract_if(.., |(until, _)| *until <= now);
        awake.for_each(|(_, index)| self.queue.push(index));
        if !self.away.is_empty() && self.looked.elapsed() >= LOOK {
            self.looked = now;
            self.away.drain(..).for_each(|(index, _)| self.queue.push(index));
        }
    }

    /// Starts workers while there is room.
    fn fill(&mut self) -> Result<(), Error> {
        while self.asked == 0 && self.places.free() {
            let Some(index) = self.queue.pop(&self.costs) else { break };
            let run = &self.share.runs[index];
            match self.look(index)? {
                Look::Ours { attempt, alone } => self.start(index, attempt, alone)?,
                Look::Crowded => {
                    self.queue.push(index);
                    break;
                }
                Look::Away { owner, lives } => {
                    (self.observe)(run, Notice::Elsewhere(owner.as_ref()));
                    self.away.push((index, lives));
                }
                Look::Rest(rest) => self.resting.push((Instant::now() + rest, index)),
                Look::Late => self.end.out_of_time = true,
                Look::Stopping => self.end.interrupted = true,
                Look::Paused => self.end.paused += 1,
                Look::Done => {
                    (self.observe)(run, Notice::EndedElsewhere(None));
                    self.end.done += 1;
                }
                Look::Failed(failure) => {
                    (self.observe)(run, Notice::EndedElsewhere(Some(&failure)));
                    self.failed(index, *failure);
                }
            }
        }
        Ok(())
    }

    /// Memory that the run will take of its device, where something is known of it. More counts than was seen first.
    fn need(&self, index: usize) -> Option<u64> {
        let memory = self.share.memory.as_ref()?;
        let seen = memory.peak_mib.get(index).copied().flatten();
        seen.max(self.costs.device_mib(&self.share.runs[index])).map(gpu::need)
    }

    fn failed(&mut self, index: usize, failure: Failure) {
        let nothing_done = self.end.executed == 0;
        self.end.alike = self.end.alike.take().or_else(|| self.alike.add(&failure, nothing_done));
        self.end.failed.push((index, failure));
        let stop = self.executor.on_failure == OnFailure::FailFast || self.end.alike.is_some();
        if stop && self.asked == 0 {
            self.stop_workers(1);
        }
    }

    fn left(&self) -> Estimate {
        let active = self.active.iter().map(|active| active.index);
        let others = self.away.iter().map(|(index, _)| *index);
        let resting = self.resting.iter().map(|(_, index)| *index);
        let indices = self.queue.waiting().chain(others).chain(resting).chain(active);
        self.costs.sum(self.queue.seconds(indices, &self.costs), self.executor.jobs)
    }

    /// After an error of the grid's own: no worker is left behind.
    pub(crate) fn abandon(&mut self) {
        self.stop_workers(1);
        self.active.iter_mut().for_each(|active| active.worker.wait());
    }

    pub(crate) fn finish(mut self) -> Finish {
        self.end.missing = self.share.runs.len() - self.end.done - self.end.failed.len() - self.end.paused;
        self.end.elsewhere = self.away.len();
        self.end.interrupted &= self.end.missing > 0;
        self.end
    }
}
