//! Descents to a lowest rate over a given length, with different shapes.

use std::f64::consts::PI;

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    MOST_MARKS, Specification,
    cosine::from_to,
    is_default, is_one, marks, one,
    restarts::{Cycles, check_growth, top},
};
use crate::{Error, Every, Horizon, Mark, MarkKind, Problem, Schedule, Span, Time, check, time::Clock};

/// `polynomial = { power = 0.9 }`: `lr(t) = eta_min + (base − eta_min) (1 − t / total_iters)^power`, t in updates.
///
/// After the end it holds `eta_min`. With `k_decay`, `1 − (t / total_iters)^k_decay` is raised to the power. With `cycle`, the
/// length grows to `total_iters · ⌈t / total_iters⌉`: after each multiple of `total_iters` the rate jumps up, less each time,
/// and falls again. With `restarts` it falls again from the top.
///
/// Source: the closed form of `PolynomialLR`; `eta_min` and `cycle` as Keras's `end_learning_rate` and `cycle`; `k_decay` and
/// `restarts` as timm's `PolyLRScheduler`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PolynomialSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub total_iters: Span,
    /// Exponent, above 0; default 1.
    pub power: f64,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate changes; default `update`.
    pub every: Every,
    /// Exponent of the elapsed share of time, above 0; default 1.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_one"))]
    pub k_decay: f64,
    /// Whether the length grows after its end; default false.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_default"))]
    pub cycle: bool,
    /// Cycles of `total_iters` each; default: none. Excludes `cycle`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub restarts: Option<Restarts>,
}

/// `restarts = { decay = 0.5, limit = 3 }`: repeats a descent, as in
/// [`CosineWarmRestartsSpec`](crate::CosineWarmRestartsSpec).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Restarts {
    /// Each cycle's length over the one before, 1 … 1e6, or with a `limit` from 1e-6; default 1.
    pub t_mult: f64,
    /// Ratio of the peaks of consecutive cycles, 0 … 1e30; default 1.
    pub decay: f64,
    /// Number of cycles, ≥ 1, after which `eta_min` holds; default: no limit.
    pub limit: Option<u32>,
}

impl Default for Restarts {
    fn default() -> Self {
        Self { t_mult: one(), decay: one(), limit: None }
    }
}

impl Restarts {
    fn check(&self) -> Result<(), Error> {
        check_growth(self.t_mult, self.limit)?;
        check::rate("decay", self.decay)?;
        let limit = self.limit.unwrap_or(1);
        check::range("limit", f64::from(limit), limit >= 1, "at least 1")
    }
}

/// `linear_to_zero = {}`: `lr(t) = base (1 − t / t_max)`, t in updates; 0 after the end.
///
/// Source: Li, Yumer and Ramanan, "Budgeted training", ICLR 2020.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LinearToZeroSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// How often the rate changes; default `update`.
    pub every: Every,
}

/// `rex = {}`: `lr(t) = eta_min + (base − eta_min) s / (1/2 + s/2)` with `s = 1 − t / t_max`, t in updates.
///
/// After the end it holds `eta_min`. Source: Chen et al., "REX: Revisiting budgeted training with an improved
/// schedule", `MLSys` 2022 (arXiv 2107.04197).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RexSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate changes; default `update`.
    pub every: Every,
}

/// `tanh = {}`: `lr(t) = eta_min + (base − eta_min) (1 − tanh(lb (1 − p) + ub p)) / 2` with `p = t / t_max`.
///
/// After the end it holds the value for p = 1, which is slightly above `eta_min`. With `restarts` it falls again from the
/// top, and holds `eta_min` after the last cycle. Source: Hsueh, Li and Wu, "Stochastic gradient descent with
/// hyperbolic-tangent decay", WACV 2019; bounds and `restarts` as in timm.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct TanhSpec {
    /// Length of the descent, > 0; default `"100%"`.
    pub t_max: Span,
    /// The argument of tanh at the start, −1e3 … 1e3; default −7.
    pub lb: f64,
    /// The argument of tanh at the end, −1e3 … 1e3; default 3.
    pub ub: f64,
    /// The lowest rate, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// How often the rate changes; default `update`.
    pub every: Every,
    /// Cycles of `t_max` each; default: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub restarts: Option<Restarts>,
}

impl Default for PolynomialSpec {
    fn default() -> Self {
        Self {
            total_iters: Span::WHOLE,
            power: one(),
            eta_min: 0.0,
            every: Every::Update,
            k_decay: one(),
            cycle: false,
            restarts: None,
        }
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
        Self { t_max: Span::WHOLE, lb: -7.0, ub: 3.0, eta_min: 0.0, every: Every::Update, restarts: None }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Power(f64),
    Rex,
    Tanh {
        lb: f64,
        ub: f64,
    },
    Cosine,
    OneMinusSqrt,
    OneMinusSquare,
    MirrorCosine,
    /// A constant factor per update.
    Geometric,
    Halving,
    /// From 1 to this, stretched so that it ends at 0.
    ToRatio(f64),
    OneMinusPower(f64),
}

impl Shape {
    /// Returns the remaining share of the descent: about 1 for p = 0 and about 0 for p = 1.
    fn at(self, p: f64) -> f64 {
        match self {
            Self::Power(power) => libm::pow(1.0 - p, power),
            Self::Rex => (1.0 - p) / (0.5 + (1.0 - p) / 2.0),
            Self::Tanh { lb, ub } => (1.0 - libm::tanh(lb * (1.0 - p) + ub * p)) / 2.0,
            Self::Cosine => f64::midpoint(1.0, libm::cos(PI * p)),
            Self::OneMinusSqrt => 1.0 - p.sqrt(),
            Self::OneMinusSquare => 1.0 - p * p,
            Self::MirrorCosine => (2.0 * (1.0 - p) - f64::midpoint(1.0, libm::cos(PI * p))).max(0.0),
            Self::Geometric => 1.0 - p,
            Self::Halving => 2.0 * libm::pow(0.5, p) - 1.0,
            Self::ToRatio(r) => ((libm::pow(r, p) - r) / (1.0 - r)).max(0.0),
            Self::OneMinusPower(power) => 1.0 - libm::pow(p, power),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Decay {
    start: f64,
    length: f64,
    eta_min: f64,
    shape: Shape,
    /// Exponent of the elapsed share of time.
    k: f64,
    after_end: AfterEnd,
    clock: Clock,
    end: u64,
}

/// The behaviour after the end of a descent.
#[derive(Debug, Clone, Copy)]
enum AfterEnd {
    /// Holds the last value.
    Hold,
    /// Repeats the descent over a multiple of its length.
    Stretch,
    /// Repeats the descent up to `limit` times, each from `decay` times the previous peak.
    Restart { t_mult: f64, decay: f64, limit: f64 },
}

impl AfterEnd {
    fn of(restarts: Option<&Restarts>) -> Self {
        restarts.map_or(Self::Hold, |&Restarts { t_mult, decay, limit }| Self::Restart {
            t_mult,
            decay,
            limit: limit.map_or(f64::INFINITY, f64::from),
        })
    }
}

impl Decay {
    /// The same descent with another start and length, in updates.
    pub(crate) fn within(self, start: f64, length: f64) -> Self {
        Self { start, length, ..self }
    }

    /// Returns the peak of the descent that contains `t` and its elapsed share; `None` after the last descent.
    fn place(&self, base: f64, t: f64) -> Option<(f64, f64)> {
        let (top, t, length) = match self.after_end {
            AfterEnd::Hold => (base, t, self.length),
            AfterEnd::Stretch => (base, t, self.length * (t / self.length).ceil().max(1.0)),
            AfterEnd::Restart { t_mult, decay, limit } => {
                let (n, start, end) = Cycles { first: self.length, factor: t_mult }.find(t);
                if n >= limit {
                    return None;
                }
                // Rounding beyond 2⁵³ updates may make the start larger than `t`.
                (top(base, decay, n, self.eta_min), (t - start).max(0.0), end - start)
            }
        };
        let p = (t / length).min(1.0);
        Some((top, if self.k == 1.0 { p } else { libm::pow(p, self.k) }))
    }
}

impl Schedule for Decay {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = self.clock.updates(at) - self.start;
        if t < 0.0 {
            return base;
        }
        let Some((top, p)) = self.place(base, t) else { return self.eta_min };
        if matches!(self.shape, Shape::Geometric) && top > 0.0 && p > 0.0 {
            let ratio = check::saturate(top / self.eta_min);
            return check::saturate(self.eta_min * libm::pow(ratio, 1.0 - p));
        }
        from_to(top, self.eta_min, self.shape.at(p))
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all = Vec::new();
        if self.start > 0.0 {
            all = marks(std::iter::once(self.start), self.end, MarkKind::Milestone);
        }
        if let AfterEnd::Restart { t_mult, limit, .. } = self.after_end {
            let cycles = Cycles { first: self.length, factor: t_mult };
            let last = limit.min(MOST_MARKS as f64) as u64;
            let restarts = (1..last).map(|n| self.clock.reaches(self.start + cycles.start(n as f64)));
            all.extend(marks(restarts, self.end, MarkKind::Restart));
            if limit.is_finite() {
                let end = std::iter::once(self.clock.reaches(self.start + cycles.start(limit)));
                all.extend(marks(end, self.end.saturating_add(1), MarkKind::End));
            }
            return all;
        }
        let end = self.start + self.length;
        if matches!(self.after_end, AfterEnd::Stretch) {
            // The first update after a multiple of the length.
            let jumps = (1_u64..).map(|n| self.clock.reaches((n as f64 * end).floor() + 1.0));
            all.extend(marks(jumps, self.end, MarkKind::Restart));
            return all;
        }
        let end = std::iter::once(self.clock.reaches(end));
        all.extend(marks(end, self.end.saturating_add(1), MarkKind::End));
        all
    }
}

pub(crate) fn decay(length: Span, eta_min: f64, shape: Shape, every: Every, run: &Horizon) -> Decay {
    let (length, clock) = (length.resolve(run), Clock::new(every, run));
    let (k, after_end) = (1.0, AfterEnd::Hold);
    Decay { start: 0.0, length, eta_min, shape, k, after_end, clock, end: run.updates }
}

impl Specification for PolynomialSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("total_iters", self.total_iters)?;
        check::positive("power", self.power)?;
        check::rate("eta_min", self.eta_min)?;
        check::positive("k_decay", self.k_decay)?;
        let Some(restarts) = &self.restarts else { return Ok(()) };
        if self.cycle {
            let message = "cannot be combined with `cycle`".to_owned();
            return Err(Error::new("restarts", Problem::Syntax { message }));
        }
        restarts.check().map_err(|error| error.under("restarts"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let after_end = if self.cycle { AfterEnd::Stretch } else { AfterEnd::of(self.restarts.as_ref()) };
        let simple = decay(self.total_iters, self.eta_min, Shape::Power(self.power), self.every, run);
        Ok(Box::new(Decay { k: self.k_decay, after_end, ..simple }))
    }
}

impl Specification for LinearToZeroSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(decay(self.t_max, 0.0, Shape::Power(1.0), self.every, run)))
    }
}

impl Specification for RexSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)?;
        check::rate("eta_min", self.eta_min)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(decay(self.t_max, self.eta_min, Shape::Rex, self.every, run)))
    }
}

impl Specification for TanhSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_max", self.t_max)?;
        for (field, x) in [("lb", self.lb), ("ub", self.ub)] {
            check::range(field, x, (-1e3..=1e3).contains(&x), "a number from -1e3 to 1e3")?;
        }
        check::rate("eta_min", self.eta_min)?;
        let restarts = self.restarts.as_ref().map_or(Ok(()), Restarts::check);
        restarts.map_err(|error| error.under("restarts"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let shape = Shape::Tanh { lb: self.lb, ub: self.ub };
        let after_end = AfterEnd::of(self.restarts.as_ref());
        Ok(Box::new(Decay { after_end, ..decay(self.t_max, self.eta_min, shape, self.every, run) }))
    }
}
