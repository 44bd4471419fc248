//! Workers, from their start to what their end means.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lrlab_runs::write_atomic;

use super::active::Active;
use super::grid::Grid;
use crate::attempt::holds;
use crate::budget::{Standing, furthest, standing};
use crate::child::{Output, Worker, tail};
use crate::failure::{PAUSED, asked_to_stop};
use crate::live::Recorder;
use crate::plan::write_spec;
use crate::{Assignment, Attempt, Ending, Error, Failure, FailureKind, Notice, classify, to_json};

/// Between two looks at workers that say nothing.
const TICK: Duration = Duration::from_millis(50);
/// For the last words of a worker that ended, where something it started keeps its standard output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A worker that was asked to stop from outside, before it could listen, was asked together with this process, as
/// `scancel` and a closed terminal do: that long its end is no failure.
const TOGETHER: Duration = Duration::from_secs(1);

impl Grid<'_> {
    pub(super) fn start(&mut self, index: usize, attempt: Attempt, alone: bool) -> Result<(), Error> {
        let run = &self.share.runs[index];
        let place = self.places.take(self.need(index), alone);
        let assignment = Assignment {
            run,
            attempt: attempt.number(),
            folder: attempt.folder(),
            threads: self.threads,
            slot: place.slot,
            device: place.device,
            until: self.share.until[index],
        };
        write_spec(self.store, run)?;
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
    pub(super) fn listen(&mut self) {
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

    pub(super) fn end_silent_ones(&mut self) {
        let Some(limit) = self.executor.silence else { return };
        for active in self.active.iter_mut().filter(|active| !active.hung && active.heard.elapsed() > limit) {
            active.hung = true;
            active.worker.kill();
        }
    }

    /// Looks after workers that ended.
    pub(super) fn reap(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            active.exited =
                active.exited.or_else(|| active.worker.exited().map(|status| (status, Instant::now())));
            match active.exited {
                Some((status, when))
                    if (active.closed || when.elapsed() > LAST_WORDS)
                        && (self.asked > 0 || !asked_to_stop(status) || when.elapsed() > TOGETHER) =>
                {
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
        let together = self.places.give_back(active.place);
        if matches!(&ending, Ending::Failed(failure) if failure.kind == FailureKind::OutOfMemory)
            && let Some(most) = self.places.fewer(active.place.device, together)
        {
            tracing::warn!(
                "memory ran out with {together} runs at once on a device; it gets {most} from now on"
            );
        }
        // Whoever took the run over meanwhile has the last word on it.
        let ours = holds(&folder, active.attempt.number())?;
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
        if self.store.is_finished(&self.share.runs[active.index].run_id) {
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
            Some(failure) if self.asked > 0 && (failure.signal == Some(9) || asked_to_stop(status)) => {
                Ending::Interrupted
            }
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
}
