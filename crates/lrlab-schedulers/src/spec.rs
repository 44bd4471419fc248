//! Schedules as experiment files write them, externally tagged: `cosine = { … }`. Those that are made of schedules are
//! defined here, beside what they are made of; what they do is in [`schedules`](crate::schedules).

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::schedules::{Plan, is_default, nothing, one, starts_at_once, tenth};
use crate::{
    Anneal, ConstantSpec, CosineSpec, CosineWarmRestartsSpec, CyclicSpec, Error, Every, ExponentialSpec,
    Horizon, InverseSqrtSpec, InverseTimeSpec, LambdaSpec, LinearSpec, LinearToZeroSpec, MultiStepSpec,
    NoamSpec, OneCycleSpec, PiecewiseLinearSpec, PolynomialSpec, PowerSpec, Problem, RexSpec, Schedule, Span,
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
    /// A factor for a while, then the base rate.
    Constant(ConstantSpec),
    /// Falls by a factor at equal distances.
    Step(StepSpec),
    /// Falls by a factor at given moments.
    MultiStep(MultiStepSpec),
    /// A straight line between two factors.
    Linear(LinearSpec),
    /// Falls by a factor per epoch.
    Exponential(ExponentialSpec),
    /// Falls like a power of the time left.
    Polynomial(PolynomialSpec),
    /// Falls along half a cosine.
    Cosine(CosineSpec),
    /// Falls along a cosine, again and again.
    CosineWarmRestarts(CosineWarmRestartsSpec),
    /// Up and down between two rates.
    Cyclic(CyclicSpec),
    /// Up once, then far down.
    OneCycle(OneCycleSpec),
    /// Falls with the square root of time.
    InverseSqrt(InverseSqrtSpec),
    /// Falls with the inverse of time.
    InverseTime(InverseTimeSpec),
    /// Falls like a power of the tokens seen.
    Power(PowerSpec),
    /// The Transformer's: a linear rise, then the square root of time.
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
    /// Rises linearly into any schedule.
    Warmup(WarmupSpec),
    /// One after the other.
    Sequential(SequentialSpec),
    /// All at once, each on top of the one before.
    Chained(ChainedSpec),
    /// A schedule times a number.
    Scale(ScaleSpec),
    /// A schedule within bounds.
    Clamp(ClampSpec),
    /// A schedule that starts later.
    Delay(DelaySpec),
    /// A schedule again and again.
    Repeat(RepeatSpec),
    /// A schedule that moves only so often.
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
    /// A schedule that ends at the rate of weight averaging.
    Swa(SwaSpec),
    /// A function that a program registers.
    Lambda(LambdaSpec),
}

/// `warmup = { over = "5%", start_factor = 0.1, then = { cosine = { … } } }`: a linear ramp into any schedule.
///
/// The ramp multiplies the schedule's rate by `start_factor + (1 − start_factor) · shape(t / over)`, t in updates, until
/// `t = over`, where it is 1; a `start_factor` above 1 comes from above. A floor of the schedule's (`eta_min`) stays as
/// it is afterwards. The shapes are transformers' `warmup_type`s.
///
/// With `clock = "after"` the schedule starts when the warm-up has ended (at the first update at or past it), its
/// rate until then is its first one, and its percentages are of what is left of the run: `t_max = "100%"` ends
/// with the run. With `clock = "shared"` it runs from the start and the ramp lies over it. With `clock = "hidden"` it
/// runs from the start too, but until the warm-up has ended the ramp stands alone, from `base · start_factor` to
/// `base` (timm without `warmup_prefix`). `clock = "aimed"` is `hidden` with a ramp that ends at the rate that the schedule
/// has when the warm-up ends (timm's `TanhLRScheduler` without `warmup_prefix`).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct WarmupSpec {
    /// Length of the ramp, > 0.
    pub over: Span,
    /// The ramp's first factor, 0 … 1e30; default 0.1. A start of 0 wastes the first update.
    #[cfg_attr(feature = "serde", serde(default = "tenth"))]
    pub start_factor: f64,
    /// When the schedule's own time begins; default `after`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub clock: WarmupClock,
    /// How the ramp rises; default `linear`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub shape: WarmupShape,
    /// The schedule that is warmed up.
    pub then: Box<ScheduleSpec>,
}

/// The shape of a warm-up; p goes from 0 to 1.
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

/// When the time of a warmed-up schedule begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WarmupClock {
    /// When the warm-up has ended.
    #[default]
    After,
    /// With the warm-up.
    Shared,
    /// With the warm-up, but not seen until that has ended.
    Hidden,
    /// As `hidden`, and the ramp ends at the schedule's rate.
    Aimed,
}

/// `sequential = { schedulers = [{ … }, { … }], milestones = ["30%"] }`: one schedule after the other.
///
/// Each begins anew at its milestone, which belongs to it, and its percentages are of its own part of the run. Any
/// schedule may stand anywhere in the list, sequences and chains too.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SequentialSpec {
    /// One after the other; at least one.
    pub schedulers: Vec<ScheduleSpec>,
    /// When each of them but the first begins; increasing, one fewer than schedules.
    pub milestones: Vec<Span>,
}

/// `chained = { schedulers = [{ … }, { … }] }`: all at once; each takes the one before's rate as its base.
///
/// `chained = { schedulers = [{ cosine = {} }, { constant = {…} }] }` is `constant(cosine(base, t), t)`: products
/// for schedules that multiply, and floors come out as the order says.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ChainedSpec {
    /// From the inside out; at least one.
    pub schedulers: Vec<ScheduleSpec>,
}

/// `min = { schedulers = [{ … }, { … }] }`: the lowest rate of several.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct MinSpec {
    /// At least one.
    pub schedulers: Vec<ScheduleSpec>,
}

/// `max = { schedulers = [{ … }, { … }] }`: the highest rate of several.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct MaxSpec {
    /// At least one.
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
    /// What lies above it.
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
    /// Whose rate.
    pub of: Box<ScheduleSpec>,
}

/// `clamp = { min = 1e-5, max = 0.1, of = { … } }`: the rate kept within bounds.
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
    /// Whose rate.
    pub of: Box<ScheduleSpec>,
}

/// `delay = { by = "1 epoch", of = { … } }`: a schedule that starts later; until then its first rate.
///
/// Its percentages are of what is left of the run.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct DelaySpec {
    /// How much later.
    pub by: Span,
    /// What starts later.
    pub of: Box<ScheduleSpec>,
}

/// `repeat = { period = "10 epochs", of = { … } }`: a schedule again and again.
///
/// Its percentages are of a period. After `limit` periods it holds what the last one ended with; without a limit
/// it goes on. A period that is no whole number of updates is rounded up.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct RepeatSpec {
    /// After how long it starts anew, > 0.
    pub period: Span,
    /// What the base rate is multiplied by from one period to the next, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub decay: f64,
    /// How many periods, ≥ 1; default: no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub limit: Option<u32>,
    /// What is repeated.
    pub of: Box<ScheduleSpec>,
}

/// `staircase = { step = "1 epoch", of = { … } }`: a schedule that moves only so often.
///
/// `lr(t) = of(step · ⌊t / step⌋)`, t in updates: within a step the rate is that of the step's first update (rounded
/// up to a whole one). Optax's and Keras's `staircase`, for every schedule.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StaircaseSpec {
    /// How long the rate stays, > 0.
    pub step: Span,
    /// Whose rate.
    pub of: Box<ScheduleSpec>,
}

/// `noise = { std = 0.1, of = { cosine = {} } }`: the rate times `1 + n`, n a normal number of its update or epoch.
///
/// n has standard deviation `std` and is drawn again while `|n| ≥ limit`, so the rate stays above 0; or it is uniform between
/// `−limit` and `limit`. Before `start` and from `end` on there is none. The draw is a function of seed and time, nothing else:
/// asking twice, or in another order, gives the same rate. Source: timm's `noise_range_t`, which is `start` and `end`, with
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
    /// Seed of the draws; default 42.
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
    /// Whose rate.
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
/// From `start` on the rate goes from the one that the schedule has there to `swa_lr` within `anneal`, along half a cosine or
/// a straight line, and stays: `swa_lr · α + lr(start) · (1 − α)`, α = `(1 − cos(π p)) / 2` or p, where p is the share of
/// `anneal` that has passed. Source: `torch.optim.swa_utils.SWALR`, whose first step is at `start` and which counts
/// `anneal_epochs` of its own steps; Izmailov et al., UAI 2018.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SwaSpec {
    /// The last rate, absolute, 0 … 1e30.
    pub swa_lr: f64,
    /// When the schedule is left; default `"75%"`.
    #[cfg_attr(feature = "serde", serde(default = "three_quarters"))]
    pub start: Span,
    /// How long the rate moves; 0 is not at all. Default `"10 epochs"`.
    #[cfg_attr(feature = "serde", serde(default = "ten_epochs"))]
    pub anneal: Span,
    /// How it moves; default `cos`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub anneal_strategy: Anneal,
    /// The schedule before.
    pub of: Box<ScheduleSpec>,
}

macro_rules! schedules {
    ($($variant:ident($spec:ty) = $name:literal),* $(,)?) => {
        impl ScheduleSpec {
            /// The name by which files call it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            fn plan(&self) -> &dyn Plan {
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
    /// Checks every value that can be checked without knowing the run.
    ///
    /// # Errors
    /// The first value out of its range, with the keys that lead to it.
    pub fn check(&self) -> Result<(), Error> {
        self.plan().check().map_err(|error| error.under(self.name()))
    }

    /// Whether any of its rates depends on the base rate. Those of `cyclic` and `one_cycle` do not, nor do those of
    /// what is made of them alone.
    #[must_use]
    pub fn reads_base(&self) -> bool {
        self.plan().reads_base()
    }

    /// The schedule for a run of this length: every length is resolved here, once.
    ///
    /// # Errors
    /// What [`ScheduleSpec::check`] finds, and a run without updates.
    pub fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        self.check()?;
        if run.updates == 0 || run.updates_per_epoch == 0 {
            return Err(Error::new(self.name(), Problem::EmptyRun));
        }
        self.plan().build(run).map_err(|error| error.under(self.name()))
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
