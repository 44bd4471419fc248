//! Requests to stop, from a person or from the system.

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
    /// leaves out. SIGUSR1 announces the time limit, as Slurm's `--signal` does.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    #[cfg(unix)]
    pub fn on_signals() -> Result<Self, Error> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let signals = signal_hook::iterator::Signals::new(catchable(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1]));
        let mut signals = signals.map_err(|source| Error::Signals { source })?;
        let interrupt = Self::default();
        let ours = interrupt.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 { ours.request_out_of_time() } else { ours.request() }
            }
        });
        Ok(interrupt)
    }

    /// Signals are not caught on this system: the runner ends, and its workers with it.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn on_signals() -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Requests to stop once more.
    pub fn request(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests to stop because the time limit is near, if nobody has yet.
    pub fn request_out_of_time(&self) {
        self.0.out_of_time.store(true, Ordering::Relaxed);
        let _ = self.0.count.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Whether the time limit requested the stop.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.0.out_of_time.load(Ordering::Relaxed)
    }
}

/// Returns those of `signals` that this process may catch. A signal that was ignored when the process started, as by
/// `nohup` or a background job of a shell, stays ignored. To be called before the first handler is installed. Only
/// Linux tells which signals are ignored; elsewhere none is.
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
