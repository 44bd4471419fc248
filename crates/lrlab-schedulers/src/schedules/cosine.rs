//! Cosine annealing.

use std::f64::consts::PI;

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Specification, is_one, marks, one};
use crate::{Error, Every, Horizon, Mark, MarkKind, Schedule, Span, Time, check, time::Clock};

/// `cosine = { t_max = "100%", eta_min = 1e-5 }`: cosine annealing from the base rate to `eta_min`.
///
/// `lr(t) = eta_min + (base − eta_min) (1 + cos(π t / t_max)) / 2`, t in updates, rounded down to epochs with
/// `every = "epoch"`. After `t_max` it holds `eta_min`; PyTorch's rises again. From a base rate below `eta_min` it rises.
///
/// In general, `lr(t) = eta_min + (base − eta_min) ((1 + cos(2π · num_cycles · p)) / 2)^exponent` with
/// `p = min(t / t_max, 1)^k_decay`. Unless `num_cycles` is an odd multiple of 1/2, the last rate is above `eta_min`.
///
/// Source: Loshchilov and Hutter, ICLR 2017, equation 5, without restarts; `exponent` as Optax's
/// `cosine_decay_schedule`, `num_cycles` as transformers' `get_cosine_schedule_with_warmup`, `k_decay` as timm's (Zhang
/// and Li, arXiv 2004.05909).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct CosineSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate changes; default `update`.
    pub every: Every,
    /// Exponent of the cosine term, above 0; default 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub exponent: f64,
    /// Periods of the cosine, above 0, at most 1e6; default 0.5, a descent.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_half"))]
    pub num_cycles: f64,
    /// Exponent of the elapsed share of time, above 0; default 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub k_decay: f64,
}

const HALF: f64 = 0.5;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_half(x: &f64) -> bool {
    *x == HALF
}

impl Default for CosineSpec {
    fn default() -> Self {
        Self {
            t_max: Span::WHOLE,
            eta_min: 0.0,
            every: Every::Update,
            exponent: one(),
            num_cycles: HALF,
            k_decay: one(),
        }
    }
}

impl Specification for CosineSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)?;
        check::rate("eta_min", self.eta_min)?;
        check::positive("exponent", self.exponent)?;
        let accepted = self.num_cycles > 0.0 && self.num_cycles <= 1e6;
        check::range("num_cycles", self.num_cycles, accepted, "a number above 0, at most 1e6")?;
        check::positive("k_decay", self.k_decay)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(Cosine {
            t_max: self.t_max.resolve(run),
            eta_min: self.eta_min,
            exponent: self.exponent,
            num_cycles: self.num_cycles,
            k_decay: self.k_decay,
            clock: Clock::new(self.every, run),
            end: run.updates,
        }))
    }
}

/// Returns `low + (high − low) (1 + cos(π t / length)) / 2`, and `low` from `length` on.
pub(crate) fn descend(high: f64, low: f64, t: f64, length: f64) -> f64 {
    low + (high - low) * share(t, length)
}

/// Returns the remaining share `(1 + cos(π t / length)) / 2`, and 0 from `length` on. Rounding beyond 2⁵³ updates may make `t`
/// negative, which counts as 0.
pub(crate) fn share(t: f64, length: f64) -> f64 {
    let t = t.max(0.0);
    if t < length { f64::midpoint(1.0, libm::cos(PI * t / length)) } else { 0.0 }
}

/// Returns `to + (from − to) · share`. If `from < to`, the result is never below `from`, although rounding makes
/// `0.3 + (0.1 − 0.3)` less than 0.1.
pub(crate) fn from_to(from: f64, to: f64, share: f64) -> f64 {
    let lr = to + (from - to) * share;
    match share {
        _ if from >= to => lr,
        1.0.. => from,
        _ => lr.max(from),
    }
}

#[derive(Debug)]
struct Cosine {
    t_max: f64,
    eta_min: f64,
    exponent: f64,
    num_cycles: f64,
    k_decay: f64,
    clock: Clock,
    end: u64,
}

impl Cosine {
    /// Returns the remaining share of the descent.
    fn share(&self, t: f64) -> f64 {
        let wave = if self.num_cycles == HALF {
            share_of_power(t, self.t_max, self.k_decay)
        } else {
            let p = libm::pow((t.max(0.0) / self.t_max).min(1.0), self.k_decay);
            f64::midpoint(1.0, libm::cos(2.0 * PI * self.num_cycles * p))
        };
        if self.exponent == 1.0 { wave } else { libm::pow(wave, self.exponent) }
    }
}

/// Returns [`share`] for the k-th power of `t / length`.
pub(crate) fn share_of_power(t: f64, length: f64, k: f64) -> f64 {
    if k == 1.0 { share(t, length) } else { share(libm::pow((t.max(0.0) / length).min(1.0), k), 1.0) }
}

impl Schedule for Cosine {
    fn lr(&self, base: f64, at: Time) -> f64 {
        from_to(base, self.eta_min, self.share(self.clock.updates(at)))
    }

    fn marks(&self) -> Vec<Mark> {
        marks(std::iter::once(self.t_max), self.end.saturating_add(1), MarkKind::End)
    }
}
