//! Who keeps the state of a run, and when: asked between two updates.

use std::sync::atomic::{AtomicBool, Ordering};

use lrlab_runs::Work;

use crate::{Error, State};

/// Where the loop stands between two updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Updates made.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// An epoch has just ended, and callbacks have seen its figures.
    pub between_epochs: bool,
    /// What this attempt did so far.
    pub work: Work,
}

/// What a [`Keeper`] wants to happen before the next update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    GoOn,
    /// Keep the state and go on.
    Save,
    /// Keep the state and end with [`Stop::Interrupted`](crate::Stop::Interrupted).
    Interrupt,
    /// Keep the state and end with [`Stop::Paused`](crate::Stop::Paused). A run whose training is over ends instead.
    Pause,
}

/// Keeps the state of a run.
pub trait Keeper {
    /// Called after every update and after every epoch, and before the first update of a run that goes on.
    fn wish(&mut self, at: &Position) -> Wish;

    /// Keeps the state that [`Keeper::wish`] asked for.
    ///
    /// # Errors
    /// One that is to end the run. A state that could not be written need not.
    fn keep(&mut self, state: State) -> Result<(), Error>;
}

/// Keeps nothing; a raised flag interrupts.
impl Keeper for &AtomicBool {
    fn wish(&mut self, _: &Position) -> Wish {
        if self.load(Ordering::Relaxed) { Wish::Interrupt } else { Wish::GoOn }
    }

    fn keep(&mut self, _: State) -> Result<(), Error> {
        Ok(())
    }
}
