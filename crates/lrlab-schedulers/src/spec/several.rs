//! Combinations of several schedules.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::ScheduleSpec;
use crate::Span;

/// `sequential = { schedulers = [{ … }, { … }], milestones = ["30%"] }`: one schedule after the other.
///
/// Each schedule starts at its milestone, and its percentages refer to its part of the run. All positions accept all
/// schedules, including sequences and chains.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SequentialSpec {
    /// The schedules in order; at least one.
    pub schedulers: Vec<ScheduleSpec>,
    /// The start of each schedule except the first; increasing, one fewer than schedules.
    pub milestones: Vec<Span>,
}

/// `chained = { schedulers = [{ … }, { … }] }`: applies each schedule to the rate of the previous one.
///
/// `chained = { schedulers = [{ cosine = {} }, { constant = {…} }] }` is `constant(cosine(base, t), t)`. The order matters
/// for schedules that do more than multiply, such as those with an `eta_min`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ChainedSpec {
    /// The schedules from the innermost; at least one.
    pub schedulers: Vec<ScheduleSpec>,
}

/// `min = { schedulers = [{ … }, { … }] }`: the lowest rate of several.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct MinSpec {
    /// The schedules; at least one.
    pub schedulers: Vec<ScheduleSpec>,
}

/// `max = { schedulers = [{ … }, { … }] }`: the highest rate of several.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct MaxSpec {
    /// The schedules; at least one.
    pub schedulers: Vec<ScheduleSpec>,
}

/// `sum = { schedulers = [{ … }, { … }] }`: the rates of several, added.
///
/// Each has the base rate, so a mean is a sum of schedules under `scale`. Source: Burn's `ComposedLrScheduler` with
/// `SchedulerReduction::Sum` and `Avg`, whose `Prod` is `chained`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SumSpec {
    /// At least one.
    pub schedulers: Vec<ScheduleSpec>,
}
