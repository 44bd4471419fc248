//! Piecewise constant and piecewise linear schedules.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use std::f64::consts::PI;

use super::{Specification, is_default, marks, one, tenth};
use crate::{Error, Every, Horizon, Mark, MarkKind, Problem, Schedule, Span, Time, check, time::Clock};

/// `constant = { factor = 0.5, total_iters = "5 epochs" }`: `base · factor` before `total_iters`, then `base`.
///
/// Source: `ConstantLR`. For a fixed rate, see `static`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ConstantSpec {
    /// The factor, 0 … 1e30; default 1/3.
    #[cfg_attr(feature = "serde", serde(default = "third"))]
    pub factor: f64,
    /// How long the factor holds, > 0.
    pub total_iters: Span,
}

/// `linear = { start_factor = 0.1, total_iters = "5 epochs" }`: a straight line between two factors.
///
/// `lr(t) = base (start_factor + (end_factor − start_factor) · min(t / total_iters, 1))`, t in updates; the last rate holds.
/// Source: the closed form of `LinearLR`, but factors may exceed 1.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct LinearSpec {
    /// The first factor, 0 … 1e30; default 1/3.
    #[cfg_attr(feature = "serde", serde(default = "third"))]
    pub start_factor: f64,
    /// The last factor, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub end_factor: f64,
    /// Length of the line, > 0.
    pub total_iters: Span,
    /// How often the rate changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
}

/// `multi_step = { milestones = ["50%", "75%"], gamma = 0.1 }`: `lr(t) = base · gamma^n`, where n is the number of milestones
/// up to t.
///
/// The update at a milestone has the new rate. A milestone that is listed twice counts twice. With `gammas` each milestone has
/// its own factor. Source: `MultiStepLR`; `gammas` as in Optax's `piecewise_constant_schedule`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct MultiStepSpec {
    /// The times of the cuts; not decreasing, at least one.
    pub milestones: Vec<Span>,
    /// Factor of a cut, 0 … 1e30; default 0.1.
    #[cfg_attr(feature = "serde", serde(default = "tenth"))]
    pub gamma: f64,
    /// Factor of each cut, 0 … 1e30; default: `gamma` for all.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub gammas: Vec<f64>,
}

/// `piecewise_linear = { knots = [{ at = "0%", factor = 0.1 }, { at = "30%", factor = 1.0 }, …] }`: straight lines
/// from knot to knot.
///
/// `lr(t) = base · f(t)`, constant before the first knot and after the last. If several knots have the same time, the rate
/// jumps to the last of them. With `interpolate = "cosine"` half a cosine joins two knots. Source: Page, cifar10-fast;
/// `interpolate` as in Optax's `piecewise_interpolate_schedule`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PiecewiseLinearSpec {
    /// The knots in order of time, at least one.
    pub knots: Vec<Knot>,
    /// How often the rate changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
    /// The curve between two knots; default `linear`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub interpolate: Interpolation,
}

/// The curve between two knots, where p goes from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Interpolation {
    /// `p`.
    #[default]
    Linear,
    /// `(1 − cos(π p)) / 2`.
    Cosine,
}

/// A point of a [`PiecewiseLinearSpec`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Knot {
    /// The time.
    pub at: Span,
    /// The factor of the base rate, 0 … 1e30.
    pub factor: f64,
}

fn third() -> f64 {
    1.0 / 3.0
}

/// Interpolates between points of update and factor, and is constant outside.
#[derive(Debug)]
struct Lines {
    knots: Vec<(f64, f64)>,
    interpolate: Interpolation,
    clock: Clock,
    end: u64,
}

impl Schedule for Lines {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = self.clock.updates(at);
        let after = self.knots.partition_point(|&(moment, _)| moment <= t);
        let factor = match (after.checked_sub(1).map(|i| self.knots[i]), self.knots.get(after)) {
            (Some((t0, f0)), Some(&(t1, f1))) => {
                let p = (t - t0) / (t1 - t0);
                f0 + (f1 - f0)
                    * match self.interpolate {
                        Interpolation::Linear => p,
                        Interpolation::Cosine => (1.0 - libm::cos(PI * p)) / 2.0,
                    }
            }
            (Some((_, factor)), None) | (None, Some(&(_, factor))) => factor,
            (None, None) => 1.0,
        };
        check::saturate(base * factor)
    }

    fn marks(&self) -> Vec<Mark> {
        let last = self.knots.len() - 1;
        let inner = self.knots[..last].iter().map(|knot| knot.0).filter(|&moment| moment > 0.0);
        let mut all = marks(inner, self.end, MarkKind::Milestone);
        let end = std::iter::once(self.knots[last].0);
        all.extend(marks(end, self.end.saturating_add(1), MarkKind::End));
        all
    }
}

/// Cuts at milestones, by `gamma` or by individual factors.
#[derive(Debug)]
struct Cuts {
    milestones: Vec<f64>,
    gamma: f64,
    /// The product of the individual factors up to each milestone; empty for `gamma`.
    products: Vec<f64>,
    end: u64,
}

impl Schedule for Cuts {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let reached = self.milestones.partition_point(|&milestone| milestone <= at.update as f64);
        let factor = match (reached, self.products.is_empty()) {
            (0, _) => 1.0,
            (_, true) => check::saturate(libm::pow(self.gamma, reached as f64)),
            (_, false) => self.products[reached - 1],
        };
        check::saturate(base * factor)
    }

    fn marks(&self) -> Vec<Mark> {
        marks(self.milestones.iter().copied(), self.end, MarkKind::Milestone)
    }
}

impl Specification for ConstantSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("factor", self.factor)?;
        check::length("total_iters", self.total_iters)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let (factor, until, end) = (self.factor, self.total_iters.resolve(run), run.updates);
        Ok(Box::new(Constant { factor, until, end }))
    }
}

#[derive(Debug)]
struct Constant {
    factor: f64,
    until: f64,
    end: u64,
}

impl Schedule for Constant {
    fn lr(&self, base: f64, at: Time) -> f64 {
        if (at.update as f64) < self.until { check::saturate(base * self.factor) } else { base }
    }

    fn marks(&self) -> Vec<Mark> {
        marks(std::iter::once(self.until), self.end, MarkKind::Milestone)
    }
}

impl Specification for LinearSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("start_factor", self.start_factor)?;
        check::rate("end_factor", self.end_factor)?;
        check::length("total_iters", self.total_iters)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let knots = vec![(0.0, self.start_factor), (self.total_iters.resolve(run), self.end_factor)];
        let (interpolate, clock) = (Interpolation::Linear, Clock::new(self.every, run));
        Ok(Box::new(Lines { knots, interpolate, clock, end: run.updates }))
    }
}

impl Specification for MultiStepSpec {
    fn check(&self) -> Result<(), Error> {
        if self.milestones.is_empty() {
            return Err(Error::new("milestones", Problem::Empty));
        }
        let check = |(i, &span): (usize, &Span)| check::moment(&format!("milestones.{i}"), span);
        self.milestones.iter().enumerate().try_for_each(check)?;
        check::rate("gamma", self.gamma)?;
        if !self.gammas.is_empty() && self.gammas.len() != self.milestones.len() {
            let expected = format!("{}: one for each milestone", self.milestones.len());
            return Err(Error::new("gammas", Problem::Length { found: self.gammas.len(), expected }));
        }
        let check = |(i, &gamma): (usize, &f64)| check::rate(&format!("gammas.{i}"), gamma);
        self.gammas.iter().enumerate().try_for_each(check)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let milestones = self.milestones.iter().map(|span| span.resolve(run)).collect::<Vec<_>>();
        increasing(&self.milestones, &milestones, |a, b| a <= b)
            .map_err(|(i, problem)| Error::new(format!("milestones.{i}"), problem))?;
        let products = self.gammas.iter().scan(1.0, |product, gamma| {
            *product = check::saturate(*product * gamma);
            Some(*product)
        });
        let (gamma, products) = (self.gamma, products.collect());
        Ok(Box::new(Cuts { milestones, gamma, products, end: run.updates }))
    }
}

impl Specification for PiecewiseLinearSpec {
    fn check(&self) -> Result<(), Error> {
        if self.knots.is_empty() {
            return Err(Error::new("knots", Problem::Empty));
        }
        self.knots.iter().enumerate().try_for_each(|(i, knot)| {
            check::moment(&format!("knots.{i}.at"), knot.at)?;
            check::rate(&format!("knots.{i}.factor"), knot.factor)
        })
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let spans = self.knots.iter().map(|knot| knot.at).collect::<Vec<_>>();
        let moments = spans.iter().map(|span| span.resolve(run)).collect::<Vec<_>>();
        increasing(&spans, &moments, |a, b| a <= b)
            .map_err(|(i, problem)| Error::new(format!("knots.{i}.at"), problem))?;
        let knots = moments.into_iter().zip(self.knots.iter().map(|knot| knot.factor)).collect();
        let (interpolate, clock) = (self.interpolate, Clock::new(self.every, run));
        Ok(Box::new(Lines { knots, interpolate, clock, end: run.updates }))
    }
}

/// Returns an error for the first time that is out of order. Times in different units can only be compared after resolution.
fn increasing(
    spans: &[Span],
    moments: &[f64],
    ordered: fn(f64, f64) -> bool,
) -> Result<(), (usize, Problem)> {
    match moments.windows(2).position(|pair| !ordered(pair[0], pair[1])) {
        None => Ok(()),
        Some(i) => {
            let (previous, next) = (spans[i].to_string(), spans[i + 1].to_string());
            Err((i + 1, Problem::NotIncreasing { previous, next }))
        }
    }
}
