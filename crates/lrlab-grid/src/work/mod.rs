//! Runs a grid on this machine. One thread supervises all workers, and derives every decision about a run from its files.

mod active;
mod claim;
mod grid;
mod workers;

use std::time::{Duration, Instant};

use lrlab_runs::{PlannedRun, RunStore};

use self::claim::Claim;
use self::grid::Grid;
use crate::{
    Assignment, Error, GridOutcome, Interrupt, LocalExecutor, Notice, Others, WorkerCommand, Workload,
};

/// The interval between two checks of runs that other processes have claimed.
const POLL: Duration = Duration::from_secs(1);

impl LocalExecutor {
    /// Executes the runs that are not done. Returns when each is done or failed, by this process or by others on the same
    /// store, or after a request to stop: the first request stops the workers, the second kills them. Runs that failed in
    /// an earlier call are retried.
    ///
    /// `worker` describes how to start a worker. A worker prints one [`Event`](lrlab_runs::Event) per line, writes
    /// only below its folder, commits `result.json`, and exits with 0, or with 85 after SIGTERM or the end of its
    /// standard input. `observe` is called from this thread.
    ///
    /// # Errors
    /// Returns an error if a worker cannot be started, or the store cannot be read or written. A failed run is not an error.
    pub fn run(
        &self,
        store: &RunStore,
        runs: &[PlannedRun],
        interrupt: &Interrupt,
        worker: impl Fn(&Assignment<'_>) -> WorkerCommand,
        observe: impl FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<GridOutcome, Error> {
        self.run_workload(store, Workload::all(store, runs)?, interrupt, worker, observe)
    }

    /// Like [`LocalExecutor::run`], for one of several executors that share the runs.
    ///
    /// # Errors
    /// Returns the errors of [`LocalExecutor::run`].
    pub fn run_workload(
        &self,
        store: &RunStore,
        workload: Workload<'_>,
        interrupt: &Interrupt,
        worker: impl Fn(&Assignment<'_>) -> WorkerCommand,
        mut observe: impl FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<GridOutcome, Error> {
        let mut grid = Grid::new(self, store, workload, &worker, &mut observe);
        let end = grid.work(interrupt);
        if end.is_err() {
            grid.stop_all();
        }
        end.map(|()| grid.finish())
    }
}

impl Grid<'_> {
    fn work(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        loop {
            self.forward_stop(interrupt);
            if self.stop_requests == 0 {
                self.requeue();
                self.start_workers()?;
            }
            if self.active.is_empty() && (self.stop_requests > 0 || !self.waiting()) {
                return Ok(());
            }
            self.read_events();
            self.kill_hung();
            self.reap()?;
        }
    }

    /// Returns whether this executor may still have runs to execute.
    fn waiting(&self) -> bool {
        let elsewhere = match self.executor.others {
            Others::Wait => !self.elsewhere.is_empty(),
            Others::Leave => self.elsewhere.iter().any(|(_, alive)| !alive),
        };
        elsewhere || !self.queue.is_empty() || !self.delayed.is_empty()
    }

    /// Forwards requests to stop to the workers.
    fn forward_stop(&mut self, interrupt: &Interrupt) {
        let requests = interrupt.requests().min(2);
        if requests > 0 {
            self.end.interrupted = true;
            self.out_of_time = interrupt.is_out_of_time();
        }
        if requests > self.stop_requests {
            for active in &self.active {
                let notice = Notice::StopRequested { out_of_time: self.out_of_time };
                (self.observe)(&self.workload.runs[active.index], notice);
            }
            self.stop_workers(requests);
        }
    }

    /// Queues the runs that are due for another check.
    fn requeue(&mut self) {
        let now = Instant::now();
        let awake = self.delayed.extract_if(.., |(until, _)| *until <= now);
        awake.for_each(|(_, index)| self.queue.push(index));
        if !self.elsewhere.is_empty() && self.last_poll.elapsed() >= POLL {
            self.last_poll = now;
            self.elsewhere.drain(..).for_each(|(index, _)| self.queue.push(index));
        }
    }

    /// Starts workers while there are free slots.
    fn start_workers(&mut self) -> Result<(), Error> {
        while self.stop_requests == 0 && self.slots.has_free() {
            let Some(index) = self.queue.pop(&self.costs) else { break };
            let run = &self.workload.runs[index];
            match self.claim(index)? {
                Claim::Held { attempt, exclusive } => self.start(index, attempt, exclusive)?,
                Claim::NoCapacity => {
                    self.queue.push(index);
                    break;
                }
                Claim::Elsewhere { owner, alive } => {
                    (self.observe)(run, Notice::Elsewhere(owner.as_ref().filter(|_| alive)));
                    self.elsewhere.push((index, alive));
                }
                Claim::Delayed(rest) => self.delayed.push((Instant::now() + rest, index)),
                Claim::OutOfTime => self.end.out_of_time = true,
                Claim::KeepsStopping => {
                    self.end.interrupted = true;
                    self.release(index);
                }
                Claim::Paused => {
                    self.end.paused += 1;
                    self.release(index);
                }
                Claim::Done => {
                    (self.observe)(run, Notice::EndedElsewhere(None));
                    self.end.done += 1;
                    self.release(index);
                }
                Claim::Failed(failure) => {
                    (self.observe)(run, Notice::EndedElsewhere(Some(&failure)));
                    self.failed(index, *failure);
                    self.release(index);
                }
            }
        }
        Ok(())
    }

    /// Stops all workers after an error of the executor.
    fn stop_all(&mut self) {
        self.stop_workers(1);
        self.active.iter_mut().for_each(|active| active.worker.wait());
    }

    fn finish(mut self) -> GridOutcome {
        self.end.missing = self.workload.runs.len() - self.end.done - self.end.failed.len() - self.end.paused;
        self.end.elsewhere = self.elsewhere.len() + self.blocked_elsewhere();
        self.end.interrupted &= self.end.missing > 0;
        self.end
    }
}
