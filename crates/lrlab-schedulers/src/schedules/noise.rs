//! Seeded noise on any schedule.

use super::Specification;
use crate::{Error, Horizon, Mark, NoiseKind, NoiseSpec, Schedule, Time, check, time::Clock};
use lrlab_random::{Purpose, Stream};

impl Specification for NoiseSpec {
    fn check(&self) -> Result<(), Error> {
        check::rate("std", self.std)?;
        let accepted = self.limit > 0.0 && self.limit <= 1.0;
        check::range("limit", self.limit, accepted, "a number above 0, at most 1")?;
        check::moment("start", self.start)?;
        if let Some(end) = self.end {
            check::moment("end", end)?;
        }
        self.of.check().map_err(|error| error.under("of"))
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let of = self.of.build(run).map_err(|error| error.under("of"))?;
        let stream = Stream::new(self.seed, Purpose::Schedule, "noise");
        Ok(Box::new(Noise {
            std: self.std,
            limit: self.limit,
            distribution: self.distribution,
            range: (self.start.resolve(run), self.end.map_or(f64::INFINITY, |end| end.resolve(run))),
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
    distribution: NoiseKind,
    /// From when to when, in updates.
    range: (f64, f64),
    stream: Stream,
    clock: Clock,
    of: Box<dyn Schedule>,
}

/// The maximum number of draws, which the documentation of [`NoiseSpec`] states. If all are outside the limit, n is 0.
const MOST_DRAWS: u64 = 64;

impl Schedule for Noise {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let (t, lr) = (self.clock.updates(at), self.of.lr(base, at));
        if t < self.range.0 || t >= self.range.1 {
            return lr;
        }
        let draws = self.stream.child(t as u64);
        let n = match self.distribution {
            NoiseKind::Normal => {
                let n = (0..MOST_DRAWS).map(|i| draws.normal(i) * self.std).find(|n| n.abs() < self.limit);
                n.unwrap_or(0.0)
            }
            NoiseKind::Uniform => (2.0 * draws.uniform(0) - 1.0) * self.limit,
        };
        check::saturate(lr * (1.0 + n))
    }

    fn marks(&self) -> Vec<Mark> {
        self.of.marks()
    }
}
