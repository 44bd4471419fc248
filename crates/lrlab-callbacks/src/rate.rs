//! The current learning rate.

use std::collections::BTreeMap;

use lrlab_schedulers::{Horizon, Mark, Schedule};

/// `clamp(schedule(base, t) × product of gains, lr_min, lr_max)`.
///
/// The gains are arguments, because they change during training and belong to the saved state.
#[derive(Debug)]
pub(crate) struct Rate {
    schedule: Box<dyn Schedule>,
    marks: Vec<Mark>,
    base: f64,
    horizon: Horizon,
    /// The lower and the upper bound.
    bounds: Option<(f64, f64)>,
}

/// Gains by callback. Their fixed order makes the product reproducible bit for bit.
pub(crate) type Gains = BTreeMap<String, f64>;

impl Rate {
    /// Creates a rate without bounds.
    pub(crate) fn new(schedule: Box<dyn Schedule>, base: f64, horizon: Horizon) -> Self {
        Self { marks: schedule.marks(), schedule, base, horizon, bounds: None }
    }

    /// Sets the bounds. If `lr_min` exceeds `lr_max`, the rate is `lr_min`.
    pub(crate) fn clamp(&mut self, lr_min: f64, lr_max: Option<f64>) {
        self.bounds = Some((lr_min, lr_max.unwrap_or(f64::INFINITY)));
    }

    /// Sets the bounds of `other`.
    pub(crate) fn copy_bounds(&mut self, other: &Self) {
        self.bounds = other.bounds;
    }

    /// Returns the rate of the update with this 0-based index, under `gains` and an additional `factor`.
    pub(crate) fn at(&self, update: u64, gains: &Gains, factor: f64) -> f64 {
        let lr = self.schedule_at(update) * product(gains) * factor;
        self.bounds.map_or(lr, |(lr_min, lr_max)| lr.min(lr_max).max(lr_min))
    }

    /// Returns the rate of the schedule, without gains and bounds.
    pub(crate) fn schedule_at(&self, update: u64) -> f64 {
        self.schedule.lr(self.base, self.horizon.at(update))
    }

    pub(crate) fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// Returns the marks of the schedule: restarts, milestones, the end.
    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }
}

/// Returns the product of all gains.
pub(crate) fn product(gains: &Gains) -> f64 {
    gains.values().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrlab_schedulers::Time;

    #[derive(Debug)]
    struct Falling;
    impl Schedule for Falling {
        fn lr(&self, base: f64, at: Time) -> f64 {
            base / (1.0 + at.epoch)
        }
    }

    #[test]
    fn schedule_times_gains_within_bounds() {
        let horizon = Horizon { updates: 40, updates_per_epoch: 10 };
        let mut rate = Rate::new(Box::new(Falling), 1.0, horizon);
        let mut gains = Gains::new();
        assert_eq!(rate.at(0, &gains, 1.0), 1.0);
        rate.clamp(0.1, Some(0.8));
        assert_eq!(rate.at(0, &gains, 1.0), 0.8);
        assert_eq!(rate.at(10, &gains, 1.0), 0.5);
        gains.extend([("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
        assert_eq!(rate.at(10, &gains, 1.0), 0.125);
        assert_eq!(rate.at(10, &gains, 4.0), 0.5);
        assert_eq!(rate.at(10, &gains, 1e3), 0.8);
        gains.insert("b".to_owned(), 1e-9);
        assert_eq!(rate.at(10, &gains, 1.0), 0.1);
        assert_eq!(rate.schedule_at(10), 0.5);
        rate.clamp(0.9, Some(0.8));
        assert_eq!(rate.at(0, &gains, 1.0), 0.9);
    }
}
