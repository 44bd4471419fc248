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
            WarmupClock::Shared | WarmupClock::Hidden | WarmupClock::Aimed => 0,
        };
        let then = self.then.build(&run.after(offset)).map_err(|error| error.under("then"))?;
        Ok(match self.clock {
            WarmupClock::Hidden => Box::new(Hidden { until: self.over.resolve_updates(run), ramp, then }),
            WarmupClock::Aimed => {
                let until = run.at(self.over.resolve_updates(run));
                Box::new(Aimed { until, ramp, then })
            }
            WarmupClock::After | WarmupClock::Shared => Box::new(ramp.over(then.delay(offset))),
        })
    }

    fn reads_base(&self) -> bool {
        matches!(self.clock, WarmupClock::Hidden | WarmupClock::Aimed) || self.then.reads_base()
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

/// The ramp to the rate that a schedule has at `until`, from then on that schedule, whose time began with the run.
#[derive(Debug)]
struct Aimed {
    until: Time,
    ramp: Ramp,
    then: Box<dyn Schedule>,
}

impl Schedule for Aimed {
    fn lr(&self, base: f64, at: Time) -> f64 {
        if at.update >= self.until.update {
            return self.then.lr(base, at);
        }
        let (from, to) = (check::saturate(base * self.ramp.start_factor), self.then.lr(base, self.until));
        let p = self.ramp.shape.at((at.update as f64 / self.until.update as f64).min(1.0));
        check::saturate(from * (1.0 - p)) + to * p
    }

    fn marks(&self) -> Vec<Mark> {
        let mut all = self.ramp.marks();
        all.extend(self.then.marks().into_iter().filter(|mark| mark.update >= self.until.update));
        all
    }
}

impl WarmupShape {
    /// From 0 at p = 0 to 1 at p = 1.
    fn at(self, p: f64) -> f64 {
        match self {
            Self::Linear => p,
            Self::Cosine => (1.0 - libm::cos(PI * p)) / 2.0,
            Self::OneMinusSqrt => 1.0 - (1.0 - p).sqrt(),
        }
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
