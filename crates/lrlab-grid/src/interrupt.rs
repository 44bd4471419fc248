//! The wish to stop, by a person or by the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::Error;

/// How often someone asked to stop: once is "finish what you do and save", twice is "now".
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Wish>);

#[derive(Debug, Default)]
struct Wish {
    asked: AtomicU32,
    out_of_time: AtomicBool,
}

impl Interrupt {
    /// Counts SIGINT (Ctrl-C), SIGTERM and SIGHUP from now on, for as long as the process lives, but not those that
    /// [`heeded`] leaves out. SIGUSR1 says that the time limit is near, as Slurm's `--signal` does.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    #[cfg(unix)]
    pub fn on_signals() -> Result<Self, Error> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let signals = signal_hook::iterator::Signals::new(heeded(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]));
        let mut signals = signals.map_err(|source| Error::Signals { source })?;
        let interrupt = Self::default();
        let ours = interrupt.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 { ours.time_is_up() } else { ours.ask() }
            }
        });
        Ok(interrupt)
    }

    /// Never asked by a signal: on this system the runner ends, and the workers with it.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn on_signals() -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Asks once more.
    pub fn ask(&self) {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks, if nobody has yet, because the time limit is near.
    pub fn time_is_up(&self) {
        self.0.out_of_time.store(true, Ordering::Relaxed);
        let _ = self.0.asked.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Whether it was the time limit that asked.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.0.out_of_time.load(Ordering::Relaxed)
    }
}

/// Of these signals, those that this process may catch: one that it was told to ignore when it was started, as `nohup` does
/// with SIGHUP and a shell with SIGINT for what it starts in the background, stays ignored. To be asked before the first
/// handler is installed; only Linux says which they are, elsewhere it is none.
#[must_use]
pub fn heeded(signals: &[i32]) -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    signals
        .iter()
        .copied()
        .filter(|signal| ignored & 1_u64.checked_shl(*signal as u32 - 1).unwrap_or(0) == 0)
        .collect()
}

/// The signals that a process ignores, bit 0 for signal 1, from its `status` file.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_status() {
        for (status, expected) in [
            ("Name:\tlrlab\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n", 0x1001),
            ("SigIgn:\tx\n", 0),
            ("", 0),
        ] {
            assert_eq!(ignored(status), expected, "{status:?}");
        }
    }
}
