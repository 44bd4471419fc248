//! Exponential decay.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::Specification;
use crate::{Error, Every, Horizon, Problem, Schedule, Span, Time, check, time::Clock};

/// `exponential = { gamma = 0.95 }` or `{ decay_rate = 0.05 }`: exponential decay per epoch.
///
/// `lr(t) = base · gamma^(t / per)` or `base · exp(−decay_rate · t / per)`, t in updates. The decay continues past the end of the run.
/// Source: `ExponentialLR`'s closed form; γ₀e^(−λt); `per` as Keras's `decay_steps` and Optax's `transition_steps`, whose
/// `staircase`, `transition_begin` and `end_value` are [`StaircaseSpec`](crate::StaircaseSpec),
/// [`DelaySpec`](crate::DelaySpec) and [`ClampSpec`](crate::ClampSpec).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ExponentialSpec {
    /// Factor per epoch, or `per`, 0 … 1e30. Either this or `decay_rate`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub gamma: Option<f64>,
    /// Rate λ of decay per epoch, or `per`, 0 … 1e30. Either this or `gamma`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub decay_rate: Option<f64>,
    /// How often the rate changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
    /// The unit of time, > 0; default `"1 epoch"`.
    #[cfg_attr(feature = "serde", serde(default = "one_epoch", skip_serializing_if = "is_one_epoch"))]
    pub per: Span,
}

const ONE_EPOCH: Span = Span::Epochs(1.0);

fn one_epoch() -> Span {
    ONE_EPOCH
}

fn is_one_epoch(span: &Span) -> bool {
    *span == ONE_EPOCH
}

impl Specification for ExponentialSpec {
    fn check(&self) -> Result<(), Error> {
        self.decay()?;
        check::length("per", self.per)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let unit = (self.per != ONE_EPOCH).then(|| self.per.resolve(run));
        Ok(Box::new(Exponential { decay: self.decay()?, unit, clock: Clock::new(self.every, run) }))
    }
}

impl ExponentialSpec {
    fn decay(&self) -> Result<Decay, Error> {
        match (self.gamma, self.decay_rate) {
            (Some(gamma), None) => check::rate("gamma", gamma).map(|()| Decay::Gamma(gamma)),
            (None, Some(rate)) => check::rate("decay_rate", rate).map(|()| Decay::Rate(rate)),
            (gamma, _) => {
                let found = if gamma.is_some() { 2 } else { 0 };
                Err(Error::new("", Problem::ExactlyOne { keys: "gamma and decay_rate", found }))
            }
        }
    }
}

#[derive(Debug)]
enum Decay {
    Gamma(f64),
    Rate(f64),
}

#[derive(Debug)]
struct Exponential {
    decay: Decay,
    /// In updates; an epoch where there is none.
    unit: Option<f64>,
    clock: Clock,
}

impl Schedule for Exponential {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = match self.unit {
            None => self.clock.epochs(at),
            Some(unit) => check::saturate(self.clock.updates(at) / unit),
        };
        let factor = match self.decay {
            Decay::Gamma(gamma) => libm::pow(gamma, t),
            Decay::Rate(rate) => libm::exp(-rate * t),
        };
        check::saturate(base * check::saturate(factor))
    }
}
