//! The trait of schedules.

use std::fmt::Debug;

use crate::Time;

/// A learning-rate schedule: a pure function from base rate and time to rate.
///
/// Equal arguments give equal bits, independently of earlier calls. A schedule never panics and never returns NaN for a
/// finite `base`. [`Compose`](crate::Compose) has the combinators.
pub trait Schedule: Debug + Send + Sync {
    /// Returns the rate for the update at `at`.
    fn lr(&self, base: f64, at: Time) -> f64;

    /// Returns restarts, milestones and the end, by ascending update; of a longer series only the first 10000.
    fn marks(&self) -> Vec<Mark> {
        Vec::new()
    }
}

/// An event of a schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The first update after the event.
    pub update: u64,
    /// The kind of the event.
    pub kind: MarkKind,
}

/// The kind of a [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// A new cycle begins.
    Restart,
    /// The rate changes by a step, or a new phase begins.
    Milestone,
    /// The schedule has reached its end value.
    End,
}
