//! The metric that ranks trials, with its direction.

use std::cmp::Ordering;

use lrlab_runs::EpochMetrics;

use crate::Error;

/// A metric of [`EpochMetrics`] and whether higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Metric<'a> {
    name: &'a str,
    higher_is_better: bool,
}

impl<'a> Metric<'a> {
    /// Parses the name of a built-in metric, or a custom one with its direction: `max:top5`.
    pub(crate) fn parse(metric: &'a str) -> Result<Self, Error> {
        let custom = EpochMetrics::custom(metric);
        let name = custom.map_or(metric, |(_, name)| name);
        let built_in = EpochMetrics::NAMES.contains(&name);
        let problem = match (custom, EpochMetrics::higher_is_better(name)) {
            (None, Some(higher_is_better)) => return Ok(Self { name, higher_is_better }),
            (Some((direction, _)), None) if !built_in => {
                return Ok(Self { name, higher_is_better: direction == "max" });
            }
            (Some(_), Some(_)) => format!("its direction is fixed, write `{name}`"),
            (_, None) if built_in => "it has no better direction".to_owned(),
            _ => format!("it is not a built-in metric; write `max:{name}` or `min:{name}` for a custom one"),
        };
        Err(Error::Metric { metric: metric.to_owned(), problem })
    }

    /// Returns the value in an epoch, if it was measured and is finite.
    pub(crate) fn of(self, epoch: &EpochMetrics) -> Option<f64> {
        epoch.get(self.name).flatten().filter(|value| value.is_finite())
    }

    /// Orders two values, the better one first.
    pub(crate) fn rank(self, a: f64, b: f64) -> Ordering {
        if self.higher_is_better { b.total_cmp(&a) } else { a.total_cmp(&b) }
    }
}
