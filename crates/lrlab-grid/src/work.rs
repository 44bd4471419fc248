//! Runs a grid on this machine: the work. One thread looks after all workers; each look at a run's files decides anew
//! what to do with it.

use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use lrlab_runs::{PlannedRun, RunStore, write_atomic};

use crate::alike::Alike;
use crate::attempt::{Newest, holds, newest};
use crate::budget::{Standing, furthest, standing};
use crate::child::{Output, Worker, tail};
use crate::failure::PAUSED;
use crate::live::Recorder;
use crate::places::{Place, Places};
use crate::queue::Queue;
use crate::{
    Acquired, Assignment, Attempt, Costs, Ending, Error, Estimate, Failure, Finish, Interrupt, Life,
    LocalExecutor, Machine, Notice, OnFailure, Others, Owner, Patience, Share, Sign, WorkerCommand, classify,
    slurm, to_json,
};

/// Between two looks at workers that say nothing.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks at runs that other processes have.
const LOOK: Duration = Duration::from_secs(1);
/// For the last words of a worker that ended, where something it started keeps its standard output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A worker and what it works on.
struct Active {
    number: u64,
    index: usize,
    place: Place,
    attempt: Attempt,
    worker: Worker,
    recorder: Recorder,
    /// The error it reported itself.
    said: Option<String>,
    /// When it last said something.
    heard: Instant,
    /// It was ended for its silence.
    hung: bool,
    closed: bool,
    exited: Option<(ExitStatus, Instant)>,
}

/// What a look at a run's files came to.
enum Look {
    Done,
    Failed(Box<Failure>),
    Away {
        owner: Option<Owner>,
        lives: bool,
    },
    Rest(Duration),
    Stopping,
    Ours {
        attempt: Attempt,
        alone: bool,
    },
    /// It wants a device for itself, and none is free.
    Crowded,
    /// There is not enough time left for it.
    Late,
}

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
            if store.is_done(&run.run_id) {
                end.done += 1;
            } else {
                queue.push(index);
            }
        }
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
            places: Places::new(executor.jobs, executor.devices),
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

    /// Claims a run, unless it is done, or someone else has it, or it was tried often enough.
    fn look(&mut self, index: usize) -> Result<Look, Error> {
        let id = &self.share.runs[index].run_id;
        if self.store.is_done(id) {
            return Ok(Look::Done);
        }
        let folder = self.store.run_dir(id);
        let newest = newest(&folder)?;
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let mut alone = false;
        if let Some(newest) = newest {
            if newest.exit.is_none()
                && let Some(lives) = self.lives(index, &newest)
            {
                return Ok(Look::Away { owner: Some(newest.owner), lives });
            }
            match standing(&folder, self.share.since[index])? {
                Standing::Spent(failure) => return Ok(Look::Failed(failure)),
                Standing::Stopping => return Ok(Look::Stopping),
                Standing::Open { alone: on_its_own, rest } => {
                    // Counted from the last sign of life; where clocks disagree, it is no matter.
                    let over = newest.touched.elapsed().unwrap_or(rest);
                    let rest = rest.saturating_sub(over);
                    if !rest.is_zero() {
                        return Ok(Look::Rest(rest));
                    }
                    alone = on_its_own;
                }
            }
        }
        if !self.in_time(index) {
            return Ok(Look::Late);
        }
        if alone && !self.places.has_empty_device() {
            return Ok(Look::Crowded);
        }
        let Acquired::Attempt(attempt) = Attempt::claim(&folder, next)? else {
            return Ok(Look::Away { owner: None, lives: false });
        };
        if self.store.is_done(id) {
            attempt.end(Ending::Done)?;
            return Ok(Look::Done);
        }
        Ok(Look::Ours { attempt, alone })
    }

    /// Whether the owner of a claim that has not ended was seen to live; `None` where it is gone and the run may be
    /// taken over.
    fn lives(&mut self, index: usize, newest: &Newest) -> Option<bool> {
        match newest.owner.life() {
            Life::Alive => Some(true),
            Life::Dead => None,
            Life::Unknown => {
                let id = &self.share.runs[index].run_id;
                match self.patience.sign(id, newest.number, newest.touched, Instant::now()) {
                    Sign::Beating => Some(true),
                    Sign::Quiet => Some(false),
                    Sign::Stale => {
                        let job = newest.owner.slurm.as_ref();
                        job.is_some_and(|job| slurm::is_running(&job.job) == Some(true)).then_some(false)
                    }
                    Sign::Gone => None,
                }
            }
        }
    }

    /// Whether there is time for an epoch of the run, and for saving it.
    fn in_time(&self, index: usize) -> bool {
        // The first is begun in any case: without it nothing would ever get further.
        let Some(deadline) = self.executor.deadline.filter(|_| self.started > 0) else { return true };
        let epoch = self.costs.epoch_s(&self.share.runs[index]).unwrap_or(0.0);
        let left = deadline.at.saturating_duration_since(Instant::now());
        left.as_secs_f64() > epoch + deadline.margin.as_secs_f64()
    }

    fn start(&mut self, index: usize, attempt: Attempt, alone: bool) -> Result<(), Error> {
        let run = &self.share.runs[index];
        let place = self.places.take(alone);
        let assignment = Assignment {
            run,
            attempt: attempt.number(),
            folder: attempt.folder(),
            threads: self.threads,
            slot: place.slot,
            device: place.device,
        };
        crate::plan::write_spec(self.store, run)?;
        let command = (self.worker)(&assignment);
        let number = self.started;
        let log = attempt.folder().join("log.txt");
        let worker = Worker::start(number, &command, self.threads, &log, self.output.0.clone())?;
        self.started += 1;
        self.end.begun += 1;
        (self.observe)(run, Notice::Began { attempt: attempt.number() });
        self.active.push(Active {
            number,
            index,
            place,
            attempt,
            worker,
            recorder: Recorder::new(),
            said: None,
            heard: Instant::now(),
            hung: false,
            closed: false,
            exited: None,
        });
        Ok(())
    }

    /// Waits a moment for what workers say, and passes it on.
    fn listen(&mut self) {
        let mut next = self.output.1.recv_timeout(TICK).ok();
        while let Some(output) = next {
            let number = output.number();
            if let Some(active) = self.active.iter_mut().find(|active| active.number == number) {
                match output {
                    Output::Event(_, event) => {
                        if let lrlab_runs::Event::Failed { error } = &event {
                            active.said = Some(error.clone());
                        }
                        active.heard = Instant::now();
                        let update = active.recorder.hear(&event, active.attempt.folder());
                        active.attempt.reach(update);
                        (self.observe)(&self.share.runs[active.index], Notice::Said(&event));
                    }
                    Output::Closed(_) => active.closed = true,
                }
            }
            next = self.output.1.try_recv().ok();
        }
    }

    fn end_silent_ones(&mut self) {
        let Some(limit) = self.executor.silence else { return };
        for active in self.active.iter_mut().filter(|active| !active.hung && active.heard.elapsed() > limit) {
            active.hung = true;
            active.worker.kill();
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
        let run = &self.share.runs[index];
        let folder = self.store.run_dir(&run.run_id);
        let ending = self.ending(&active, status)?;
        self.places.give_back(active.place);
        // Whoever took the run over meanwhile has the last word on it.
        let ours = holds(active.attempt.folder())?;
        let failure_file = folder.join("failure.json");
        match &ending {
            // Not being there is the usual case.
            Ending::Done => drop(std::fs::remove_file(&failure_file)),
            Ending::Failed(failure) if ours => {
                write_atomic(&failure_file, &to_json(&failure_file, failure)?)?;
            }
            Ending::Interrupted | Ending::Paused | Ending::Failed(_) => {}
        }
        active.attempt.end(ending.clone())?;
        let given_up = match (&ending, ours) {
            (Ending::Done | Ending::Paused, _) | (_, false) => false,
            _ => !matches!(standing(&folder, self.share.since[index])?, Standing::Open { .. }),
        };
        let over = matches!(ending, Ending::Done | Ending::Paused);
        let again = !over && self.asked == 0 && !given_up;
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
            Ending::Failed(failure) if given_up => self.failed(index, *failure),
            // It stops each time and nobody here asked for it: the same command goes on later.
            Ending::Interrupted if given_up => self.end.interrupted |= self.asked == 0,
            Ending::Paused => self.end.paused += 1,
            _ => {}
        }
        Ok(())
    }

    /// How the worker ended: what it left counts, not the code it left with.
    fn ending(&self, active: &Active, status: ExitStatus) -> Result<Ending, Error> {
        let run_dir = self.store.run_dir(&self.share.runs[active.index].run_id);
        if run_dir.join("result.json").is_file() {
            return Ok(Ending::Done);
        }
        if status.code() == Some(PAUSED) {
            return Ok(Ending::Paused);
        }
        let (number, reached) = (active.attempt.number(), active.attempt.reached());
        let log_tail = tail(&active.attempt.folder().join("log.txt"));
        if active.hung {
            let limit = self.executor.silence.unwrap_or_default().as_secs_f64();
            let message = format!("said nothing for {limit:.0} s and was ended");
            return Ok(Ending::Failed(Box::new(Failure::timeout(number, message, log_tail))));
        }
        let ending = match classify(number, status, active.said.as_deref(), &log_tail) {
            None => Ending::Interrupted,
            // A worker that does not catch the signal we sent was interrupted all the same.
            Some(failure) if self.asked > 0 && matches!(failure.signal, Some(9 | 15)) => Ending::Interrupted,
            Some(failure) => Ending::Failed(Box::new(failure)),
        };
        if ending == Ending::Interrupted && self.out_of_time {
            let before = furthest(&run_dir, number)?;
            if let Some(before) = before.filter(|before| reached <= *before) {
                let message = format!(
                    "the time limit came after {reached} updates, and an earlier attempt had come to {before}: \
                     the limit is too short for this run"
                );
                return Ok(Ending::Failed(Box::new(Failure::timeout(number, message, log_tail))));
            }
        }
        Ok(ending)
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
