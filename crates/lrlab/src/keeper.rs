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

use crate::commands::worker::Reporter;

/// At most one part in so many of a run's time goes into checkpoints, where the default says when.
const SHARE: u32 = 50;
/// The names of a checkpoint's files.
pub(crate) const FILES: [&str; 2] = ["state.json", "tensors.safetensors"];

/// When the state is kept, beside when the run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckpointEvery {
    /// So many seconds, and never so often that writing takes more than 2 % of the time.
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
        Self::Seconds(0.5)
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

/// A run's keeper, as `lrlab worker` has it.
pub(crate) struct RunKeeper<'a> {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) every: CheckpointEvery,
    /// Pause at this epoch.
    pub(crate) until: Option<u64>,
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) work: Option<WorkLog>,
    pub(crate) reporter: &'a RefCell<Reporter>,
    pub(crate) last: Last,
    /// What was asked for last.
    pub(crate) asked: Wish,
    /// The last trouble that was told, so that it is told once.
    pub(crate) trouble: Option<String>,
}

/// The last time that the state was kept.
pub(crate) struct Last {
    pub(crate) update: u64,
    pub(crate) when: Instant,
    pub(crate) took: Duration,
}

impl RunKeeper<'_> {
    fn due(&self, at: &Position) -> bool {
        let new = at.update.saturating_sub(self.last.update);
        match self.every {
            CheckpointEvery::Seconds(s) => {
                let wait = Duration::from_secs_f64(s).max(self.last.took * SHARE);
                new > 0 && self.last.when.elapsed() >= wait
            }
            CheckpointEvery::Updates(n) => new >= n,
            CheckpointEvery::Epochs(n) => at.between_epochs && at.epoch.is_multiple_of(n),
            CheckpointEvery::Never => false,
        }
    }

    fn write(&mut self, state: &State) -> anyhow::Result<()> {
        let (facts, tensors) = state.write()?;
        let files = [(FILES[0], facts.as_slice()), (FILES[1], tensors.as_slice())];
        let at = Moment { update: state.update(), epoch: state.epoch() };
        self.checkpoints.write(at, &files)?;
        Ok(())
    }

    fn tell(&mut self, message: String) {
        if self.trouble.as_ref() != Some(&message) {
            self.reporter.borrow_mut().report(&Event::Note { message: message.clone() });
            self.trouble = Some(message);
        }
    }
}

impl Keeper for RunKeeper<'_> {
    fn wish(&mut self, at: &Position) -> Wish {
        if let Some(log) = &mut self.work
            && let Err(error) = log.note(&at.work)
        {
            self.work = None;
            self.tell(format!("{error}: updates are counted by checkpoints only"));
        }
        self.asked = if self.interrupt.load(Ordering::Relaxed) {
            Wish::Interrupt
        } else if self.until.is_some_and(|epoch| at.epoch >= epoch) {
            Wish::Pause
        } else if self.due(at) {
            Wish::Save
        } else {
            Wish::GoOn
        };
        self.asked
    }

    /// A state that cannot be kept on the way is told, and training goes on: the next one may fit. A pause that is not
    /// kept would be a lie.
    fn keep(&mut self, state: &State) -> Result<(), Error> {
        let clock = Instant::now();
        let kept = self.write(state);
        self.last = Last { update: state.update(), when: Instant::now(), took: clock.elapsed() };
        match kept {
            Ok(()) => self.trouble = None,
            Err(error) if self.asked == Wish::Pause => return Err(Error::Keep(error.into())),
            Err(error) => {
                self.tell(format!("the state of the run cannot be kept: {error:#}; training goes on"));
            }
        }
        Ok(())
    }
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
