//! Seeded noise on any schedule.

use super::Specification;
use crate::{Error, Horizon, Mark, NoiseSpec, Schedule, Time, check, time::Clock};
use lrlab_random::{Purpose, Stream};

impl Specification for NoiseSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("std", self.std)?;
        let accepted = self.limit > 0.0 && self.limit <= 1.0;
        check::range("limit", self.limit, accepted, "a number above 0, at most 1")?;
        self.of.check().map_err(|error| error.under("of"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let of = self.of.build(run).map_err(|error| error.under("of"))?;
        let stream = Stream::new(self.seed, Purpose::Schedule, "noise");
        Ok(Box::new(Noise {
            std: self.std,
            limit: self.limit,
            stream,
            clock: Clock::new(self.every, run),
            of,
        }))
    }

    fn reads_base(&self) -> bool {
        self.of.reads_base()
    }
}

#[derive(Debug)]
struct Noise {
    std: f64,
    limit: f64,
    stream: Stream,
    clock: Clock,
    of: Box<dyn Schedule>,
}

/// The maximum number of draws. If all are outside the limit, n is 0.
const MOST_DRAWS: u64 = 64;

impl Schedule for Noise {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let draws = self.stream.child(self.clock.updates(at) as u64);
        let n = (0..MOST_DRAWS).map(|i| draws.normal(i) * self.std).find(|n| n.abs() < self.limit);
        check::saturate(self.of.lr(base, at) * (1.0 + n.unwrap_or(0.0)))
    }

    fn marks(&self) -> Vec<Mark> {
        self.of.marks()
    }
}
