//! Schedules that fall with the inverse or with a power of time.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Specification, Stairs, is_default, is_one, one};
use crate::{Error, Horizon, Mark, MarkKind, Schedule, Span, Time, check};

/// `inverse_time = { decay_steps = "1 epoch", decay_rate = 0.5 }`: `lr(t) = base / (1 + decay_rate · t / decay_steps)`.
///
/// t in updates; with `staircase` `t / decay_steps` is floored. With `power` the divisor is raised to it. Has no end.
/// Source: Keras's `InverseTimeDecay`; `power` as the stable phase `power` (1/2: `rsqrt`) of timm's `WSDLRScheduler`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct InverseTimeSpec {
    /// The unit of time, > 0.
    pub decay_steps: Span,
    /// Growth of the divisor per unit, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub decay_rate: f64,
    /// Whether the rate changes only once per unit; default false.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub staircase: bool,
    /// Exponent of the divisor, above 0; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one", skip_serializing_if = "is_one"))]
    pub power: f64,
}

/// `power = { batch_size = 1024, batch_tokens = 4e6 }`: `lr(t) = min(base, batch_size · a · n^b)`, where n is the number of
/// tokens before update t.
///
/// The base rate is the highest rate. Combine the schedule with `warmup`, and with `wsd` in `chained` for a final descent. The
/// schedule has no end. Source: Shen et al., "Power scheduler: a batch size and token number agnostic learning rate scheduler"
/// (arXiv 2408.13359), where the rates are for μP.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PowerSpec {
    /// Sequences per update, above 0.
    pub batch_size: f64,
    /// Tokens per update, above 0.
    pub batch_tokens: f64,
    /// Amplitude, above 0; default 4.
    #[cfg_attr(feature = "serde", serde(default = "amplitude"))]
    pub a: f64,
    /// Exponent, −10 … 0; default −0.51.
    #[cfg_attr(feature = "serde", serde(default = "exponent"))]
    pub b: f64,
}

fn amplitude() -> f64 {
    4.0
}

fn exponent() -> f64 {
    -0.51
}

impl Specification for InverseTimeSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("decay_steps", self.decay_steps)?;
        check::rate("decay_rate", self.decay_rate)?;
        check::positive("power", self.power)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let &Self { decay_rate, staircase, power, .. } = self;
        Ok(Box::new(InverseTime {
            steps: Stairs { size: self.decay_steps.resolve(run) },
            decay_rate,
            staircase,
            power,
            end: run.updates,
        }))
    }
}

#[derive(Debug)]
struct InverseTime {
    steps: Stairs,
    decay_rate: f64,
    staircase: bool,
    power: f64,
    end: u64,
}

impl Schedule for InverseTime {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let units =
            if self.staircase { self.steps.number(at.update) } else { at.update as f64 / self.steps.size };
        let divisor = check::saturate(1.0 + self.decay_rate * units);
        base / if self.power == 1.0 { divisor } else { check::saturate(libm::pow(divisor, self.power)) }
    }

    fn marks(&self) -> Vec<Mark> {
        if self.staircase { self.steps.marks(self.end, MarkKind::Milestone) } else { Vec::new() }
    }
}

impl Specification for PowerSpec {
    fn check(&self) -> Result<(), Error> {
        check::positive("batch_size", self.batch_size)?;
        check::positive("batch_tokens", self.batch_tokens)?;
        check::positive("a", self.a)?;
        check::range("b", self.b, (-10.0..=0.0).contains(&self.b), "a number from -10 to 0")
    }

    fn build(&self, _: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(Power {
            amplitude: self.batch_size * self.a,
            tokens: self.batch_tokens,
            exponent: self.b,
        }))
    }
}

#[derive(Debug)]
struct Power {
    amplitude: f64,
    tokens: f64,
    exponent: f64,
}

impl Schedule for Power {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let n = at.update as f64 * self.tokens;
        base.min(check::saturate(self.amplitude * check::saturate(libm::pow(n, self.exponent))))
    }
}
