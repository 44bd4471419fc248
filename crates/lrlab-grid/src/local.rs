//! Runs a grid on this machine, one process per run.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use lrlab_runs::{Event, PlannedRun, RunStore, write_atomic};

use crate::attempt::newest;
use crate::child::{Output, Worker, tail};
use crate::failure::PAUSED;
use crate::queue::Queue;
use crate::{
    Acquired, Attempt, Costs, Ending, Error, Estimate, Failure, FailureKind, Interrupt, Life, Machine, Owner,
    Patience, WorkerCommand, classify, to_json,
};

/// Between two looks at workers that say nothing.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at runs that other processes have.
const LOOK: Duration = Duration::from_secs(1);
/// For the last words of a worker that ended, where something it started keeps its standard output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a failed run does to the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The others go on.
    #[default]
    KeepGoing,
    /// The others are asked to stop; what was not done begins again in a later call.
    FailFast,
}

/// Runs a grid on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalExecutor {
    /// Runs at once.
    pub jobs: usize,
    /// Threads per run; `None` divides the cores among the jobs.
    pub threads: Option<usize>,
    /// What a failed run does to the rest.
    pub on_failure: OnFailure,
    /// How long a claim of a process that cannot be seen from here (another machine) may be silent before it is
    /// taken over. Beats come every five seconds.
    pub patience: Duration,
}

impl Default for LocalExecutor {
    fn default() -> Self {
        Self { jobs: 1, threads: None, on_failure: OnFailure::KeepGoing, patience: Duration::from_mins(1) }
    }
}

/// What a worker is started for.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// The run.
    pub run: &'a PlannedRun,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Where the attempt may write.
    pub folder: &'a Path,
    /// Threads it should use.
    pub threads: usize,
    /// Which of the executor's places it has, 0 … `jobs` − 1: to spread runs over devices.
    pub slot: usize,
}

/// What an observer is told.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// A worker was started.
    Began {
        /// The attempt.
        attempt: u32,
    },
    /// The worker said something.
    Said(&'a Event),
    /// The worker ended.
    Ended {
        /// How.
        ending: &'a Ending,
        /// Seconds since it began.
        seconds: f64,
        /// It will be tried again.
        again: bool,
        /// What is left now.
        left: Estimate,
    },
    /// Another process works on it; it is waited for.
    Elsewhere(Option<&'a Owner>),
    /// Another process ended it, well (`None`) or with a failure.
    EndedElsewhere(Option<&'a Failure>),
}

/// How a grid ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finish {
    /// Runs that are done, those done before included.
    pub done: usize,
    /// Runs that this call did.
    pub executed: usize,
    /// Runs that failed, by their index.
    pub failed: Vec<(usize, Failure)>,
    /// Runs that paused where their worker was told to.
    pub paused: usize,
    /// Runs that are none of these.
    pub missing: usize,
    /// Runs are missing because someone asked to stop.
    pub interrupted: bool,
}

impl LocalExecutor {
    /// Runs every one of `runs` that is not done, and returns when each is done or failed, by this process or by
    /// others on the same store, or when `interrupt` was asked: once asks the workers to stop,
    /// twice kills them. Runs that failed in an earlier call are tried again.
    ///
    /// `worker` says how to start a worker. A worker prints one [`Event`] per line, writes below its folder only,
    /// commits `result.json`, ends with 0, or with 85 after SIGTERM or the end of its
    /// standard input. `observe` is called from this thread.
    ///
    /// # Errors
    /// A worker cannot be started, or the store cannot be read or written. A run that fails is no error.
    pub fn run(
        &self,
        store: &RunStore,
        runs: &[PlannedRun],
        interrupt: &Interrupt,
        worker: impl Fn(&Assignment<'_>) -> WorkerCommand,
        mut observe: impl FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<Finish, Error> {
        let mut grid = Grid::new(self, store, runs, &worker, &mut observe)?;
        let end = grid.work(interrupt);
        if end.is_err() {
            grid.abandon();
        }
        end.map(|()| grid.finish())
    }
}

/// A worker and what it works on.
struct Active {
    number: u64,
    index: usize,
    slot: usize,
    attempt: Attempt,
    worker: Worker,
    /// The error it reported itself.
    said: Option<String>,
    closed: bool,
    exited: Option<(ExitStatus, Instant)>,
}

/// What a look at a run's files came to.
enum Look {
    Done,
    Failed(Box<Failure>),
    Away(Option<Owner>),
    Ours(Attempt),
}

struct Grid<'a> {
    executor: &'a LocalExecutor,
    store: &'a RunStore,
    runs: &'a [PlannedRun],
    worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
    observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    output: (Sender<Output>, Receiver<Output>),
    threads: usize,
    costs: Costs,
    patience: Patience,
    queue: Queue,
    active: Vec<Active>,
    /// Runs that other processes have.
    away: Vec<usize>,
    looked: Instant,
    /// The newest attempt of each run that is no news: from before this call, or our own.
    known: Vec<u32>,
    /// How often this call tried each run.
    tries: Vec<u32>,
    started: u64,
    /// How often the workers were asked to stop.
    asked: u32,
    end: Finish,
}

impl<'a> Grid<'a> {
    fn new(
        executor: &'a LocalExecutor,
        store: &'a RunStore,
        runs: &'a [PlannedRun],
        worker: &'a dyn Fn(&Assignment<'_>) -> WorkerCommand,
        observe: &'a mut dyn FnMut(&PlannedRun, Notice<'_>),
    ) -> Result<Self, Error> {
        let (mut queue, mut known, mut end) = (Queue::new(runs), vec![0; runs.len()], Finish::default());
        for (index, run) in runs.iter().enumerate() {
            if store.is_done(&run.run_id) {
                end.done += 1;
            } else {
                known[index] =
                    newest(&store.run_dir(&run.run_id))?.filter(|n| n.exit.is_some()).map_or(0, |n| n.number);
                queue.push(index);
            }
        }
        Ok(Self {
            executor,
            store,
            runs,
            worker,
            observe,
            output: channel(),
            threads: executor.threads.unwrap_or_else(|| Machine::detect().threads(executor.jobs)),
            costs: Costs::measured(store, runs),
            patience: Patience::new(executor.patience),
            queue,
            active: Vec::new(),
            away: Vec::new(),
            looked: Instant::now(),
            known,
            tries: vec![0; runs.len()],
            started: 0,
            asked: 0,
            end,
        })
    }

    fn work(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        loop {
            self.heed(interrupt);
            if self.asked == 0 {
                self.fill()?;
            }
            let waiting = self.asked == 0 && !(self.queue.is_empty() && self.away.is_empty());
            if self.active.is_empty() && !waiting {
                return Ok(());
            }
            self.listen();
            self.reap()?;
        }
    }

    /// Passes the wish to stop on to the workers.
    fn heed(&mut self, interrupt: &Interrupt) {
        let asked = interrupt.asked().min(2);
        if asked > 0 {
            self.end.interrupted = true;
        }
        if asked > self.asked {
            self.stop_workers(asked);
        }
    }

    fn stop_workers(&mut self, asked: u32) {
        self.asked = asked;
        for active in &mut self.active {
            if asked > 1 { active.worker.kill() } else { active.worker.stop() }
        }
    }

    /// Starts workers while there is room.
    fn fill(&mut self) -> Result<(), Error> {
        if !self.away.is_empty() && self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.away.drain(..).for_each(|index| self.queue.push(index));
        }
        while self.asked == 0 && self.active.len() < self.executor.jobs.max(1) {
            let Some(index) = self.queue.pop(&self.costs) else { break };
            let run = &self.runs[index];
            match self.look(index)? {
                Look::Ours(attempt) => self.start(index, attempt)?,
                Look::Away(owner) => {
                    (self.observe)(run, Notice::Elsewhere(owner.as_ref()));
                    self.away.push(index);
                }
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

    /// Claims a run, unless it is done, or someone else has it, or they had it since this call began and it failed.
    fn look(&mut self, index: usize) -> Result<Look, Error> {
        let id = &self.runs[index].run_id;
        if self.store.is_done(id) {
            return Ok(Look::Done);
        }
        let folder = self.store.run_dir(id);
        let newest = newest(&folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        if let Some(newest) = newest {
            match newest.exit.map(|exit| exit.ending) {
                Some(Ending::Failed(failure)) if newest.number > self.known[index] => {
                    return Ok(Look::Failed(failure));
                }
                Some(_) => {}
                None => {
                    let gone = match newest.owner.life() {
                        Life::Alive => false,
                        Life::Dead => true,
                        Life::Unknown => {
                            self.patience.is_stale(id, newest.number, newest.touched, Instant::now())
                        }
                    };
                    if !gone {
                        return Ok(Look::Away(Some(newest.owner)));
                    }
                }
            }
        }
        let Acquired::Attempt(attempt) = Attempt::claim(&folder, next)? else { return Ok(Look::Away(None)) };
        self.known[index] = next;
        if self.store.is_done(id) {
            attempt.end(Ending::Done)?;
            return Ok(Look::Done);
        }
        Ok(Look::Ours(attempt))
    }

    fn start(&mut self, index: usize, attempt: Attempt) -> Result<(), Error> {
        let run = &self.runs[index];
        let slot = (0..self.executor.jobs)
            .find(|slot| self.active.iter().all(|active| active.slot != *slot))
            .unwrap_or(0);
        let assignment = Assignment {
            run,
            attempt: attempt.number(),
            folder: attempt.folder(),
            threads: self.threads,
            slot,
        };
        let command = (self.worker)(&assignment);
        let number = self.started;
        let log = attempt.folder().join("log.txt");
        let worker = Worker::start(number, &command, self.threads, &log, self.output.0.clone())?;
        self.started += 1;
        self.tries[index] += 1;
        (self.observe)(run, Notice::Began { attempt: attempt.number() });
        let active = Active { number, index, slot, attempt, worker, said: None, closed: false, exited: None };
        self.active.push(active);
        Ok(())
    }

    /// Waits a moment for what workers say, and passes it on.
    fn listen(&mut self) {
        let mut next = self.output.1.recv_timeout(TICK).ok();
        while let Some(output) = next {
            match output {
                Output::Event(number, event) => {
                    if let Some(active) = self.active.iter_mut().find(|active| active.number == number) {
                        if let Event::Failed { error } = &event {
                            active.said = Some(error.clone());
                        }
                        (self.observe)(&self.runs[active.index], Notice::Said(&event));
                    }
                }
                Output::Closed(number) => {
                    if let Some(active) = self.active.iter_mut().find(|active| active.number == number) {
                        active.closed = true;
                    }
                }
            }
            next = self.output.1.try_recv().ok();
        }
    }

    /// Looks after workers that ended.
    fn reap(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            active.exited =
                active.exited.or_else(|| active.worker.exited().map(|status| (status, Instant::now())));
            match active.exited {
                Some((status, when)) if active.closed || when.elapsed() > LAST_WORDS => {
                    let active = self.active.swap_remove(at);
                    self.ended(active, status)?;
                }
                _ => at += 1,
            }
        }
        Ok(())
    }

    fn ended(&mut self, active: Active, status: ExitStatus) -> Result<(), Error> {
        let (index, seconds) = (active.index, active.attempt.elapsed().as_secs_f64());
        let run = &self.runs[index];
        let folder = self.store.run_dir(&run.run_id);
        let ending = self.ending(&active, status);
        let failure_file = folder.join("failure.json");
        match &ending {
            // Not being there is the usual case.
            Ending::Done => drop(std::fs::remove_file(&failure_file)),
            Ending::Interrupted | Ending::Paused => {}
            Ending::Failed(failure) => write_atomic(&failure_file, &to_json(&failure_file, failure)?)?,
        }
        active.attempt.end(ending.clone())?;
        let budget = match &ending {
            Ending::Done | Ending::Paused => 0,
            Ending::Interrupted => FailureKind::Killed.retries(),
            Ending::Failed(failure) => failure.kind.retries(),
        };
        let again = ending != Ending::Done && self.asked == 0 && self.tries[index] <= budget;
        if again {
            self.queue.push(index);
        }
        if ending == Ending::Done {
            self.end.done += 1;
            self.end.executed += 1;
            self.costs.add(self.store, run);
        }
        let left = self.left();
        (self.observe)(run, Notice::Ended { ending: &ending, seconds, again, left });
        match ending {
            Ending::Failed(failure) if !again => self.failed(index, *failure),
            // It stops each time and nobody here asked for it: the same command goes on later.
            Ending::Interrupted if !again => self.end.interrupted |= self.asked == 0,
            Ending::Paused => self.end.paused += 1,
            _ => {}
        }
        Ok(())
    }

    /// How the worker ended: what it left counts, not the code it left with.
    fn ending(&self, active: &Active, status: ExitStatus) -> Ending {
        if self.store.is_done(&self.runs[active.index].run_id) {
            return Ending::Done;
        }
        if status.code() == Some(PAUSED) {
            return Ending::Paused;
        }
        let log_tail = tail(&active.attempt.folder().join("log.txt"));
        match classify(active.attempt.number(), status, active.said.as_deref(), &log_tail) {
            None => Ending::Interrupted,
            // A worker that does not catch the signal we sent was interrupted all the same.
            Some(failure) if self.asked > 0 && matches!(failure.signal, Some(9 | 15)) => Ending::Interrupted,
            Some(failure) => Ending::Failed(Box::new(failure)),
        }
    }

    fn failed(&mut self, index: usize, failure: Failure) {
        self.end.failed.push((index, failure));
        if self.executor.on_failure == OnFailure::FailFast && self.asked == 0 {
            self.stop_workers(1);
        }
    }

    fn left(&self) -> Estimate {
        let active = self.active.iter().map(|active| active.index);
        let indices = self.queue.waiting().chain(self.away.iter().copied()).chain(active);
        self.costs.sum(self.queue.seconds(indices, &self.costs), self.executor.jobs)
    }

    /// After an error of the grid's own: no worker is left behind.
    fn abandon(&mut self) {
        self.stop_workers(1);
        self.active.iter_mut().for_each(|active| active.worker.wait());
    }

    fn finish(mut self) -> Finish {
        self.end.missing = self.runs.len() - self.end.done - self.end.failed.len() - self.end.paused;
        self.end.interrupted &= self.end.missing > 0;
        self.end
    }
}
