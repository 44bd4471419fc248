//! The wish to stop, by a person or by the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// How often someone asked to stop: once is "finish what you do and save", twice is "now".
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Counts SIGINT (Ctrl-C), SIGTERM and SIGHUP from now on, for as long as the process lives.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    #[cfg(unix)]
    pub fn on_signals() -> Result<Self, Error> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]);
        let mut signals = signals.map_err(|source| Error::Signals { source })?;
        let interrupt = Self::default();
        let ours = interrupt.clone();
        std::thread::spawn(move || signals.forever().for_each(|_| ours.ask()));
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
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
