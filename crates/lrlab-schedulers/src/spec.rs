//! Schedules and controllers as experiment files write them: externally tagged, `cosine = { … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AnyController, AutoLrs, BoldDriver, ChainedSpec, ClampSpec, ConstantSpec, Controlled, CosineSpec,
    CosineWarmRestartsSpec, CyclicSpec, DelaySpec, Error, ExponentialSpec, Greedy, Horizon, InverseSqrtSpec,
    LinearSpec, LinearToZeroSpec, MaxSpec, MinSpec, MultiStepSpec, NewBob, NoamSpec, NoiseAwarePlateau,
    NoiseSpec, OneCycleSpec, PiecewiseLinearSpec, Plateau, PolynomialSpec, Problem, RepeatSpec, RexSpec,
    ScaleSpec, Schedule, SequentialSpec, StaircaseSpec, StaticSpec, StepSpec, TanhSpec, WarmupSpec, WsdSpec,
    schedules::Plan,
};

/// A schedule as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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
    /// A schedule with seeded noise.
    Noise(NoiseSpec),
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
    Noise(NoiseSpec) = "noise",
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

/// A controller as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControllerSpec {
    /// Cuts when the metric no longer improves.
    Plateau(Plateau),
    /// Cuts when the metric no longer improves by more than its noise.
    NoiseAwarePlateau(NoiseAwarePlateau),
    /// Raises while it improves, lowers while it does not.
    Greedy(Greedy),
    /// Cuts when the metric has hardly improved on the one before.
    NewBob(NewBob),
    /// Raises after each improvement; cuts and goes back after each setback.
    BoldDriver(BoldDriver),
    /// Tries some gains out and goes on with the best.
    AutoLrs(AutoLrs),
}

macro_rules! controllers {
    ($($controller:ident = $name:literal),* $(,)?) => {
        impl ControllerSpec {
            /// The name by which files call it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$controller(_) => $name),* }
            }

            /// Checks every value.
            ///
            /// # Errors
            /// The first value out of its range, with the keys that lead to it.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$controller(controller) => controller.check()),* }
                    .map_err(|error| error.under(self.name()))
            }

            /// The controller with its first state.
            ///
            /// # Errors
            /// What [`ControllerSpec::check`] finds.
            pub fn build(&self) -> Result<Box<dyn AnyController>, Error> {
                self.check()?;
                Ok(match self {
                    $(Self::$controller(controller) => Box::new(Controlled::new(controller.clone()))),*
                })
            }
        }
        $(impl From<$controller> for ControllerSpec {
            fn from(controller: $controller) -> Self {
                Self::$controller(controller)
            }
        })*
    };
}

controllers! {
    Plateau = "plateau",
    NoiseAwarePlateau = "noise_aware_plateau",
    Greedy = "greedy",
    NewBob = "new_bob",
    BoldDriver = "bold_driver",
    AutoLrs = "auto_lrs",
}
