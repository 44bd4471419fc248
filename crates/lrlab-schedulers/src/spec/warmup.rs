//! A warm-up before or over any schedule.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::ScheduleSpec;
use crate::Span;
use crate::schedules::{is_default, tenth};

/// `warmup = { over = "5%", start_factor = 0.1, then = { cosine = { … } } }`: a warm-up before or over any schedule.
///
/// The warm-up multiplies the rate of the schedule by `start_factor + (1 − start_factor) · shape(t / over)`, t in updates,
/// for `t < over`. With a `start_factor` above 1 the rate falls. The rate of the schedule after the warm-up, and its
/// `eta_min`, do not change. The shapes are the `warmup_type`s of transformers.
///
/// With `clock = "after"`, the schedule starts at the first update at or after the end of the warm-up, which multiplies
/// the first rate of the schedule. Percentages refer to the rest of the run: `t_max = "100%"` ends with the run. With
/// `clock = "shared"`, the schedule starts with the run, and the warm-up multiplies its current rate. With
/// `clock = "hidden"`, the schedule also starts with the run, but during the warm-up the rate rises from
/// `base · start_factor` to `base` regardless of the schedule (timm without `warmup_prefix`). `clock = "aimed"` is `hidden` with a ramp that ends at the rate that the schedule
/// has when the warm-up ends (timm's `TanhLRScheduler` without `warmup_prefix`).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct WarmupSpec {
    /// Length of the warm-up, > 0.
    pub over: Span,
    /// The first factor, 0 … 1e30; default 0.1. With 0 the first update has no effect.
    #[cfg_attr(feature = "serde", serde(default = "tenth"))]
    pub start_factor: f64,
    /// When the time of the schedule starts; default `after`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub clock: WarmupClock,
    /// The shape of the warm-up; default `linear`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub shape: WarmupShape,
    /// The inner schedule.
    pub then: Box<ScheduleSpec>,
}

/// The shape of a warm-up, where p goes from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WarmupShape {
    /// `p`.
    #[default]
    Linear,
    /// `(1 − cos(π p)) / 2`.
    Cosine,
    /// `1 − √(1 − p)`.
    OneMinusSqrt,
}

/// When the time of the schedule of a warm-up starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WarmupClock {
    /// After the warm-up.
    #[default]
    After,
    /// With the warm-up.
    Shared,
    /// With the warm-up, which ignores the schedule.
    Hidden,
    /// As `hidden`, and the ramp ends at the schedule's rate.
    Aimed,
}
