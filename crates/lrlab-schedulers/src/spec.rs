//! Schedules and controllers as experiment files write them: externally tagged, `cosine = { … }`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AnyController, Controlled, CosineSpec, CosineWarmRestartsSpec, Error, ExponentialSpec, Horizon, Plateau,
    Problem, Schedule, StaticSpec, StepSpec, WarmupSpec, schedules::Plan,
};

/// A schedule as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleSpec {
    /// A fixed rate.
    Static(StaticSpec),
    /// Falls by a factor at equal distances.
    Step(StepSpec),
    /// Falls by a factor per epoch.
    Exponential(ExponentialSpec),
    /// Falls along half a cosine.
    Cosine(CosineSpec),
    /// Falls along a cosine, again and again.
    CosineWarmRestarts(CosineWarmRestartsSpec),
    /// Rises linearly into any schedule.
    Warmup(WarmupSpec),
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
    Step(StepSpec) = "step",
    Exponential(ExponentialSpec) = "exponential",
    Cosine(CosineSpec) = "cosine",
    CosineWarmRestarts(CosineWarmRestartsSpec) = "cosine_warm_restarts",
    Warmup(WarmupSpec) = "warmup",
}

impl ScheduleSpec {
    /// Checks every value that can be checked without knowing the run.
    ///
    /// # Errors
    /// The first value out of its range, with the keys that lead to it.
    pub fn check(&self) -> Result<(), Error> {
        self.plan().check().map_err(|error| error.under(self.name()))
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
    /// Cut when the metric no longer improves.
    Plateau(Plateau),
}

impl ControllerSpec {
    /// The name by which files call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plateau(_) => "plateau",
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range, with the keys that lead to it.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Plateau(controller) => controller.check(),
        }
        .map_err(|error| error.under(self.name()))
    }

    /// The controller with its first state.
    ///
    /// # Errors
    /// What [`ControllerSpec::check`] finds.
    pub fn build(&self) -> Result<Box<dyn AnyController>, Error> {
        self.check()?;
        Ok(match self {
            Self::Plateau(controller) => Box::new(Controlled::new(controller.clone())),
        })
    }
}

impl From<Plateau> for ControllerSpec {
    fn from(controller: Plateau) -> Self {
        Self::Plateau(controller)
    }
}
