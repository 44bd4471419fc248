//! Times within a run, and its length.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// A time within a run: the next update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// The 0-based index of the next optimizer update (after accumulation).
    pub update: u64,
    /// `update / updates_per_epoch`, not rounded.
    pub epoch: f64,
}

impl Time {
    /// Returns this time relative to update `start`; 0 before it.
    #[must_use]
    pub fn since(&self, start: u64) -> Self {
        self.rescaled(self.update.saturating_sub(start))
    }

    /// Returns the time of another update of the same run.
    pub(crate) fn rescaled(&self, update: u64) -> Self {
        let epoch = if self.update == 0 {
            0.0
        } else {
            // Dividing by the updates of an epoch does not round whole epochs down.
            let per_epoch = (self.update as f64 / self.epoch).round();
            if self.update as f64 / per_epoch == self.epoch {
                update as f64 / per_epoch
            } else {
                self.epoch * (update as f64 / self.update as f64)
            }
        };
        Self { update, epoch }
    }
}

/// The length of a run, which converts a [`Span`](crate::Span) to updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// Updates of the run.
    pub updates: u64,
    /// Updates of one epoch, `ceil(batches / accumulate)`.
    pub updates_per_epoch: u64,
}

impl Horizon {
    /// Returns the time of the update with this 0-based index.
    #[must_use]
    pub fn at(&self, update: u64) -> Time {
        Time { update, epoch: update as f64 / self.updates_per_epoch.max(1) as f64 }
    }

    /// Returns the rest of the run after its first `updates`, but at least one update, so that percentages of it are positive.
    #[must_use]
    pub fn after(&self, updates: u64) -> Self {
        Self { updates: self.updates.saturating_sub(updates).max(1), ..*self }
    }
}

/// How often a schedule changes the rate. Epochs are counted from the start of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Every {
    /// At every update.
    #[default]
    Update,
    /// At every epoch: time is rounded down to whole epochs.
    Epoch,
}

/// The time of a schedule in updates or epochs, rounded down according to [`Every`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    every: Every,
    updates_per_epoch: u64,
}

impl Clock {
    pub(crate) fn new(every: Every, run: &Horizon) -> Self {
        Self { every, updates_per_epoch: run.updates_per_epoch.max(1) }
    }

    /// Returns the time in updates, computed with integers to avoid rounding errors.
    pub(crate) fn updates(&self, at: Time) -> f64 {
        match self.every {
            Every::Update => at.update as f64,
            Every::Epoch => (at.update - at.update % self.updates_per_epoch) as f64,
        }
    }

    /// Returns the first update at which the time is at least `moment` updates.
    pub(crate) fn reaches(&self, moment: f64) -> f64 {
        match self.every {
            Every::Update => moment,
            Every::Epoch => {
                let epoch = self.updates_per_epoch as f64;
                snap(moment / epoch).ceil() * epoch
            }
        }
    }

    /// Returns the time in epochs.
    pub(crate) fn epochs(&self, at: Time) -> f64 {
        self.updates(at) / self.updates_per_epoch as f64
    }
}

/// Returns the nearest integer if `x` is within rounding of it, or `x`.
pub(crate) fn snap(x: f64) -> f64 {
    let whole = x.round();
    if (x - whole).abs() <= 1e-9 * whole { whole } else { x }
}
