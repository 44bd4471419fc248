//! Exponential decay.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::Specification;
use crate::{Error, Every, Horizon, Problem, Schedule, Time, check, time::Clock};

/// `exponential = { gamma = 0.95 }` or `{ decay_rate = 0.05 }`: exponential decay per epoch.
///
/// `lr(t) = base · gamma^t` or `base · exp(−decay_rate · t)`, t in epochs. The schedule has no end. Source: the closed form of
/// `ExponentialLR`; γ₀e^(−λt).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ExponentialSpec {
    /// Factor per epoch, 0 … 1e30. Excludes `decay_rate`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub gamma: Option<f64>,
    /// Decay rate λ per epoch, 0 … 1e30. Excludes `gamma`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub decay_rate: Option<f64>,
    /// How often the rate changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
}

impl Specification for ExponentialSpec {
    fn check(&self) -> Result<(), Error> {
        self.decay().map(drop)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(Exponential { decay: self.decay()?, clock: Clock::new(self.every, run) }))
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
    clock: Clock,
}

impl Schedule for Exponential {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = self.clock.epochs(at);
        let factor = match self.decay {
            Decay::Gamma(gamma) => libm::pow(gamma, t),
            Decay::Rate(rate) => libm::exp(-rate * t),
        };
        check::saturate(base * check::saturate(factor))
    }
}
