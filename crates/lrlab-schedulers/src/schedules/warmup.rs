//! Warm-up before or over any schedule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, marks};
use crate::{Error, Horizon, Mark, MarkKind, Schedule, ScheduleSpec, Span, Time, check};

/// `warmup = { over = "5%", start_factor = 0.1, then = { cosine = { … } } }`: a linear ramp into any schedule.
///
/// The ramp multiplies the schedule's rate by `start_factor + (1 − start_factor) · t / over`, t in updates, until
/// `t = over`, where it is 1. A floor of the schedule's (`eta_min`) stays as it is afterwards.
///
/// With `clock = "after"` the schedule starts when the warm-up has ended (at the first update at or past it), its
/// rate until then is its first one, and its percentages are of what is left of the run: `t_max = "100%"` ends
/// with the run. With `clock = "shared"` it runs from the start and the ramp lies over it (timm without
/// `warmup_prefix`).
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
}

fn tenth() -> f64 {
    0.1
}

impl Plan for WarmupSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("over", self.over)?;
        check::unit("start_factor", self.start_factor)?;
        self.then.check().map_err(|error| error.under("then"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let length = self.over.resolve(run);
        let offset = match self.clock {
            WarmupClock::After => length.ceil() as u64,
            WarmupClock::Shared => 0,
        };
        // A warm-up that fills the run leaves the schedule one update, so that it still has a length.
        let rest = Horizon { updates: run.updates.saturating_sub(offset).max(1), ..*run };
        let then = self.then.build(&rest).map_err(|error| error.under("then"))?;
        Ok(Box::new(Warmup { length, start_factor: self.start_factor, offset, end: run.updates, then }))
    }
}

#[derive(Debug)]
struct Warmup {
    length: f64,
    start_factor: f64,
    offset: u64,
    end: u64,
    then: Box<dyn Schedule>,
}

impl Schedule for Warmup {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let lr = self.then.lr(base, at.since(self.offset));
        let t = at.update as f64;
        if t < self.length {
            lr * (self.start_factor + (1.0 - self.start_factor) * t / self.length)
        } else {
            lr
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all = marks(std::iter::once(self.length), self.end, MarkKind::Milestone);
        let shift = |mark: Mark| Mark { update: mark.update.saturating_add(self.offset), ..mark };
        all.extend(self.then.marks().into_iter().map(shift).filter(|mark| mark.update <= self.end));
        all.sort_by_key(|mark| mark.update);
        all
    }
}
