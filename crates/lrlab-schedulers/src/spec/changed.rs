//! Changes of one schedule.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::ScheduleSpec;
use crate::schedules::{is_default, nothing, one, starts_at_once};
use crate::{Anneal, Every, Span};

/// `floor = { at = 0.1, of = { cosine = {} } }`: a schedule above a share of the base rate.
///
/// `lr(t) = at · base + (1 − at) · of(base, t)`: what falls from the base rate to 0 falls to `at · base` instead, in the same
/// shape. An `eta_min` is the same floor for every base rate; this one moves with it, across the rates of a search or of
/// parameter groups. A warm-up belongs outside. Source: `alpha` of Keras's and Optax's cosines, `min_lr_rate` and
/// `min_lr_ratio` of transformers'.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct FloorSpec {
    /// The share, 0 … 1.
    pub at: f64,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `scale = { by = 0.5, of = { … } }`: the rate times a number.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ScaleSpec {
    /// The number, 0 … 1e30.
    pub by: f64,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `clamp = { min = 1e-5, max = 0.1, of = { … } }`: limits the rate.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ClampSpec {
    /// The lowest rate, 0 … 1e30; default 0.
    #[cfg_attr(feature = "serde", serde(default))]
    pub min: f64,
    /// The highest rate, from `min` to 1e30; default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max: Option<f64>,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `delay = { by = "1 epoch", of = { … } }`: starts the schedule later. Before the start, its first rate applies.
///
/// The percentages of the schedule refer to the rest of the run.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct DelaySpec {
    /// The delay.
    pub by: Span,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `repeat = { period = "10 epochs", of = { … } }`: restarts the schedule after every period.
///
/// The percentages of the schedule refer to a period. After `limit` periods the last rate holds. A period is rounded up to
/// whole updates.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct RepeatSpec {
    /// Length of a period, > 0.
    pub period: Span,
    /// Factor of the base rate from one period to the next, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub decay: f64,
    /// Number of periods, ≥ 1; default: no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub limit: Option<u32>,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `staircase = { step = "1 epoch", of = { … } }`: a schedule that is constant within each step.
///
/// `lr(t) = of(step · ⌊t / step⌋)`, t in updates, where the start of a step is rounded up to a whole update. This is
/// `staircase` of Optax and Keras for every schedule.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StaircaseSpec {
    /// Length of a step, > 0.
    pub step: Span,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// `noise = { std = 0.1, of = { cosine = {} } }`: multiplies the rate by `1 + n`, where n is a normal random number of the
/// update or epoch.
///
/// n has standard deviation `std` and is drawn again while `|n| ≥ limit`, so the rate stays above 0; or it is uniform between
/// `−limit` and `limit`. There is no noise before `start` and from `end` on. n depends only on the
/// seed and the time, so the rates do not depend on the order of calls. Source: timm's `noise_range_t`, which is `start` and `end`, with
/// `std`, `limit`, `seed` and `distribution` as its `noise_std`, `noise_pct`, `noise_seed` and `noise_type`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NoiseSpec {
    /// Standard deviation of n before the limit, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub std: f64,
    /// Bound of |n|, above 0, at most 1; default 0.67.
    #[cfg_attr(feature = "serde", serde(default = "two_thirds"))]
    pub limit: f64,
    /// The seed; default 42.
    #[cfg_attr(feature = "serde", serde(default = "forty_two"))]
    pub seed: u64,
    /// How often n changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
    /// When it begins; default `"0 updates"`.
    #[cfg_attr(feature = "serde", serde(default = "nothing", skip_serializing_if = "starts_at_once"))]
    pub start: Span,
    /// When it ends; default: never.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub end: Option<Span>,
    /// How n is distributed; default `normal`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub distribution: NoiseKind,
    /// The inner schedule.
    pub of: Box<ScheduleSpec>,
}

/// The distribution of a [`NoiseSpec`]'s numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum NoiseKind {
    /// Normal with standard deviation `std`, within `−limit … limit`.
    #[default]
    Normal,
    /// Uniform from `−limit` to `limit`.
    Uniform,
}

/// `swa = { swa_lr = 0.05, start = "75%", anneal = "5 epochs", of = { cosine = {} } }`: a schedule, then a fixed rate for
/// stochastic weight averaging.
///
/// At `start` the rate begins to move from the rate of the schedule to `swa_lr`, which it reaches after `anneal` and holds:
/// `swa_lr · α + lr(start) · (1 − α)`, with α = `(1 − cos(π p)) / 2` or p, where p is the elapsed share of `anneal`. Source:
/// `torch.optim.swa_utils.SWALR`, whose first step is at `start` and which counts `anneal_epochs` in its own steps; Izmailov
/// et al., UAI 2018.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SwaSpec {
    /// The last rate, absolute, 0 … 1e30.
    pub swa_lr: f64,
    /// When the schedule ends; default `"75%"`.
    #[cfg_attr(feature = "serde", serde(default = "three_quarters"))]
    pub start: Span,
    /// Length of the transition; 0 changes the rate immediately. Default `"10 epochs"`.
    #[cfg_attr(feature = "serde", serde(default = "ten_epochs"))]
    pub anneal: Span,
    /// The shape of the transition; default `cos`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub anneal_strategy: Anneal,
    /// The schedule before `start`.
    pub of: Box<ScheduleSpec>,
}

fn three_quarters() -> Span {
    Span::Fraction(0.75)
}

fn ten_epochs() -> Span {
    Span::Epochs(10.0)
}

fn two_thirds() -> f64 {
    0.67
}

fn forty_two() -> u64 {
    42
}
