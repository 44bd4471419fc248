//! Applies schedules to an optimizer: rates, other hyperparameters, and parameter groups.

use std::fmt;

use crate::{Horizon, Schedule, Time};

/// A schedule with its base rate and its run, which counts updates.
///
/// With an optimizer such as those of candle-nn (`examples/candle_nn.rs`):
///
/// ```
/// use lrlab_schedulers::{Horizon, Rates, ScheduleSpec};
/// # struct Optimizer(f64);
/// # impl Optimizer {
/// #     fn set_learning_rate(&mut self, lr: f64) { self.0 = lr; }
/// #     fn backward_step(&mut self) {}
/// # }
/// # let mut optimizer = Optimizer(0.0);
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// let mut rates = Rates::new(ScheduleSpec::parse("cosine")?.build(&run)?, 0.1, run);
/// while let Some(lr) = rates.next() {
///     optimizer.set_learning_rate(lr);
///     optimizer.backward_step();
/// }
/// assert_eq!(rates.update(), 100);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// It is an iterator over the rates of the run from update 0. To resume a run, pass the number of completed updates to
/// [`Rates::seek`]. [`Rates::set_gain`] applies the decision of a controller.
#[derive(Debug)]
pub struct Rates<S> {
    schedule: S,
    base: f64,
    run: Horizon,
    update: u64,
    gain: f64,
}

impl<S: Schedule> Rates<S> {
    /// Starts before the first update, with gain 1.
    pub fn new(schedule: S, base: f64, run: Horizon) -> Self {
        Self { schedule, base, run, update: 0, gain: 1.0 }
    }

    /// Returns the index of the next update.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.update
    }

    /// Sets the index of the next update.
    pub fn seek(&mut self, update: u64) {
        self.update = update;
    }

    /// Sets the factor of the rates from the next update on.
    pub fn set_gain(&mut self, gain: f64) {
        self.gain = gain;
    }

    /// Returns the rate of the next update without advancing.
    #[must_use]
    pub fn peek(&self) -> f64 {
        self.schedule.lr(self.base, self.run.at(self.update)) * self.gain
    }
}

/// The iterator ends with the run.
impl<S: Schedule> Iterator for Rates<S> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if self.update >= self.run.updates {
            return None;
        }
        let lr = self.peek();
        self.update += 1;
        Some(lr)
    }
}

/// A hyperparameter that a schedule can drive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hyper {
    /// The learning rate.
    Lr,
    /// Momentum; for a rule without momentum, the decay of the first moment.
    Momentum,
    /// The decay of the first moment.
    Beta1,
    /// The decay of the second moment.
    Beta2,
    /// Weight decay.
    WeightDecay,
    /// Another hyperparameter by name, such as dropout, label smoothing or temperature.
    Other(String),
}

/// The key of experiment files: `momentum`, `weight_decay`, ….
impl fmt::Display for Hyper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lr => "lr",
            Self::Momentum => "momentum",
            Self::Beta1 => "beta1",
            Self::Beta2 => "beta2",
            Self::WeightDecay => "weight_decay",
            Self::Other(name) => name,
        })
    }
}

/// The schedules of hyperparameters, by parameter group.
///
/// ```
/// use lrlab_schedulers::{Driver, Horizon, Hyper, ScheduleSpec};
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// let build = |text: &str| ScheduleSpec::parse(text).and_then(|spec| spec.build(&run));
/// let driver = Driver::default()
///     .drive("backbone", Hyper::Lr, 0.01, build("cosine")?)
///     .drive("head", Hyper::Lr, 0.1, build("cosine")?)
///     // Momentum falls while a one-cycle rate rises: 0.95 → 0.85 → 0.95.
///     .drive("head", Hyper::Momentum, 1.0, build(
///         "piecewise_linear = { knots = [{ at = '0%', factor = 0.95 }, { at = '30%', factor = 0.85 }, \
///          { at = '100%', factor = 0.95 }] }",
///     )?);
/// assert_eq!(driver.value("head", &Hyper::Lr, run.at(50)), Some(0.05));
/// assert_eq!(driver.value("head", &Hyper::Momentum, run.at(30)), Some(0.85));
/// // Or all of them:
/// driver.apply(run.at(0), |group, hyper, value| println!("{group} {hyper:?} {value}"));
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Driver {
    driven: Vec<Driven>,
}

#[derive(Debug)]
struct Driven {
    group: String,
    hyper: Hyper,
    base: f64,
    schedule: Box<dyn Schedule>,
}

impl Driver {
    /// Adds a schedule from `base` for a hyperparameter of a group, or replaces the existing one.
    #[must_use]
    pub fn drive(
        mut self,
        group: impl Into<String>,
        hyper: Hyper,
        base: f64,
        schedule: impl Schedule + 'static,
    ) -> Self {
        let new = Driven { group: group.into(), hyper, base, schedule: Box::new(schedule) };
        match self.driven.iter_mut().find(|old| old.group == new.group && old.hyper == new.hyper) {
            Some(old) => *old = new,
            None => self.driven.push(new),
        }
        self
    }

    /// Returns whether there are no schedules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.driven.is_empty()
    }

    /// Returns the value for the update at `at`; `None` without a schedule.
    #[must_use]
    pub fn value(&self, group: &str, hyper: &Hyper, at: Time) -> Option<f64> {
        let found = self.driven.iter().find(|driven| driven.group == group && driven.hyper == *hyper)?;
        Some(found.schedule.lr(found.base, at))
    }

    /// Calls `set` with every value for the update at `at`, in the order in which the schedules were added.
    pub fn apply(&self, at: Time, mut set: impl FnMut(&str, &Hyper, f64)) {
        for driven in &self.driven {
            set(&driven.group, &driven.hyper, driven.schedule.lr(driven.base, at));
        }
    }
}
