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
    /// Counts SIGINT (Ctrl-C), SIGTERM and SIGHUP from now on, for as long as the process lives. SIGUSR1 says that
    /// the time limit is near, as Slurm's `--signal` does.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    #[cfg(unix)]
    pub fn on_signals() -> Result<Self, Error> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]);
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
