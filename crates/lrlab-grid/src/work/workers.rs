//! Starts workers, reads their events and handles their exit.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lrlab_runs::{KeptFor, PlannedRun, RunId, kept_penultimate, remove_penultimate, write_atomic};

use super::active::Active;
use super::grid::Grid;
use crate::attempt::holds;
use crate::child::{Output, Worker, tail};
use crate::failure::{PAUSED, stopped_by_signal};
use crate::plan::write_spec;
use crate::progress::Recorder;
use crate::retry::{RetryDecision, furthest, retry_decision};
use crate::{
    Assignment, Attempt, Beginning, Ending, Error, Failure, FailureKind, Notice, Workload, classify, to_json,
};

/// The interval between two checks of silent workers.
const TICK: Duration = Duration::from_millis(50);
/// How long to wait for the last output of an ended worker whose children keep its standard output open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// How long to wait before a worker that ended by a signal counts as failed: `scancel` and a closing terminal also signal
/// this process, which then is interrupted.
const SIGNAL_GRACE: Duration = Duration::from_secs(1);

/// The file of the failure of the last attempt.
const FAILURE: &str = "failure.json";

impl Grid<'_> {
    pub(super) fn start(&mut self, index: usize, attempt: Attempt, exclusive: bool) -> Result<(), Error> {
        let run = &self.workload.runs[index];
        let slot = self.slots.take(self.need(index), exclusive);
        let assignment = Assignment {
            run,
            attempt: attempt.number(),
            folder: attempt.folder(),
            threads: self.threads,
            slot: slot.index,
            device: slot.device,
            until: self.workload.until[index],
            continues: self.workload.beginnings[index].as_ref().map(|beginning| &beginning.run_id),
            continued: self.is_continued(index),
        };
        write_spec(self.store, run)?;
        // The failure of an earlier attempt, which usually does not exist.
        drop(std::fs::remove_file(self.store.run_dir(&run.run_id).join(FAILURE)));
        let command = (self.worker)(&assignment);
        let number = self.started;
        let log = attempt.folder().join("log.txt");
        let worker = Worker::start(number, &command, self.threads, &log, self.output.0.clone())?;
        self.started += 1;
        self.end.started += 1;
        (self.observe)(run, Notice::Started { attempt: attempt.number() });
        self.active.push(Active {
            number,
            index,
            slot,
            attempt,
            worker,
            recorder: Recorder::new(),
            error: None,
            last_event: Instant::now(),
            hung: false,
            closed: false,
            exited: None,
        });
        Ok(())
    }

    /// Waits briefly for events of workers and passes them on.
    pub(super) fn read_events(&mut self) {
        let mut next = self.output.1.recv_timeout(TICK).ok();
        while let Some(output) = next {
            let number = output.number();
            if let Some(active) = self.active.iter_mut().find(|active| active.number == number) {
                match output {
                    Output::Event(_, event) => {
                        if let lrlab_runs::Event::Failed { error } = &event {
                            active.error = Some(error.clone());
                        }
                        active.last_event = Instant::now();
                        let update = active.recorder.record(&event, active.attempt.folder());
                        active.attempt.note_update(update);
                        (self.observe)(&self.workload.runs[active.index], Notice::Event(&event));
                    }
                    Output::Closed(_) => active.closed = true,
                }
            }
            next = self.output.1.try_recv().ok();
        }
    }

    pub(super) fn kill_hung(&mut self) {
        let Some(limit) = self.executor.silence else { return };
        for active in
            self.active.iter_mut().filter(|active| !active.hung && active.last_event.elapsed() > limit)
        {
            active.hung = true;
            active.worker.kill();
        }
    }

    /// Handles workers that ended.
    pub(super) fn reap(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            active.exited =
                active.exited.or_else(|| active.worker.exited().map(|status| (status, Instant::now())));
            match active.exited {
                Some((status, when))
                    if (active.closed || when.elapsed() > OUTPUT_GRACE)
                        && (self.stop_requests > 0
                            || !stopped_by_signal(status)
                            || when.elapsed() > SIGNAL_GRACE) =>
                {
                    let active = self.active.swap_remove(at);
                    self.ended(active, status)?;
                }
                _ => at += 1,
            }
        }
        Ok(())
    }

    /// Removes the state of the shorter run that a finished run continued, once no other run needs it.
    fn remove_beginning(&self, index: usize) -> Result<(), Error> {
        let Workload { runs, beginnings, continued_elsewhere, .. } = &self.workload;
        let Some(Beginning { run_id, .. }) = &beginnings[index] else { return Ok(()) };
        let folder = self.store.run_dir(run_id);
        let is_for_plan = matches!(kept_penultimate(&folder), Some((_, KeptFor::Plan)));
        let needed = |(run, beginning): (&PlannedRun, &Option<Beginning>)| {
            beginning.as_ref().is_some_and(|other| other.run_id == *run_id)
                && !self.store.is_finished(&run.run_id)
        };
        let elsewhere =
            |(shorter, longer): &(RunId, RunId)| shorter == run_id && !self.store.is_finished(longer);
        if !is_for_plan
            || continued_elsewhere.iter().any(elsewhere)
            || runs.iter().zip(beginnings).any(needed)
        {
            return Ok(());
        }
        Ok(remove_penultimate(&folder)?)
    }

    fn ended(&mut self, active: Active, status: ExitStatus) -> Result<(), Error> {
        let (index, seconds) = (active.index, active.attempt.elapsed().as_secs_f64());
        let run = &self.workload.runs[index];
        let folder = self.store.run_dir(&run.run_id);
        let ending = self.ending(&active, status)?;
        let together = self.slots.release(active.slot);
        if matches!(&ending, Ending::Failed(failure) if failure.kind == FailureKind::OutOfMemory)
            && let Some(most) = self.slots.reduce(active.slot.device, together)
        {
            tracing::warn!(
                "a device ran out of memory with {together} concurrent runs; its limit is now {most}"
            );
        }
        // A process that has taken over the run takes precedence.
        let ours = holds(&folder, active.attempt.number())?;
        let failure_file = folder.join(FAILURE);
        match &ending {
            Ending::Failed(failure) if ours => {
                write_atomic(&failure_file, &to_json(&failure_file, failure)?)?;
            }
            // The file usually does not exist.
            Ending::Done => drop(std::fs::remove_file(&failure_file)),
            Ending::Interrupted | Ending::Paused if ours => drop(std::fs::remove_file(&failure_file)),
            Ending::Interrupted | Ending::Paused | Ending::Failed(_) => {}
        }
        active.attempt.end(ending.clone())?;
        let given_up = match (&ending, ours) {
            (Ending::Done | Ending::Paused, _) | (_, false) => false,
            _ => !matches!(retry_decision(&folder, self.workload.since[index])?, RetryDecision::Retry { .. }),
        };
        let ended = matches!(ending, Ending::Done | Ending::Paused);
        let again = !ended && self.stop_requests == 0 && !given_up;
        if again {
            self.queue.push(index);
        } else {
            self.release(index);
        }
        if ending == Ending::Done {
            self.end.done += 1;
            self.end.executed += 1;
            self.costs.add(self.store, run);
            self.remove_beginning(index)?;
        }
        let left = self.left();
        (self.observe)(run, Notice::Ended { ending: &ending, seconds, again, left });
        match ending {
            Ending::Failed(failure) if given_up => self.failed(index, *failure),
            // The worker stopped repeatedly without a request by this process; a later call resumes the run.
            Ending::Interrupted if given_up => self.end.interrupted |= self.stop_requests == 0,
            Ending::Paused => self.end.paused += 1,
            _ => {}
        }
        Ok(())
    }

    /// Returns how the worker ended; the files of the run take precedence over the exit code.
    fn ending(&self, active: &Active, status: ExitStatus) -> Result<Ending, Error> {
        let run_dir = self.store.run_dir(&self.workload.runs[active.index].run_id);
        if self.store.is_finished(&self.workload.runs[active.index].run_id) {
            return Ok(Ending::Done);
        }
        if status.code() == Some(PAUSED) {
            return Ok(Ending::Paused);
        }
        let (number, updates) = (active.attempt.number(), active.attempt.updates());
        let log_tail = tail(&active.attempt.folder().join("log.txt"));
        if active.hung {
            let limit = self.executor.silence.unwrap_or_default().as_secs_f64();
            let message = format!("no output for {limit:.0} s: killed");
            return Ok(Ending::Failed(Box::new(Failure::timeout(number, message, log_tail))));
        }
        let ending = match classify(number, status, active.error.as_deref(), &log_tail) {
            None => Ending::Interrupted,
            // A worker that was killed by our signal also counts as interrupted.
            Some(failure)
                if self.stop_requests > 0 && (failure.signal == Some(9) || stopped_by_signal(status)) =>
            {
                Ending::Interrupted
            }
            Some(failure) => Ending::Failed(Box::new(failure)),
        };
        if ending == Ending::Interrupted && self.out_of_time {
            let before = furthest(&run_dir, number)?;
            if let Some(before) = before.filter(|before| updates <= *before) {
                let message = format!(
                    "the time limit was reached after {updates} updates, but an earlier attempt had completed {before}: \
                    the limit is too short for this run"
                );
                return Ok(Ending::Failed(Box::new(Failure::timeout(number, message, log_tail))));
            }
        }
        Ok(ending)
    }
}
