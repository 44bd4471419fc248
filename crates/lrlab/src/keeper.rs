//! Keeps the state of a run while it trains: when, where, and what is said where that fails.

use std::cell::RefCell;
use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lrlab_runs::{Checkpoints, Event, Moment, WorkLog};
use lrlab_train::{Error, Keeper, Position, State, Wish};

use crate::reporter::Reporter;

/// Where the default says when, training waits for checkpoints at most one part in so many of the time,
const WAITING: u32 = 50;
/// and they are written beside it at most one part in so many. From a GPU, what is written comes between training's own
/// kernels, so writing is waiting there.
const WRITING: u32 = 5;
/// The names of a checkpoint's files.
pub(crate) const FILES: [&str; 2] = ["state.json", "tensors.safetensors"];

/// When the state is kept, beside when the run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckpointEvery {
    /// So many seconds, and never so often that it costs training more than 2 % of the time.
    Seconds(f64),
    /// So many updates.
    Updates(u64),
    /// So many epochs.
    Epochs(u64),
    /// Only then.
    Never,
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        Self::Seconds(0.2)
    }
}

impl FromStr for CheckpointEvery {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let count = || number.parse().ok().filter(|&n: &u64| n > 0);
        let every = match unit.trim() {
            "" if number == "never" => Some(Self::Never),
            "s" | "second" | "seconds" => {
                number.parse().ok().filter(|s: &f64| *s >= 0.0 && s.is_finite()).map(Self::Seconds)
            }
            "update" | "updates" => count().map(Self::Updates),
            "epoch" | "epochs" => count().map(Self::Epochs),
            _ => None,
        };
        every.ok_or_else(|| {
            format!(
                "{text:?} is no interval: expected \"5 seconds\", \"200 updates\", \"1 epoch\" or \"never\""
            )
        })
    }
}

impl Display for CheckpointEvery {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seconds(n) => write!(f, "{n} seconds"),
            Self::Updates(n) => write!(f, "{n} updates"),
            Self::Epochs(n) => write!(f, "{n} epochs"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// A run's keeper, as `lrlab worker` has it. Checkpoints on the way are written beside the training.
pub(crate) struct RunKeeper<'a> {
    pub(crate) every: CheckpointEvery,
    /// The state is written without holding training up: it does not lie on a GPU.
    pub(crate) beside: bool,
    /// Pause at this epoch.
    pub(crate) until: Option<u64>,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) work: Option<WorkLog>,
    pub(crate) reporter: &'a RefCell<Reporter>,
    writer: Writer,
    /// What was asked for last, and when.
    asked: (Wish, Instant),
    /// The last time that the state was kept: its update, when it was, how long training and writing took.
    last: (u64, Instant, Duration, Duration),
    /// Trouble was told, and did not go away since.
    trouble: bool,
}

/// Has the checkpoints, unless a thread of its own has them, which writes one.
enum Writer {
    Idle(Checkpoints),
    Busy(JoinHandle<Written>),
    /// The thread panicked.
    Lost,
}

struct Written {
    checkpoints: Checkpoints,
    result: anyhow::Result<()>,
    took: Duration,
}

impl<'a> RunKeeper<'a> {
    /// A run goes on at `update`.
    pub(crate) fn new(checkpoints: Checkpoints, update: u64, reporter: &'a RefCell<Reporter>) -> Self {
        let now = Instant::now();
        Self {
            every: CheckpointEvery::default(),
            beside: true,
            until: None,
            interrupt: Arc::default(),
            work: None,
            reporter,
            writer: Writer::Idle(checkpoints),
            asked: (Wish::GoOn, now),
            last: (update, now, Duration::ZERO, Duration::ZERO),
            trouble: false,
        }
    }

    /// Waits for what is being written; gives back the checkpoints and the log of the work.
    pub(crate) fn finish(mut self) -> (Option<Checkpoints>, Option<WorkLog>) {
        let _ = self.collect();
        let checkpoints = match self.writer {
            Writer::Idle(checkpoints) => Some(checkpoints),
            Writer::Busy(_) | Writer::Lost => None,
        };
        (checkpoints, self.work)
    }

    fn due(&self, at: &Position) -> bool {
        let (update, when, waited, wrote) = self.last;
        let new = at.update.saturating_sub(update);
        match self.every {
            CheckpointEvery::Seconds(s) => {
                let wait = Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX);
                let elapsed = when.elapsed();
                let writing = if self.beside { WRITING } else { WAITING };
                new > 0 && elapsed >= wait && elapsed >= waited * WAITING && elapsed >= wrote * writing
            }
            CheckpointEvery::Updates(n) => new >= n,
            CheckpointEvery::Epochs(n) => at.between_epochs && at.epoch.is_multiple_of(n),
            CheckpointEvery::Never => false,
        }
    }

    /// Takes the checkpoints back from their thread, once it is done with them. What went wrong there is the error.
    fn collect(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Busy(thread) => {
                let written =
                    thread.join().map_err(|_| anyhow::anyhow!("the thread that writes it panicked"))?;
                self.writer = Writer::Idle(written.checkpoints);
                self.last.3 = written.took;
                written.result
            }
            writer => {
                self.writer = writer;
                Ok(())
            }
        }
    }

    /// Hands a state to a thread that writes it.
    fn write(&mut self, state: State) {
        self.writer = match std::mem::replace(&mut self.writer, Writer::Lost) {
            Writer::Idle(mut checkpoints) => Writer::Busy(std::thread::spawn(move || {
                let clock = Instant::now();
                let result = write(&mut checkpoints, &state);
                Written { checkpoints, result, took: clock.elapsed() }
            })),
            writer => writer,
        };
    }

    /// Training goes on, so it is told once until it is over.
    fn tell(&mut self, kept: anyhow::Result<()>) {
        match kept {
            Ok(()) => self.trouble = false,
            Err(error) if !std::mem::replace(&mut self.trouble, true) => {
                let message = format!("the state of the run cannot be kept: {error}; training goes on");
                self.reporter.borrow_mut().report(&Event::Note { message });
            }
            Err(_) => {}
        }
    }
}

impl Keeper for RunKeeper<'_> {
    fn wish(&mut self, at: &Position) -> Wish {
        if let Some(log) = &mut self.work
            && let Err(error) = log.note(&at.work)
        {
            self.work = None;
            self.reporter.borrow_mut().report(&Event::Note { message: error.to_string() });
        }
        if matches!(&self.writer, Writer::Busy(thread) if thread.is_finished()) {
            let written = self.collect();
            self.tell(written);
        }
        let wish = if self.interrupt.load(Ordering::Relaxed) {
            Wish::Interrupt
        } else if self.until.is_some_and(|epoch| at.epoch >= epoch) {
            Wish::Pause
        } else if matches!(self.writer, Writer::Idle(_)) && self.due(at) {
            Wish::Save
        } else {
            Wish::GoOn
        };
        self.asked = (wish, Instant::now());
        wish
    }

    /// A state that cannot be kept on the way is told, and training goes on: the next one may fit. A pause that is not
    /// kept would be a lie.
    fn keep(&mut self, state: State) -> Result<(), Error> {
        let (wish, asked) = self.asked;
        let update = state.update();
        if wish == Wish::Save {
            self.write(state);
        } else {
            // What is being written was told of, or is made good now.
            let _ = self.collect();
            self.write(state);
            match self.collect() {
                Err(error) if wish == Wish::Pause => return Err(Error::Keep(error.into())),
                written => self.tell(written),
            }
        }
        (self.last.0, self.last.1, self.last.2) = (update, Instant::now(), asked.elapsed());
        Ok(())
    }
}

fn write(checkpoints: &mut Checkpoints, state: &State) -> anyhow::Result<()> {
    let (facts, tensors) = state.write()?;
    let at = Moment { update: state.update(), epoch: state.epoch() };
    checkpoints.write(at, &[(FILES[0], &facts), (FILES[1], &tensors)])?;
    Ok(())
}

/// A digest of the program that runs, worked out beside the first steps of a run.
pub(crate) fn build() -> JoinHandle<std::io::Result<String>> {
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
    fn intervals() {
        for (text, expected) in [
            ("5 seconds", Some(CheckpointEvery::Seconds(5.0))),
            ("0.5 s", Some(CheckpointEvery::Seconds(0.5))),
            ("200 updates", Some(CheckpointEvery::Updates(200))),
            ("1 epoch", Some(CheckpointEvery::Epochs(1))),
            ("never", Some(CheckpointEvery::Never)),
            ("5", None),
            ("0 updates", None),
            ("-1 s", None),
            ("NaN s", None),
            ("1.5 epochs", None),
            ("5 minutes", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
            if let Some(every) = expected {
                assert_eq!(every.to_string().parse(), Ok(every));
            }
        }
    }
}
