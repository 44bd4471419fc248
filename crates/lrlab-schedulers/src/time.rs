//! Moments of a run, and how long it is.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// A moment of a run: the update about to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// 0-based index of the optimizer update about to be made (after accumulation).
    pub update: u64,
    /// `update / updates_per_epoch`, a fraction.
    pub epoch: f64,
}

impl Time {
    /// The same moment on a clock that started at update `start`; its zero if that is still to come.
    #[must_use]
    pub fn since(&self, start: u64) -> Self {
        let update = self.update.saturating_sub(start);
        let share = if self.update == 0 { 0.0 } else { update as f64 / self.update as f64 };
        Self { update, epoch: self.epoch * share }
    }
}

/// How long a run is: what turns a [`Span`](crate::Span) into updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Updates of the whole run.
    pub updates: u64,
    /// Updates of one epoch, `ceil(batches / accumulate)`.
    pub updates_per_epoch: u64,
}

impl Horizon {
    /// The moment of the update with this 0-based index.
    #[must_use]
    pub fn at(&self, update: u64) -> Time {
        Time { update, epoch: update as f64 / self.updates_per_epoch.max(1) as f64 }
    }

    /// What is left of the run after its first `updates`; one update at least, so that shares of it are lengths.
    #[must_use]
    pub fn after(&self, updates: u64) -> Self {
        Self { updates: self.updates.saturating_sub(updates).max(1), ..*self }
    }
}

/// How often a schedule moves. Epochs are counted from where the schedule starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Every {
    /// Every update has its own rate.
    #[default]
    Update,
    /// One rate per epoch: time is floored to whole epochs.
    Epoch,
}

/// A schedule's own clock: updates since its start, floored to epochs where it moves by epochs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    every: Every,
    updates_per_epoch: u64,
}

impl Clock {
    pub(crate) fn new(every: Every, run: &Horizon) -> Self {
        Self { every, updates_per_epoch: run.updates_per_epoch.max(1) }
    }

    /// Time in updates. Integer arithmetic, so that no epoch is missed by rounding.
    pub(crate) fn updates(&self, at: Time) -> f64 {
        match self.every {
            Every::Update => at.update as f64,
            Every::Epoch => (at.update - at.update % self.updates_per_epoch) as f64,
        }
    }

    /// Time in epochs.
    pub(crate) fn epochs(&self, at: Time) -> f64 {
        self.updates(at) / self.updates_per_epoch as f64
    }
}
