//! Schedules as data, externally tagged: `cosine = { … }`. The modules here have the specifications of schedules made of
//! others; the [`schedules`](crate::schedules) module has the other specifications and the formulas.

mod changed;
mod several;
mod warmup;

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::schedules::{Specification, build};
use crate::{
    ConstantSpec, CosineSpec, CosineWarmRestartsSpec, CyclicSpec, Error, ExponentialSpec, Horizon,
    InverseSqrtSpec, InverseTimeSpec, LambdaSpec, LinearSpec, LinearToZeroSpec, MultiStepSpec, NoamSpec,
    OneCycleSpec, PiecewiseLinearSpec, PolynomialSpec, PowerSpec, RexSpec, Schedule, StaticSpec, StepSpec,
    TanhSpec, WsdSpec,
};

pub use changed::{
    ClampSpec, DelaySpec, FloorSpec, NoiseKind, NoiseSpec, RepeatSpec, ScaleSpec, StaircaseSpec, SwaSpec,
};
pub use several::{ChainedSpec, MaxSpec, MinSpec, SequentialSpec, SumSpec};
pub use warmup::{WarmupClock, WarmupShape, WarmupSpec};

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
