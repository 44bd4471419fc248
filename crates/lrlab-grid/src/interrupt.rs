//! Requests to stop, by the user or the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::Error;

/// Counts requests to stop: one means "save and stop", two mean "stop now".
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<StopRequest>);

#[derive(Debug, Default)]
struct StopRequest {
    count: AtomicU32,
    out_of_time: AtomicBool,
}

impl Interrupt {
    /// Counts SIGINT (Ctrl-C), SIGTERM and SIGHUP for the rest of the process's life, except those that [`catchable`]
    /// leaves out. SIGUSR1 announces the time limit, as Slurm's `--signal` does. The third request ends the process at once,
    /// with code 130, wherever it is.
    ///
    /// # Errors
    /// Returns an error if the handlers cannot be installed.
    #[cfg(unix)]
    pub fn on_signals() -> Result<Self, Error> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let signals = signal_hook::iterator::Signals::new(catchable(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]));
        let mut signals = signals.map_err(|source| Error::Signals { source })?;
        let interrupt = Self::default();
        let ours = interrupt.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 {
                    ours.request_out_of_time();
                } else {
                    ours.request();
                    if ours.requests() >= 3 {
                        std::process::exit(130);
                    }
                }
            }
        });
        Ok(interrupt)
    }

    /// Does not catch signals on this system: a signal ends the runner and its workers.
    ///
    /// # Errors
    /// Never returns an error.
    #[cfg(not(unix))]
    pub fn on_signals() -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Requests to stop once more.
    pub fn request(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests to stop because the time limit is near, unless a stop was requested before.
    pub fn request_out_of_time(&self) {
        self.0.out_of_time.store(true, Ordering::Relaxed);
        let _ = self.0.count.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Returns whether the stop was requested because of the time limit.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.0.out_of_time.load(Ordering::Relaxed)
    }
}

/// Returns those of `signals` that this process may catch. A signal that was ignored when the process started, for
/// example by `nohup` or as a background job of a shell, stays ignored. Call this before installing the first handler.
/// Ignored signals are detected only on Linux.
#[must_use]
pub fn catchable(signals: &[i32]) -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    signals
        .iter()
        .copied()
        .filter(|signal| ignored & 1_u64.checked_shl(*signal as u32 - 1).unwrap_or(0) == 0)
        .collect()
}

/// Returns the signals that a process ignores, bit 0 for signal 1, from its `status` file.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_file() {
        for (status, expected) in [
            ("Name:\tlrlab\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n", 0x1001),
            ("SigIgn:\tx\n", 0),
            ("", 0),
        ] {
            assert_eq!(ignored(status), expected, "{status:?}");
        }
    }
}
