//! Warm-up before or over any schedule.

use std::f64::consts::PI;

use super::{Specification, marks};
use crate::{
    Compose, Error, Horizon, Mark, MarkKind, Schedule, Time, WarmupClock, WarmupShape, WarmupSpec, check,
};

impl Specification for WarmupSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("over", self.over)?;
        check::rate("start_factor", self.start_factor)?;
        self.then.check().map_err(|error| error.under("then"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let (length, start_factor, shape) = (self.over.resolve(run), self.start_factor, self.shape);
        let ramp = Ramp { length, start_factor, shape, end: run.updates };
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

/// A ramp before update `until`, and then a schedule whose time started with the run.
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
    shape: WarmupShape,
    end: u64,
}

impl Schedule for Ramp {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = at.update as f64;
        if t >= self.length {
            return base;
        }
        let range = 1.0 - self.start_factor;
        let factor = match self.shape {
            WarmupShape::Linear => range * t / self.length,
            WarmupShape::Cosine => range * (1.0 - libm::cos(PI * t / self.length)) / 2.0,
            WarmupShape::OneMinusSqrt => range * (1.0 - (1.0 - t / self.length).sqrt()),
        };
        check::saturate(base * (self.start_factor + factor))
    }

    fn marks(&self) -> Vec<Mark> {
        marks(std::iter::once(self.length), self.end, MarkKind::Milestone)
    }
}
