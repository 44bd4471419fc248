//! The trait every schedule implements.

use std::fmt::Debug;

use crate::Time;

/// A learning-rate schedule: a pure function from base rate and time to rate.
///
/// Pure means: the same arguments give the same bits, whatever was asked before. A schedule never panics and
/// never returns NaN for a finite `base`. Composition is composition of functions, so every combinator nests.
pub trait Schedule: Debug + Send + Sync {
    /// The rate in force for the update at `at`, given the base rate.
    fn lr(&self, base: f64, at: Time) -> f64;

    /// Moments worth knowing: restarts, milestones, the end.
    fn marks(&self) -> Vec<Mark> {
        Vec::new()
    }
}

/// A moment at which a schedule does something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The first update at which it holds.
    pub update: u64,
    /// What happens.
    pub kind: MarkKind,
}

/// What happens at a [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// A cycle begins anew.
    Restart,
    /// The rate changes by a step, or one phase hands over to the next.
    Milestone,
    /// The schedule has reached its end value.
    End,
}
