//! The checkpoint policy, which the loop consults between two updates.

use std::sync::atomic::{AtomicBool, Ordering};

use lrlab_runs::Work;

use crate::{Error, State};

/// The position of the loop between two updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// Whether an epoch has just ended and callbacks have seen its metrics.
    pub between_epochs: bool,
    /// The work of this attempt up to this position.
    pub work: Work,
}

/// The action of the loop before the next update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAction {
    /// Continue without saving.
    Continue,
    /// Save the state and continue.
    Save,
    /// Save the state and end with [`Stop::Interrupted`](crate::Stop::Interrupted).
    Interrupt,
    /// Save the state and end with [`Stop::Paused`](crate::Stop::Paused). A run whose training is complete ends normally instead.
    Pause,
}

/// Decides when the state of a run is saved, and saves it.
pub trait CheckpointPolicy {
    /// Called after every update and after every epoch, and before the first update of a resumed run.
    fn check(&mut self, at: &Position) -> CheckpointAction;

    /// Saves the state that [`CheckpointPolicy::check`] requested.
    ///
    /// # Errors
    /// An error ends the run. A policy may tolerate a failed save and return `Ok`.
    fn save(&mut self, state: State) -> Result<(), Error>;
}

/// Saves nothing; interrupts the run once the flag is set.
impl CheckpointPolicy for &AtomicBool {
    fn check(&mut self, _: &Position) -> CheckpointAction {
        if self.load(Ordering::Relaxed) { CheckpointAction::Interrupt } else { CheckpointAction::Continue }
    }

    fn save(&mut self, _: State) -> Result<(), Error> {
        Ok(())
    }
}
