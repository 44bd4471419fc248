//! Moments and lengths of a run, in the units users think in.

use serde::{Deserialize, Serialize};

/// A moment of a run: the update about to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// 0-based index of the optimizer update about to be made (after accumulation).
    pub update: u64,
    /// `update / updates_per_epoch`, a fraction.
    pub epoch: f64,
}

/// How long a run is: what turns a [`Span`] into updates.
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
}

/// A length that carries its unit: `"3 epochs"`, `"200 updates"`, `"30%"`. A bare number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// Optimizer updates.
    Updates(u64),
    /// Epochs, not necessarily whole.
    Epochs(f64),
    /// A fraction of the run, 0 … 1.
    Fraction(f64),
}
