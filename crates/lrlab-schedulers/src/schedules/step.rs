//! Step decay.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Specification, Stairs, tenth};
use crate::{Error, Horizon, Mark, MarkKind, Schedule, Span, Time, check};

/// `step = { step_size = "30%", gamma = 0.1 }`: `lr(t) = base · gamma^⌊t / step_size⌋`, t in updates.
///
/// The schedule has no end. Source: the closed form of `StepLR`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StepSpec {
    /// Length of a step, > 0.
    pub step_size: Span,
    /// Factor at each step, 0 … 1e30; default 0.1.
    #[cfg_attr(feature = "serde", serde(default = "tenth"))]
    pub gamma: f64,
}

impl Specification for StepSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("step_size", self.step_size)?;
        check::rate("gamma", self.gamma)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let steps = Stairs { size: self.step_size.resolve(run) };
        Ok(Box::new(Step { steps, gamma: self.gamma, end: run.updates }))
    }
}

#[derive(Debug)]
struct Step {
    steps: Stairs,
    gamma: f64,
    end: u64,
}

impl Schedule for Step {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let steps = self.steps.number(at.update);
        check::saturate(base * check::saturate(libm::pow(self.gamma, steps)))
    }

    fn marks(&self) -> Vec<Mark> {
        self.steps.marks(self.end, MarkKind::Milestone)
    }
}
