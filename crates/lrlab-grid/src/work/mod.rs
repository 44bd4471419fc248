//! Runs a grid on this machine: the work. One thread looks after all workers; each look at a run's files decides anew
//! what to do with it.

mod active;
mod grid;
mod look;
mod workers;

use std::time::{Duration, Instant};

use lrlab_runs::{PlannedRun, RunStore};

use self::grid::Grid;
use self::look::Look;
use crate::{Assignment, Error, Finish, Interrupt, LocalExecutor, Notice, Others, Share, WorkerCommand};

/// Between two looks at runs that other processes have.
const LOOK: Duration = Duration::from_secs(1);

impl LocalExecutor {
    /// Runs every one of `runs` that is not done, and returns when each is done or failed, by this process or by
    /// others on the same store, or when `interrupt` was asked: once asks the workers to stop,
    /// twice kills them. Runs that failed in an earlier call are tried again.
    ///
    /// `worker` says how to start a worker. A worker prints one [`Event`](lrlab_runs::Event) per line, writes below its
    /// folder only, commits `result.json`, ends with 0, or with 85 after SIGTERM or the end of its standard input.
    /// `observe` is called from this thread.
    ///
    /// # Errors
    /// A worker cannot be started, or the store cannot be read or written. A run that fails is no error.
    pub fn run(
        &self,
        store: &RunStore,
        runs: &[PlannedRun],
        interrupt: &Interrupt,
        worker: impl Fn(&Assignment<'_>) -> WorkerCommand,
        observe: impl FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<Finish, Error> {
        self.run_share(store, Share::all(store, runs)?, interrupt, worker, observe)
    }

    /// As [`LocalExecutor::run`], where more is known about what others do: one of many on the same runs.
    ///
    /// # Errors
    /// As [`LocalExecutor::run`].
    pub fn run_share(
        &self,
        store: &RunStore,
        share: Share<'_>,
        interrupt: &Interrupt,
        worker: impl Fn(&Assignment<'_>) -> WorkerCommand,
        mut observe: impl FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<Finish, Error> {
        let mut grid = Grid::new(self, store, share, &worker, &mut observe);
        let end = grid.work(interrupt);
        if end.is_err() {
            grid.abandon();
        }
        end.map(|()| grid.finish())
    }
}

impl Grid<'_> {
    fn work(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
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

    /// After an error of the grid's own: no worker is left behind.
    fn abandon(&mut self) {
        self.stop_workers(1);
        self.active.iter_mut().for_each(|active| active.worker.wait());
    }

    fn finish(mut self) -> Finish {
        self.end.missing = self.share.runs.len() - self.end.done - self.end.failed.len() - self.end.paused;
        self.end.elsewhere = self.away.len();
        self.end.interrupted &= self.end.missing > 0;
        self.end
    }
}
