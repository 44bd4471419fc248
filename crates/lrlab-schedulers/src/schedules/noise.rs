//! Seeded noise on any schedule.

use lrlab_random::{Purpose, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, one};
use crate::{Error, Every, Horizon, Mark, Schedule, ScheduleSpec, Time, check, time::Clock};

/// `noise = { std = 0.1, of = { cosine = {} } }`: the rate times `1 + n`, n a normal number of its update or epoch.
///
/// n has standard deviation `std` and is drawn again while `|n| ≥ limit`, so the rate stays above 0. The draw is a
/// function of seed and time, nothing else: asking twice, or in another order, gives the same rate. Source: timm's
/// `noise_range`, with `std`, `limit` and `seed` as its `noise_std`, `noise_pct` and `noise_seed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoiseSpec {
    /// Standard deviation of n before the limit, 0 … 1e30; default 1.
    #[serde(default = "one")]
    pub std: f64,
    /// Bound of |n|, above 0, at most 1; default 0.67.
    #[serde(default = "two_thirds")]
    pub limit: f64,
    /// Seed of the draws; default 42.
    #[serde(default = "forty_two")]
    pub seed: u64,
    /// How often n changes; default `update`.
    #[serde(default)]
    pub every: Every,
    /// Whose rate.
    pub of: Box<ScheduleSpec>,
}

fn two_thirds() -> f64 {
    0.67
}

fn forty_two() -> u64 {
    42
}

impl Plan for NoiseSpec {
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

/// Draws before a wide distribution within a narrow limit is given up on; n is 0 then.
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
