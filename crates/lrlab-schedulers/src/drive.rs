//! Schedules at work on an optimizer: the rate of each update, any hyperparameter, any number of parameter groups.

use std::fmt;

use crate::{Horizon, Schedule, Time};

/// A schedule with its base rate and its run, counting updates: all that a training loop needs.
///
/// Three lines for any optimizer that takes a rate, candle-nn's among them (`examples/candle_nn.rs`):
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
/// It is an iterator over the rates of the run, update 0 first. [`Rates::seek`] goes to any update: after a resume
/// the number of updates made is all there is to restore. [`Rates::set_gain`] applies what a controller decided.
#[derive(Debug)]
pub struct Rates<S> {
    schedule: S,
    base: f64,
    run: Horizon,
    update: u64,
    gain: f64,
}

impl<S: Schedule> Rates<S> {
    /// Before the first update, with gain 1.
    pub fn new(schedule: S, base: f64, run: Horizon) -> Self {
        Self { schedule, base, run, update: 0, gain: 1.0 }
    }

    /// The index of the next update; the number of those handed out.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.update
    }

    /// Goes to the update with this index.
    pub fn seek(&mut self, update: u64) {
        self.update = update;
    }

    /// From the next update on the rate is the schedule's times `gain`.
    pub fn set_gain(&mut self, gain: f64) {
        self.gain = gain;
    }

    /// The rate of the next update, without going on.
    #[must_use]
    pub fn peek(&self) -> f64 {
        self.schedule.lr(self.base, self.run.at(self.update)) * self.gain
    }
}

/// Ends with the run.
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

/// What a schedule drives. A schedule is a function from a base value to a value, so it fits any number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hyper {
    /// The learning rate.
    Lr,
    /// Momentum; for a rule without one, the first moment's decay.
    Momentum,
    /// The first moment's decay.
    Beta1,
    /// The second moment's decay.
    Beta2,
    /// Weight decay.
    WeightDecay,
    /// Any other, by name: dropout, label smoothing, temperature.
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

/// Which schedule drives what, by parameter group and hyperparameter.
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
/// // … or all of them at once:
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
    /// Lets `schedule` drive a hyperparameter of a group from `base`; one that is driven already has a new driver.
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

    /// Whether it drives nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.driven.is_empty()
    }

    /// The value in force for the update at `at`; none for what is not driven.
    #[must_use]
    pub fn value(&self, group: &str, hyper: &Hyper, at: Time) -> Option<f64> {
        let found = self.driven.iter().find(|driven| driven.group == group && driven.hyper == *hyper)?;
        Some(found.schedule.lr(found.base, at))
    }

    /// Hands every value for the update at `at` to whoever sets it, in the order in which they were added.
    pub fn apply(&self, at: Time, mut set: impl FnMut(&str, &Hyper, f64)) {
        for driven in &self.driven {
            set(&driven.group, &driven.hyper, driven.schedule.lr(driven.base, at));
        }
    }
}
