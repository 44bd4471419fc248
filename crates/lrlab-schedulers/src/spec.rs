//! Schedules as data, externally tagged: `cosine = { … }`, and the specifications of combined schedules, which contain
//! schedules themselves. The [`schedules`](crate::schedules) module has the other specifications and the formulas.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::schedules::{Specification, build, is_default, nothing, one, starts_at_once, tenth};
use crate::{
    Anneal, ConstantSpec, CosineSpec, CosineWarmRestartsSpec, CyclicSpec, Error, Every, ExponentialSpec,
    Horizon, InverseSqrtSpec, InverseTimeSpec, LambdaSpec, LinearSpec, LinearToZeroSpec, MultiStepSpec,
    NoamSpec, OneCycleSpec, PiecewiseLinearSpec, PolynomialSpec, PowerSpec, RexSpec, Schedule, Span,
    StaticSpec, StepSpec, TanhSpec, WsdSpec,
};

/// A schedule as data.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ScheduleSpec {
    /// A fixed rate.
    Static(StaticSpec),
    /// A factor at first, then the base rate.
    Constant(ConstantSpec),
    /// Falls by a factor at regular intervals.
    Step(StepSpec),
    /// Falls by a factor at each milestone.
    MultiStep(MultiStepSpec),
    /// A straight line between two factors.
    Linear(LinearSpec),
    /// Falls by a factor per epoch.
    Exponential(ExponentialSpec),
    /// Falls like a power of the remaining time.
    Polynomial(PolynomialSpec),
    /// Falls along half a cosine.
    Cosine(CosineSpec),
    /// Falls along half a cosine, repeatedly.
    CosineWarmRestarts(CosineWarmRestartsSpec),
    /// Up and down between two rates.
    Cyclic(CyclicSpec),
    /// Up once, then far down.
    OneCycle(OneCycleSpec),
    /// Falls with the inverse square root of time.
    InverseSqrt(InverseSqrtSpec),
    /// Falls with the inverse of time.
    InverseTime(InverseTimeSpec),
    /// Falls like a power of the tokens seen.
    Power(PowerSpec),
    /// The schedule of the original Transformer: a linear rise, then the inverse square root of time.
    Noam(NoamSpec),
    /// Stable, then down.
    Wsd(WsdSpec),
    /// Slow at first, fast at the end.
    Rex(RexSpec),
    /// A straight line to zero.
    LinearToZero(LinearToZeroSpec),
    /// Falls along a hyperbolic tangent.
    Tanh(TanhSpec),
    /// Straight lines from knot to knot.
    PiecewiseLinear(PiecewiseLinearSpec),
    /// A warm-up before or over any schedule.
    Warmup(WarmupSpec),
    /// One after the other.
    Sequential(SequentialSpec),
    /// Each schedule applied to the rate of the previous one.
    Chained(ChainedSpec),
    /// A schedule multiplied by a number.
    Scale(ScaleSpec),
    /// A schedule within bounds.
    Clamp(ClampSpec),
    /// A schedule that starts later.
    Delay(DelaySpec),
    /// A repeated schedule.
    Repeat(RepeatSpec),
    /// A schedule that is constant within each step.
    Staircase(StaircaseSpec),
    /// The lowest of several.
    Min(MinSpec),
    /// The highest of several.
    Max(MaxSpec),
    /// Several, added.
    Sum(SumSpec),
    /// A schedule above a share of the base rate.
    Floor(FloorSpec),
    /// A schedule with seeded noise.
    Noise(NoiseSpec),
    /// A schedule, then a constant rate for weight averaging.
    Swa(SwaSpec),
    /// A function that a program registers.
    Lambda(LambdaSpec),
}

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
/// n has standard deviation `std` and is drawn again while `|n| ≥ limit`, so the rate stays above 0. If none of 64 draws is
/// within the limit, n is 0; with `std = 30` and the default limit, that is 3 updates of 10. Or n is uniform between
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

macro_rules! schedules {
    ($($variant:ident($spec:ty) = $name:literal),* $(,)?) => {
        impl ScheduleSpec {
            /// Returns the name in experiment files.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            fn specification(&self) -> &dyn Specification {
                match self { $(Self::$variant(spec) => spec),* }
            }
        }
        $(impl From<$spec> for ScheduleSpec {
            fn from(spec: $spec) -> Self {
                Self::$variant(spec)
            }
        })*
    };
}

schedules! {
    Static(StaticSpec) = "static",
    Constant(ConstantSpec) = "constant",
    Step(StepSpec) = "step",
    MultiStep(MultiStepSpec) = "multi_step",
    Linear(LinearSpec) = "linear",
    Exponential(ExponentialSpec) = "exponential",
    Polynomial(PolynomialSpec) = "polynomial",
    Cosine(CosineSpec) = "cosine",
    CosineWarmRestarts(CosineWarmRestartsSpec) = "cosine_warm_restarts",
    Cyclic(CyclicSpec) = "cyclic",
    OneCycle(OneCycleSpec) = "one_cycle",
    InverseSqrt(InverseSqrtSpec) = "inverse_sqrt",
    InverseTime(InverseTimeSpec) = "inverse_time",
    Power(PowerSpec) = "power",
    Noam(NoamSpec) = "noam",
    Wsd(WsdSpec) = "wsd",
    Rex(RexSpec) = "rex",
    LinearToZero(LinearToZeroSpec) = "linear_to_zero",
    Tanh(TanhSpec) = "tanh",
    PiecewiseLinear(PiecewiseLinearSpec) = "piecewise_linear",
    Warmup(WarmupSpec) = "warmup",
    Sequential(SequentialSpec) = "sequential",
    Chained(ChainedSpec) = "chained",
    Scale(ScaleSpec) = "scale",
    Clamp(ClampSpec) = "clamp",
    Delay(DelaySpec) = "delay",
    Repeat(RepeatSpec) = "repeat",
    Staircase(StaircaseSpec) = "staircase",
    Min(MinSpec) = "min",
    Max(MaxSpec) = "max",
    Sum(SumSpec) = "sum",
    Floor(FloorSpec) = "floor",
    Noise(NoiseSpec) = "noise",
    Swa(SwaSpec) = "swa",
    Lambda(LambdaSpec) = "lambda",
}

impl ScheduleSpec {
    /// Checks every value that does not depend on the run.
    ///
    /// # Errors
    /// Returns an error with the keys of the first value outside its range.
    pub fn check(&self) -> Result<(), Error> {
        self.specification().check().map_err(|error| error.under(self.name()))
    }

    /// Returns whether the rates depend on the base rate. Those of `cyclic` and `one_cycle` with absolute rates, and of
    /// schedules that combine only these, do not.
    #[must_use]
    pub fn reads_base(&self) -> bool {
        self.specification().reads_base()
    }

    /// Creates the schedule for a run and resolves all lengths.
    ///
    /// # Errors
    /// Returns the error of [`ScheduleSpec::check`], or an error if the run has no updates or a list of lengths does not
    /// increase.
    pub fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        build(self.specification(), self.name(), run)
    }
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
