//! The rate in force: one line, and what goes into it.

use std::collections::BTreeMap;

use lrlab_schedulers::{Horizon, Mark, Schedule};

/// `clamp(schedule(base, t) × product of gains, lr_min, lr_max)`.
#[derive(Debug)]
pub struct Rate {
    schedule: Box<dyn Schedule>,
    horizon: Horizon,
    base: f64,
    floor: f64,
    ceiling: f64,
    /// Gains by callback, in a fixed order so that their product has fixed bits.
    gains: BTreeMap<String, f64>,
    marks: Vec<Mark>,
}

impl Rate {
    /// No gain is in force yet. A floor above the ceiling gives the floor.
    #[must_use]
    pub fn new(
        schedule: Box<dyn Schedule>,
        horizon: Horizon,
        base: f64,
        floor: f64,
        ceiling: Option<f64>,
    ) -> Self {
        Self {
            marks: schedule.marks(),
            schedule,
            horizon,
            base,
            floor,
            ceiling: ceiling.unwrap_or(f64::INFINITY),
            gains: BTreeMap::new(),
        }
    }

    /// The rate of the update with this 0-based index, under the gains in force.
    #[must_use]
    pub fn at(&self, update: u64) -> f64 {
        self.at_times(update, 1.0)
    }

    /// As [`Rate::at`], with one more gain.
    #[must_use]
    pub(crate) fn at_times(&self, update: u64, gain: f64) -> f64 {
        (self.schedule_at(update) * self.gain() * gain).min(self.ceiling).max(self.floor)
    }

    /// The schedule's own rate, without gains and bounds.
    #[must_use]
    pub fn schedule_at(&self, update: u64) -> f64 {
        self.schedule.lr(self.base, self.horizon.at(update))
    }

    /// The product of all gains.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gains.values().product()
    }

    /// The gain of one callback, 1 before it set any.
    #[must_use]
    pub fn gain_of(&self, source: &str) -> f64 {
        self.gains.get(source).copied().unwrap_or(1.0)
    }

    /// Every callback's gain that was set.
    #[must_use]
    pub fn gains(&self) -> &BTreeMap<String, f64> {
        &self.gains
    }

    /// Sets the gain of one callback.
    pub fn set_gain(&mut self, source: &str, gain: f64) {
        self.gains.insert(source.to_owned(), gain);
    }

    /// How long the run is.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// Restarts, milestones, the end.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }
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
        let mut rate = Rate::new(Box::new(Falling), horizon, 1.0, 0.1, Some(0.8));
        assert_eq!(rate.at(0), 0.8);
        assert_eq!(rate.at(10), 0.5);
        rate.set_gain("a", 0.5);
        rate.set_gain("b", 0.5);
        assert_eq!(rate.at(10), 0.125);
        rate.set_gain("b", 1e-9);
        assert_eq!(rate.at(10), 0.1);
        assert_eq!(rate.schedule_at(10), 0.5);
    }
}
