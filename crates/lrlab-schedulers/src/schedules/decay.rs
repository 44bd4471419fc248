//! Descents to a floor over a given length that differ in their shape only.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, cosine::from_to, marks, one};
use crate::{Error, Every, Horizon, Mark, MarkKind, Schedule, Span, Time, check, time::Clock};

/// `polynomial = { power = 0.9 }`: `lr(t) = eta_min + (base − eta_min) (1 − t / total_iters)^power`, t in updates.
///
/// Holds `eta_min` past the end. Source: `PolynomialLR`'s closed form; `eta_min` as Keras's `end_learning_rate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolynomialSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub total_iters: Span,
    /// Exponent, above 0; default 1.
    pub power: f64,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate moves; default `update`.
    pub every: Every,
}

/// `linear_to_zero = {}`: `lr(t) = base (1 − t / t_max)`, t in updates; 0 past the end.
///
/// Source: Li, Yumer and Ramanan, "Budgeted training", ICLR 2020.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearToZeroSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// How often the rate moves; default `update`.
    pub every: Every,
}

/// `rex = {}`: `lr(t) = eta_min + (base − eta_min) s / (1/2 + s/2)` with `s = 1 − t / t_max`, t in updates.
///
/// Holds `eta_min` past the end. Source: Chen et al., "REX: Revisiting budgeted training with an improved
/// schedule", `MLSys` 2022 (arXiv 2107.04197).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RexSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate moves; default `update`.
    pub every: Every,
}

/// `tanh = {}`: `lr(t) = eta_min + (base − eta_min) (1 − tanh(lb (1 − p) + ub p)) / 2` with `p = t / t_max`.
///
/// Past the end it holds the value for p = 1, which lies a little above `eta_min`. Source: Hsueh, Li and Wu,
/// "Stochastic gradient descent with hyperbolic-tangent decay", WACV 2019; bounds as timm's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TanhSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// Where on the curve it begins, −1e3 … 1e3; default −7.
    pub lb: f64,
    /// Where on the curve it ends, −1e3 … 1e3; default 3.
    pub ub: f64,
    /// The floor, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate moves; default `update`.
    pub every: Every,
}

/// `wsd = { cooldown = "20%" }`: stable, then down (warm-up–stable–decay together with `warmup`).
///
/// The base rate until `cooldown` before the end of the run, then `eta_min + (base − eta_min) shape(p)`, where p
/// goes from 0 to 1: `1 − p`, `(1 + cos(π p)) / 2` or `1 − √p`. Holds `eta_min` past the end. A cooldown longer
/// than the run fills it. Source: Hägele et al., "Scaling laws and compute-optimal training beyond fixed training
/// durations", `NeurIPS` 2024, from which cooldown of 20 % and `1 − √p` are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WsdSpec {
    /// Length of the descent at the end of the run, > 0; default `"20%"`.
    pub cooldown: Span,
    /// Its shape; default `one_minus_sqrt`.
    pub shape: Cooldown,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
}

/// The shape of a [`WsdSpec`]'s cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cooldown {
    /// `1 − p`.
    Linear,
    /// `(1 + cos(π p)) / 2`.
    Cosine,
    /// `1 − √p`.
    #[default]
    OneMinusSqrt,
}

impl Default for PolynomialSpec {
    fn default() -> Self {
        Self { total_iters: Span::WHOLE, power: one(), eta_min: 0.0, every: Every::Update }
    }
}

impl Default for LinearToZeroSpec {
    fn default() -> Self {
        Self { t_max: Span::WHOLE, every: Every::Update }
    }
}

impl Default for RexSpec {
    fn default() -> Self {
        Self { t_max: Span::WHOLE, eta_min: 0.0, every: Every::Update }
    }
}

impl Default for TanhSpec {
    fn default() -> Self {
        Self { t_max: Span::WHOLE, lb: -7.0, ub: 3.0, eta_min: 0.0, every: Every::Update }
    }
}

impl Default for WsdSpec {
    fn default() -> Self {
        Self { cooldown: Span::Fraction(0.2), shape: Cooldown::OneMinusSqrt, eta_min: 0.0 }
    }
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Power(f64),
    Rex,
    Tanh { lb: f64, ub: f64 },
    Cosine,
    OneMinusSqrt,
}

impl Shape {
    /// From about 1 at p = 0 to about 0 at p = 1.
    fn at(self, p: f64) -> f64 {
        match self {
            Self::Power(power) => libm::pow(1.0 - p, power),
            Self::Rex => (1.0 - p) / (0.5 + (1.0 - p) / 2.0),
            Self::Tanh { lb, ub } => (1.0 - libm::tanh(lb * (1.0 - p) + ub * p)) / 2.0,
            Self::Cosine => f64::midpoint(1.0, libm::cos(PI * p)),
            Self::OneMinusSqrt => 1.0 - p.sqrt(),
        }
    }
}

#[derive(Debug)]
struct Decay {
    start: f64,
    length: f64,
    eta_min: f64,
    shape: Shape,
    clock: Clock,
    end: u64,
}

impl Schedule for Decay {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = self.clock.updates(at) - self.start;
        if t < 0.0 {
            return base;
        }
        let p = (t / self.length).min(1.0);
        from_to(base, self.eta_min, self.shape.at(p))
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all = Vec::new();
        if self.start > 0.0 {
            all = marks(std::iter::once(self.start), self.end, MarkKind::Milestone);
        }
        let end = self.start + self.length;
        all.extend(marks(std::iter::once(end), self.end.saturating_add(1), MarkKind::End));
        all
    }
}

fn decay(length: Span, eta_min: f64, shape: Shape, every: Every, run: &Horizon) -> Box<dyn Schedule> {
    let (length, clock) = (length.resolve(run), Clock::new(every, run));
    Box::new(Decay { start: 0.0, length, eta_min, shape, clock, end: run.updates })
}

impl Plan for PolynomialSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("total_iters", self.total_iters)?;
        check::positive("power", self.power)?;
        check::rate("eta_min", self.eta_min)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(decay(self.total_iters, self.eta_min, Shape::Power(self.power), self.every, run))
    }
}

impl Plan for LinearToZeroSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(decay(self.t_max, 0.0, Shape::Power(1.0), self.every, run))
    }
}

impl Plan for RexSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)?;
        check::rate("eta_min", self.eta_min)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(decay(self.t_max, self.eta_min, Shape::Rex, self.every, run))
    }
}

impl Plan for TanhSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)?;
        for (field, x) in [("lb", self.lb), ("ub", self.ub)] {
            check::range(field, x, (-1e3..=1e3).contains(&x), "a number from -1e3 to 1e3")?;
        }
        check::rate("eta_min", self.eta_min)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let shape = Shape::Tanh { lb: self.lb, ub: self.ub };
        Ok(decay(self.t_max, self.eta_min, shape, self.every, run))
    }
}

impl Plan for WsdSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("cooldown", self.cooldown)?;
        check::rate("eta_min", self.eta_min)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let shape = match self.shape {
            Cooldown::Linear => Shape::Power(1.0),
            Cooldown::Cosine => Shape::Cosine,
            Cooldown::OneMinusSqrt => Shape::OneMinusSqrt,
        };
        let end = run.updates as f64;
        let length = self.cooldown.resolve(run).min(end);
        let clock = Clock::new(Every::Update, run);
        let (start, eta_min) = (end - length, self.eta_min);
        Ok(Box::new(Decay { start, length, eta_min, shape, clock, end: run.updates }))
    }
}
