//! Warm-up before or over any schedule.

use super::{Plan, marks};
use crate::{Compose, Error, Horizon, Mark, MarkKind, Schedule, Time, WarmupClock, WarmupSpec, check};

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
