//! Cyclic rates and the one-cycle policy, with a peak at the base rate or at an absolute rate.

use std::fmt;

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Specification, Stairs, build, cosine::descend, marks, one, tenth};
use crate::{Error, Horizon, Mark, MarkKind, Problem, Schedule, Span, Time, check};

/// `cyclic = { step_size_up = "2 epochs" }`: up and down between two rates.
///
/// The highest rate is the base rate, and the lowest is `base_factor` times the base rate. As in PyTorch, both may be
/// absolute instead: `cyclic = { base_lr = 1e-3, max_lr = 1e-2, … }`.
///
/// In cycle c = 0, 1, … the rate is `base_lr + (max_lr − base_lr) · x · peak`, where x rises from 0 to 1 within
/// `step_size_up` and falls back within `step_size_down`, and peak is 1 (`triangular`), `2^−c` (`triangular2`) or
/// `gamma^t`, t in updates (`exp_range`). The schedule has no end. Source: Smith, WACV 2017; `CyclicLR`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct CyclicSpec {
    /// The lowest rate divided by the base rate, 0 … 1; default 0.1. Excludes `base_lr` and `max_lr`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub base_factor: Option<f64>,
    /// The lowest rate, absolute, 0 … 1e30. Requires `max_lr`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub base_lr: Option<f64>,
    /// The highest rate of the first cycle, absolute, from `base_lr` to 1e30. Requires `base_lr`.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub max_lr: Option<f64>,
    /// Length of a rise, > 0.
    pub step_size_up: Span,
    /// Length of a fall, > 0; default: that of a rise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub step_size_down: Option<Span>,
    /// The sequence of peaks; default `triangular`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub mode: CyclicMode,
    /// Base of `exp_range`, 0 … 1; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub gamma: f64,
}

/// The sequence of peaks of a cyclic rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CyclicMode {
    /// All equal.
    #[default]
    Triangular,
    /// Each half as high as the previous one.
    Triangular2,
    /// Multiplied by `gamma` at each update.
    ExpRange,
}

/// `one_cycle = {}`: up to the base rate, then far down.
///
/// With `one_cycle = { max_lr = 0.1 }` the peak is `max_lr` instead of the base rate, as in PyTorch. The rate rises from
/// `max_lr / div_factor` to `max_lr` within the share `pct_start` of `total_steps`, and then falls to
/// `max_lr / div_factor / final_div_factor` at the end. With `three_phase` it first falls back to the start value in the time
/// of the rise. Each phase is half a cosine or a straight line. After the end the last rate holds.
///
/// The phases end at `pct_start · total_steps` and `total_steps`, so the end value belongs to the update after the last one.
/// In PyTorch and [`crate::torch`], phases end one update earlier. For the matching momentum, use a second schedule:
/// `piecewise_linear` with `interpolate = "cosine"` from 0.95 to 0.85 within `pct_start`, and back. Source: Smith and Topin,
/// 2018; `OneCycleLR`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct OneCycleSpec {
    /// The highest rate, 0 … 1e30; default: the base rate.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub max_lr: Option<f64>,
    /// Length of the cycle, > 0; default `"100%"`.
    #[cfg_attr(feature = "serde", serde(default = "whole"))]
    pub total_steps: Span,
    /// Share of the rise, 0 … 1, with `three_phase` 0 … 0.5; default 0.3.
    #[cfg_attr(feature = "serde", serde(default = "three_tenths"))]
    pub pct_start: f64,
    /// The shape of the phases; default `cos`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub anneal_strategy: Anneal,
    /// `max_lr` divided by the first rate, 1 … 1e30; default 25.
    #[cfg_attr(feature = "serde", serde(default = "twenty_five"))]
    pub div_factor: f64,
    /// The first rate divided by the last, 1 … 1e30; default 1e4.
    #[cfg_attr(feature = "serde", serde(default = "ten_thousand"))]
    pub final_div_factor: f64,
    /// Whether a symmetric fall precedes the last phase; default false.
    #[cfg_attr(feature = "serde", serde(default))]
    pub three_phase: bool,
}

/// The shape of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

fn whole() -> Span {
    Span::WHOLE
}
fn three_tenths() -> f64 {
    0.3
}
fn twenty_five() -> f64 {
    25.0
}
fn ten_thousand() -> f64 {
    1e4
}

impl Specification for CyclicSpec {
    fn check(&self) -> Result<(), Error> {
        match (self.base_lr, self.max_lr) {
            (None, None) => check::unit("base_factor", self.base_factor.unwrap_or(0.0))?,
            (Some(base_lr), Some(max_lr)) if self.base_factor.is_none() => {
                check::rate("base_lr", base_lr)?;
                let accepted = max_lr >= base_lr && max_lr <= check::MAX;
                check::range("max_lr", max_lr, accepted, "a number from base_lr to 1e30")?;
            }
            _ => {
                let message =
                    "expected both `base_lr` and `max_lr` without `base_factor`, or neither".to_owned();
                return Err(Error::new("", Problem::Syntax { message }));
            }
        }
        check::length("step_size_up", self.step_size_up)?;
        if let Some(down) = self.step_size_down {
            check::length("step_size_down", down)?;
        }
        check::unit("gamma", self.gamma)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(self.resolved(run)))
    }

    fn reads_base(&self) -> bool {
        self.max_lr.is_none()
    }
}

impl CyclicSpec {
    /// The schedule for a run with peaks by a function in place of `mode` and `gamma`: `peak` is `peaks(cycle, t)` with the
    /// cycle counted from 1 and t the moment. It is not data.
    ///
    /// A peak that is NaN or below 0 counts as 0. Source: `scale_fn` of `CyclicLR`, where `scale_mode` decides whether it gets
    /// the cycle or t.
    ///
    /// ```
    /// use lrlab_schedulers::{CyclicSpec, Horizon, ScheduleSpec};
    /// let run = Horizon { updates: 40, updates_per_epoch: 10 };
    /// let ScheduleSpec::Cyclic(cyclic) = ScheduleSpec::parse("cyclic = { base_factor = 0, step_size_up = '5 updates' }")? else {
    ///     unreachable!()
    /// };
    /// let schedule = cyclic.with_peaks(&run, |cycle, _| 1.0 / cycle as f64)?;
    /// assert_eq!([0, 5, 10, 15].map(|update| schedule.lr(0.1, run.at(update))), [0.0, 0.1, 0.0, 0.05]);
    /// # Ok::<(), lrlab_schedulers::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`ScheduleSpec::build`](crate::ScheduleSpec::build).
    pub fn with_peaks(
        &self,
        run: &Horizon,
        peaks: impl Fn(u64, Time) -> f64 + Send + Sync + 'static,
    ) -> Result<Box<dyn Schedule>, Error> {
        build(self, "cyclic", run)?; // for its checks
        Ok(Box::new(Peaked { cyclic: self.resolved(run), peaks }))
    }

    fn resolved(&self, run: &Horizon) -> Cyclic {
        let up = self.step_size_up.resolve(run);
        let down = self.step_size_down.map_or(up, |span| span.resolve(run));
        Cyclic { spec: self.clone(), up, down, end: run.updates }
    }
}

#[derive(Debug)]
struct Cyclic {
    spec: CyclicSpec,
    up: f64,
    down: f64,
    end: u64,
}

impl Cyclic {
    /// The cycle that `t` lies in, from 0.
    fn cycle(&self, t: f64) -> f64 {
        (t / (self.up + self.down)).floor()
    }

    fn rate(&self, base: f64, t: f64, cycle: f64, peak: f64) -> f64 {
        let length = self.up + self.down;
        let within = t - cycle * length;
        let x = if within <= self.up { within / self.up } else { (length - within) / self.down };
        let high = self.spec.max_lr.unwrap_or(base);
        let low = self.spec.base_lr.unwrap_or_else(|| base * self.spec.base_factor.unwrap_or_else(tenth));
        low + (high - low) * x.clamp(0.0, 1.0) * peak
    }
}

struct Peaked<F> {
    cyclic: Cyclic,
    peaks: F,
}

impl<F> fmt::Debug for Peaked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peaked").field("cyclic", &self.cyclic).finish_non_exhaustive()
    }
}

impl<F: Fn(u64, Time) -> f64 + Send + Sync> Schedule for Peaked<F> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = at.update as f64;
        let cycle = self.cyclic.cycle(t);
        let peak = check::saturate((self.peaks)((cycle as u64).saturating_add(1), at).max(0.0));
        check::saturate(self.cyclic.rate(base, t, cycle, peak))
    }

    fn marks(&self) -> Vec<Mark> {
        self.cyclic.marks()
    }
}

impl Schedule for Cyclic {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = at.update as f64;
        let cycle = self.cycle(t);
        let peak = match self.spec.mode {
            CyclicMode::Triangular => 1.0,
            CyclicMode::Triangular2 => libm::pow(2.0, -cycle),
            CyclicMode::ExpRange => libm::pow(self.spec.gamma, t),
        };
        self.rate(base, t, cycle, peak)
    }

    fn marks(&self) -> Vec<Mark> {
        Stairs { size: self.up + self.down }.marks(self.end, MarkKind::Restart)
    }
}

impl Specification for OneCycleSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("max_lr", self.max_lr.unwrap_or(0.0))?;
        check::length("total_steps", self.total_steps)?;
        if self.three_phase {
            let accepted = (0.0..=0.5).contains(&self.pct_start);
            check::range("pct_start", self.pct_start, accepted, "a number from 0 to 0.5 with three_phase")?;
        }
        check::unit("pct_start", self.pct_start)?;
        for (field, x) in [("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)] {
            check::range(field, x, (1.0..=check::MAX).contains(&x), "a number from 1 to 1e30")?;
        }
        Ok(())
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let total = self.total_steps.resolve(run);
        let rise = self.pct_start * total;
        let mut phases = vec![(0.0, Level::First), (rise, Level::Peak)];
        if self.three_phase {
            phases.push((2.0 * rise, Level::First));
        }
        phases.push((total, Level::Last));
        Ok(Box::new(OneCycle { phases, spec: self.clone(), end: run.updates }))
    }

    fn reads_base(&self) -> bool {
        self.max_lr.is_none()
    }
}

/// The phases as points of update and level.
#[derive(Debug)]
struct OneCycle {
    phases: Vec<(f64, Level)>,
    spec: OneCycleSpec,
    end: u64,
}

/// The rate at the start or end of a phase.
#[derive(Debug, Clone, Copy)]
enum Level {
    First,
    Peak,
    Last,
}

impl OneCycle {
    fn rate(&self, base: f64, level: Level) -> f64 {
        let peak = self.spec.max_lr.unwrap_or(base);
        match level {
            Level::First => peak / self.spec.div_factor,
            Level::Peak => peak,
            Level::Last => peak / self.spec.div_factor / self.spec.final_div_factor,
        }
    }
}

impl Schedule for OneCycle {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = at.update as f64;
        for pair in self.phases.windows(2) {
            let ((start, from), (end, to)) = (pair[0], pair[1]);
            if t < end {
                let (from, to) = (self.rate(base, from), self.rate(base, to));
                return match self.spec.anneal_strategy {
                    Anneal::Cos => descend(from, to, t - start, end - start),
                    Anneal::Linear => from + (to - from) * ((t - start) / (end - start)),
                };
            }
        }
        self.rate(base, Level::Last)
    }

    fn marks(&self) -> Vec<Mark> {
        let last = self.phases.len() - 1;
        let inner = self.phases[1..last].iter().map(|phase| phase.0);
        let mut all = marks(inner, self.end, MarkKind::Milestone);
        let end = std::iter::once(self.phases[last].0);
        all.extend(marks(end, self.end.saturating_add(1), MarkKind::End));
        all
    }
}
