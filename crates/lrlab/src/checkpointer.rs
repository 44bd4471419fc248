//! Writes the checkpoints of a run during training.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use lrlab_options::CheckpointEvery;
use lrlab_runs::{Checkpoint, Checkpoints, Event, Fingerprint, Step, WorkLog, write_penultimate};
use lrlab_train::{CheckpointAction, CheckpointPolicy, Error, Position, State};

use crate::reporter::Reporter;

/// Without an interval in updates or epochs, checkpoints are at least so many times their cost apart, and take at most 1/50
/// of the time. Writing in the background counts: it takes a core from training if all cores train, and on a GPU it delays
/// the kernels.
const TIMES_THE_COST: u32 = 50;
/// Without an interval, checkpoints are this part of the time since the start of the attempt apart, between these limits, so
/// that a run that is killed loses little of its work.
const PART_OF_THE_TIME: u32 = 50;
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(1);
/// The names of the files of a checkpoint.
pub(crate) const FILES: [&str; 2] = ["state.json", "tensors.safetensors"];

/// The checkpoint policy of `lrlab worker`. Periodic checkpoints are written in the background.
pub(crate) struct Checkpointer<'a> {
    pub(crate) every: CheckpointEvery,
    /// The epoch at which to pause.
    pub(crate) until: Option<u64>,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) work: Option<WorkLog>,
    /// The destination of the state before the last update, if it is needed.
    pub(crate) penultimate: Option<Penultimate>,
    pub(crate) reporter: &'a RefCell<Reporter>,
    writer: Writer,
    began: Instant,
    /// The last requested action and its time.
    requested: (CheckpointAction, Instant),
    last: LastSave,
    /// Whether the last write failed, which has been reported.
    failing: bool,
}

/// The destination of the penultimate state of an attempt.
pub(crate) struct Penultimate {
    /// The number of completed updates at which it is saved.
    pub(crate) update: u64,
    pub(crate) run_dir: PathBuf,
    pub(crate) attempt: u32,
    pub(crate) fingerprint: Fingerprint,
}

impl Penultimate {
    fn write(&self, state: &State) -> anyhow::Result<()> {
        let (metadata, tensors) = state.write()?;
        let at = Step { update: state.update(), epoch: state.epoch() };
        let files: [(&str, &[u8]); 2] = [(FILES[0], &metadata), (FILES[1], &tensors)];
        Ok(write_penultimate(&self.run_dir, self.attempt, &self.fingerprint, at, &files)?)
    }
}

/// The last saved state.
struct LastSave {
    update: u64,
    at: Instant,
    /// How long training was blocked.
    blocked: Duration,
    /// How long writing took.
    writing: Duration,
}

/// The owner of the checkpoints: the policy, or a background thread that writes one.
enum Writer {
    Idle(Checkpoints),
    Busy(JoinHandle<WriteOutcome>),
    /// The thread panicked.
    Lost,
}

struct WriteOutcome {
    checkpoints: Checkpoints,
    result: anyhow::Result<()>,
    duration: Duration,
}

impl<'a> Checkpointer<'a> {
    /// Creates the policy of a run that starts or resumes at `update`.
    pub(crate) fn new(checkpoints: Checkpoints, update: u64, reporter: &'a RefCell<Reporter>) -> Self {
        let now = Instant::now();
        Self {
            every: CheckpointEvery::default(),
            until: None,
            interrupt: Arc::default(),
            work: None,
            penultimate: None,
            reporter,
            writer: Writer::Idle(checkpoints),
            began: now,
            requested: (CheckpointAction::Continue, now),
            last: LastSave { update, at: now, blocked: Duration::ZERO, writing: Duration::ZERO },
            failing: false,
        }
    }

    /// Waits for the background thread and returns the checkpoints and the work log.
    pub(crate) fn finish(mut self) -> (Option<Checkpoints>, Option<WorkLog>) {
        let _ = self.join();
        let checkpoints = match self.writer {
            Writer::Idle(checkpoints) => Some(checkpoints),
            Writer::Busy(_) | Writer::Lost => None,
        };
        (checkpoints, self.work)
    }

    fn due(&self, at: &Position) -> bool {
        let new_updates = at.update.saturating_sub(self.last.update);
        let after = |interval: Duration| {
            let cost = (self.last.blocked + self.last.writing) * TIMES_THE_COST;
            new_updates > 0 && self.last.at.elapsed() >= interval.max(cost)
        };
        match self.every {
            CheckpointEvery::Auto => after(automatic(self.began.elapsed())),
            CheckpointEvery::Seconds(s) => after(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)),
            CheckpointEvery::Updates(n) => new_updates >= n,
            CheckpointEvery::Epochs(n) => at.between_epochs && at.epoch.is_multiple_of(n),
            CheckpointEvery::Never => false,
        }
    }

    /// Joins the background thread, if there is one, and returns the result of its write.
    fn join(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Busy(thread) => {
                let outcome =
                    thread.join().map_err(|_| anyhow::anyhow!("the thread that writes it panicked"))?;
                self.writer = Writer::Idle(outcome.checkpoints);
                self.last.writing = outcome.duration;
                outcome.result
            }
            writer => {
                self.writer = writer;
                Ok(())
            }
        }
    }

    /// Writes a state in a background thread.
    fn start_write(&mut self, state: State) {
        self.writer = match std::mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Idle(mut checkpoints) => Writer::Busy(std::thread::spawn(move || {
                let clock = Instant::now();
                let result = write(&mut checkpoints, &state);
                WriteOutcome { checkpoints, result, duration: clock.elapsed() }
            })),
            writer => writer,
        };
    }

    /// Reports a failed write, once until a write succeeds.
    fn report(&mut self, written: anyhow::Result<()>) {
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                let message = format!("failed to write the checkpoint: {error}; training continues");
                self.reporter.borrow_mut().report(&Event::Note { message });
            }
            Err(_) => {}
        }
    }
}

impl CheckpointPolicy for Checkpointer<'_> {
    fn check(&mut self, at: &Position) -> CheckpointAction {
        if let Some(log) = &mut self.work
            && let Err(error) = log.record(&at.work)
        {
            self.work = None;
            self.reporter.borrow_mut().report(&Event::Note { message: error.to_string() });
        }
        if matches!(&self.writer, Writer::Busy(thread) if thread.is_finished()) {
            let written = self.join();
            self.report(written);
        }
        let action = if self.interrupt.load(Ordering::Relaxed) {
            CheckpointAction::Interrupt
        } else if self.until.is_some_and(|epoch| at.epoch >= epoch) {
            CheckpointAction::Pause
        } else if self.penultimate.as_ref().is_some_and(|penultimate| penultimate.update == at.update)
            || (matches!(self.writer, Writer::Idle(_)) && self.due(at))
        {
            CheckpointAction::Save
        } else {
            CheckpointAction::Continue
        };
        self.requested = (action, Instant::now());
        action
    }

    /// A failed periodic checkpoint is reported and training continues, as the next one may succeed. A failed save at a pause
    /// is an error, because a later attempt depends on it.
    fn save(&mut self, state: State) -> Result<(), Error> {
        let (action, requested_at) = self.requested;
        let update = state.update();
        if let (CheckpointAction::Save, Some(penultimate)) =
            (action, self.penultimate.take_if(|penultimate| penultimate.update == update))
        {
            if let Err(error) = penultimate.write(&state) {
                let message = format!(
                    "failed to write the state before the last update: {error}; a longer run starts from scratch"
                );
                self.reporter.borrow_mut().report(&Event::Note { message });
            }
            return Ok(());
        }
        if action == CheckpointAction::Save {
            self.start_write(state);
        } else {
            // This write supersedes the one in the background.
            let _ = self.join();
            self.start_write(state);
            match self.join() {
                Err(error) if action == CheckpointAction::Pause => {
                    return Err(Error::Checkpoint(error.into()));
                }
                written => self.report(written),
            }
        }
        (self.last.update, self.last.at) = (update, Instant::now());
        self.last.blocked = requested_at.elapsed();
        Ok(())
    }
}

/// The interval of [`CheckpointEvery::Auto`], some time after the start.
fn automatic(since_start: Duration) -> Duration {
    (since_start / PART_OF_THE_TIME).clamp(SHORTEST, LONGEST)
}

fn write(checkpoints: &mut Checkpoints, state: &State) -> anyhow::Result<()> {
    let (metadata, tensors) = state.write()?;
    let at = Step { update: state.update(), epoch: state.epoch() };
    checkpoints.write(at, &[(FILES[0], &metadata), (FILES[1], &tensors)])?;
    Ok(())
}

/// Reads the state in a checkpoint.
pub(crate) fn read_state(checkpoint: &Checkpoint) -> anyhow::Result<State> {
    let place = checkpoint.folder.display();
    let file = |name: &str| checkpoint.files.get(name).with_context(|| format!("{place}: {name} is missing"));
    State::read(file(FILES[0])?, file(FILES[1])?).with_context(|| place.to_string())
}

/// Computes the digest of the running program in the background.
pub(crate) fn program_digest() -> JoinHandle<std::io::Result<String>> {
    std::thread::spawn(|| {
        let program =
            if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        lrlab_runs::file_digest(&program)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_intervals_grow_with_the_time_since_the_start() {
        for (since_start, interval) in [(0.0, 0.2), (9.0, 0.2), (100.0, 2.0), (3000.0, 60.0), (1e6, 60.0)] {
            assert_eq!(
                automatic(Duration::from_secs_f64(since_start)).as_secs_f64(),
                interval,
                "{since_start} s"
            );
        }
    }
}
