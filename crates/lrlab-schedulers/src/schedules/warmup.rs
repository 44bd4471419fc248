//! Warm-up before or over any schedule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, marks, tenth};
use crate::{Compose, Error, Horizon, Mark, MarkKind, Schedule, ScheduleSpec, Span, Time, check};

/// `warmup = { over = "5%", start_factor = 0.1, then = { cosine = { … } } }`: a linear ramp into any schedule.
///
/// The ramp multiplies the schedule's rate by `start_factor + (1 − start_factor) · t / over`, t in updates, until
/// `t = over`, where it is 1. A floor of the schedule's (`eta_min`) stays as it is afterwards.
///
/// With `clock = "after"` the schedule starts when the warm-up has ended (at the first update at or past it), its
/// rate until then is its first one, and its percentages are of what is left of the run: `t_max = "100%"` ends
/// with the run. With `clock = "shared"` it runs from the start and the ramp lies over it. With `clock = "hidden"` it
/// runs from the start too, but until the warm-up has ended the ramp stands alone, from `base · start_factor` to
/// `base` (timm without `warmup_prefix`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmupSpec {
    /// Length of the ramp, > 0.
    pub over: Span,
    /// The ramp's first factor, 0 … 1; default 0.1. A start of 0 wastes the first update.
    #[serde(default = "tenth")]
    pub start_factor: f64,
    /// When the schedule's own time begins; default `after`.
    #[serde(default)]
    pub clock: WarmupClock,
    /// The schedule that is warmed up.
    pub then: Box<ScheduleSpec>,
}

/// When the time of a warmed-up schedule begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarmupClock {
    /// When the warm-up has ended.
    #[default]
    After,
    /// With the warm-up.
    Shared,
    /// With the warm-up, but not seen until that has ended.
    Hidden,
}

impl Plan for WarmupSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("over", self.over)?;
        check::unit("start_factor", self.start_factor)?;
        self.then.check().map_err(|error| error.under("then"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let ramp = Ramp { length: self.over.resolve(run), start_factor: self.start_factor, end: run.updates };
        let offset = match self.clock {
            WarmupClock::After => self.over.resolve_updates(run),
            WarmupClock::Shared | WarmupClock::Hidden => 0,
        };
        let then = self.then.build(&run.after(offset)).map_err(|error| error.under("then"))?;
        Ok(match self.clock {
            WarmupClock::Hidden => Box::new(Hidden { until: self.over.resolve_updates(run), ramp, then }),
            WarmupClock::After | WarmupClock::Shared => Box::new(ramp.over(then.delay(offset))),
        })
    }

    fn reads_base(&self) -> bool {
        self.clock == WarmupClock::Hidden || self.then.reads_base()
    }
}

/// The ramp before update `until`, from then on a schedule whose time began with the run.
#[derive(Debug)]
struct Hidden {
    until: u64,
    ramp: Ramp,
    then: Box<dyn Schedule>,
}

impl Schedule for Hidden {
    fn lr(&self, base: f64, at: Time) -> f64 {
        if at.update < self.until { self.ramp.lr(base, at) } else { self.then.lr(base, at) }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all = self.ramp.marks();
        all.extend(self.then.marks().into_iter().filter(|mark| mark.update >= self.until));
        all
    }
}

#[derive(Debug)]
struct Ramp {
    length: f64,
    start_factor: f64,
    end: u64,
}

impl Schedule for Ramp {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = at.update as f64;
        if t < self.length {
            base * (self.start_factor + (1.0 - self.start_factor) * t / self.length)
        } else {
            base
        }
    }

    fn marks(&self) -> Vec<Mark> {
        marks(std::iter::once(self.length), self.end, MarkKind::Milestone)
    }
}
