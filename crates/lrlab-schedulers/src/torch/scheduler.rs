//! Schedulers, sequences and chains.

use std::sync::Arc;

use super::{
    Spec,
    group::Group,
    python::{bisect_right, raises},
    rule::{Rule, WarmRestarts},
};
use crate::{Error, Problem};

/// A scheduler on a [`Group`].
#[derive(Debug, Clone)]
pub struct Scheduler(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Leaf { rule: Rule, base: f64, t: i64 },
    Sequential { schedulers: Vec<Scheduler>, milestones: Vec<f64>, t: i64 },
    Chained { schedulers: Vec<Scheduler> },
}

/// Returns the rates of `steps` updates: `get_last_lr()` of `PyTorch` before each update.
///
/// # Errors
/// Returns an error if `PyTorch` raises an exception.
pub fn trace(spec: &Spec, lr: f64, steps: u64) -> Result<Vec<f64>, Error> {
    let mut group = Group::new(lr, 0.9);
    let mut scheduler = Scheduler::new(spec, &mut group)?;
    let mut rates = Vec::new();
    for step in 0..steps {
        if step > 0 {
            scheduler.step(&mut group)?;
        }
        rates.push(group.lr);
    }
    Ok(rates)
}

impl Scheduler {
    /// Creates a scheduler and sets the rate of `group` for the first update.
    ///
    /// # Errors
    /// Returns an error if `PyTorch` rejects the parameters.
    pub fn new(spec: &Spec, group: &mut Group) -> Result<Self, Error> {
        match spec {
            Spec::Static {} => Self::lambda(|_| 1.0, group),
            Spec::Constant(rule) => Self::leaf(Rule::Constant(rule.clone()), group),
            Spec::Step(rule) => Self::leaf(Rule::Step(rule.clone()), group),
            Spec::MultiStep(rule) => Self::leaf(Rule::MultiStep(rule.clone()), group),
            Spec::Linear(rule) => Self::leaf(Rule::Linear(rule.clone()), group),
            Spec::Exponential(rule) => Self::leaf(Rule::Exponential(rule.clone()), group),
            Spec::Polynomial(rule) => Self::leaf(Rule::Polynomial(rule.clone()), group),
            Spec::Cosine(rule) => Self::leaf(Rule::Cosine(rule.clone()), group),
            Spec::CosineWarmRestarts(rule) => {
                let first = rule.t_0 as f64;
                let (factor, eta_min) = (rule.t_mult as f64, rule.eta_min);
                let rule = WarmRestarts { first, factor, eta_min, current: -1.0, length: first };
                Self::leaf(Rule::WarmRestarts(rule), group)
            }
            Spec::Cyclic(rule) => Self::leaf(Rule::Cyclic(rule.clone()), group),
            Spec::OneCycle(cycle) => {
                let total = match (cycle.total_steps, cycle.epochs, cycle.steps_per_epoch) {
                    (Some(total), ..) => total,
                    (None, Some(epochs), Some(steps)) => epochs.saturating_mul(steps),
                    _ => {
                        return Err(raises("ValueError: total_steps or epochs and steps_per_epoch")
                            .under("one_cycle"));
                    }
                };
                Self::leaf(Rule::OneCycle { cycle: cycle.clone(), total: total as f64 }, group)
            }
            Spec::Sequential(spec) => {
                let schedulers =
                    Self::all(&spec.schedulers, group).map_err(|error| error.under("sequential"))?;
                Self::sequential(schedulers, spec.milestones.clone(), group)
            }
            Spec::Chained(spec) => {
                Self::chained(Self::all(&spec.schedulers, group).map_err(|error| error.under("chained"))?)
            }
        }
    }

    /// `LambdaLR`: `base · factor(step)`.
    ///
    /// # Errors
    /// Never returns an error.
    pub fn lambda(
        factor: impl Fn(u64) -> f64 + Send + Sync + 'static,
        group: &mut Group,
    ) -> Result<Self, Error> {
        Self::leaf(Rule::Lambda(Arc::new(factor)), group)
    }

    /// `MultiplicativeLR`: multiplies the current rate by `factor(step)`.
    ///
    /// # Errors
    /// Never returns an error.
    pub fn multiplicative(
        factor: impl Fn(u64) -> f64 + Send + Sync + 'static,
        group: &mut Group,
    ) -> Result<Self, Error> {
        Self::leaf(Rule::Multiplicative(Arc::new(factor)), group)
    }

    /// `SequentialLR` of schedulers that were created on `group`.
    ///
    /// # Errors
    /// Returns an error unless there is one milestone fewer than schedulers.
    pub fn sequential(schedulers: Vec<Self>, milestones: Vec<f64>, group: &mut Group) -> Result<Self, Error> {
        if schedulers.is_empty() {
            return Err(Error::new("sequential.schedulers", Problem::Empty));
        }
        if milestones.len() != schedulers.len() - 1 {
            let expected = format!("{}: one fewer than schedulers", schedulers.len() - 1);
            let problem = Problem::Length { found: milestones.len(), expected };
            return Err(Error::new("sequential.milestones", problem));
        }
        let mut sequential = Self(Kind::Sequential { schedulers, milestones, t: 0 });
        group.lr = group.initial_lr();
        sequential.undo();
        if let Kind::Sequential { schedulers, .. } = &mut sequential.0 {
            schedulers[0].initial_step(group)?;
        }
        Ok(sequential)
    }

    /// `ChainedScheduler` of schedulers that were created on one group.
    ///
    /// # Errors
    /// Returns an error if the list is empty.
    pub fn chained(schedulers: Vec<Self>) -> Result<Self, Error> {
        if schedulers.is_empty() {
            return Err(Error::new("chained.schedulers", Problem::Empty));
        }
        Ok(Self(Kind::Chained { schedulers }))
    }

    /// `step()`.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if `PyTorch` raises an exception.
    pub fn step(&mut self, group: &mut Group) -> Result<(), Error> {
        let before = (self.clone(), group.clone());
        self.advance(group, false).inspect_err(|_| (*self, *group) = before)
    }

    /// `step(epoch)` of `CosineAnnealingWarmRestarts`, for fractional epochs.
    ///
    /// # Errors
    /// Returns an error if the epoch is negative or the scheduler is another one.
    pub fn step_to(&mut self, epoch: f64, group: &mut Group) -> Result<(), Error> {
        let Kind::Leaf { rule: Rule::WarmRestarts(restarts), t, .. } = &mut self.0 else {
            return Err(raises("EPOCH_DEPRECATION_WARNING: only cosine_warm_restarts takes an epoch"));
        };
        if epoch.is_nan() || epoch < 0.0 {
            return Err(raises(format!("ValueError: expected non-negative epoch, got {epoch}")));
        }
        restarts.jump(epoch);
        *t = epoch.floor() as i64;
        self.apply(group, false)
    }

    fn all(specs: &[Spec], group: &mut Group) -> Result<Vec<Self>, Error> {
        let one = |(i, spec)| Self::new(spec, group).map_err(|error| error.under(&format!("schedulers.{i}")));
        specs.iter().enumerate().map(one).collect()
    }

    /// Creates a scheduler other than a sequence or chain.
    fn leaf(rule: Rule, group: &mut Group) -> Result<Self, Error> {
        validate(&rule)?;
        match &rule {
            Rule::Cyclic(cyclic) => {
                group.lr = cyclic.base_lr;
                if cyclic.cycle_momentum {
                    group.momentum = cyclic.max_momentum;
                    (group.max_momentum, group.base_momentum) = (cyclic.max_momentum, cyclic.base_momentum);
                }
            }
            Rule::OneCycle { cycle, .. } => {
                let initial = super::python::divide(cycle.max_lr, cycle.div_factor)?;
                group.initial_lr = Some(initial);
                group.max_lr = cycle.max_lr;
                group.min_lr = super::python::divide(initial, cycle.final_div_factor)?;
                if cycle.cycle_momentum {
                    group.momentum = cycle.max_momentum;
                    (group.max_momentum, group.base_momentum) = (cycle.max_momentum, cycle.base_momentum);
                }
            }
            _ => {}
        }
        let base = *group.initial_lr.get_or_insert(group.lr);
        let mut scheduler = Self(Kind::Leaf { rule, base, t: -1 });
        scheduler.initial_step(group)?;
        // The first rate of CyclicLR uses the initial rate of the group as its base.
        if let Kind::Leaf { rule: Rule::Cyclic(cyclic), base, .. } = &mut scheduler.0 {
            *base = cyclic.base_lr;
        }
        Ok(scheduler)
    }

    /// `_initial_step()`. The schedulers in a sequence or chain treat it as an ordinary step.
    fn initial_step(&mut self, group: &mut Group) -> Result<(), Error> {
        self.advance(group, true)
    }

    fn advance(&mut self, group: &mut Group, initial: bool) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Leaf { rule, t, .. } => {
                if let Rule::WarmRestarts(restarts) = rule {
                    if *t < 0 {
                        restarts.jump(0.0);
                        *t = 0;
                    } else {
                        restarts.advance();
                        *t += 1;
                    }
                } else {
                    *t += 1;
                }
                self.apply(group, initial)
            }
            Kind::Sequential { schedulers, milestones, t } => {
                *t += 1;
                let now = *t as f64;
                let i = bisect_right(milestones, now);
                if i > 0 && milestones[i - 1] == now {
                    schedulers[i].restart(group)
                } else {
                    schedulers[i].advance(group, false)
                }
                .map_err(|error| error.under(&format!("sequential.schedulers.{i}")))
            }
            Kind::Chained { schedulers } => {
                for (i, scheduler) in schedulers.iter_mut().enumerate() {
                    let under = |error: Error| error.under(&format!("chained.schedulers.{i}"));
                    scheduler.advance(group, false).map_err(under)?;
                }
                Ok(())
            }
        }
    }

    /// Sets the rate of the group to `get_lr()`.
    fn apply(&self, group: &mut Group, initial: bool) -> Result<(), Error> {
        if let Kind::Leaf { rule, base, t } = &self.0 {
            group.lr = rule.lr(group, *base, *t, initial)?;
        }
        Ok(())
    }

    /// `_update_lr(0)`, which sequences and chains lack.
    fn restart(&mut self, group: &mut Group) -> Result<(), Error> {
        let Kind::Leaf { rule, base, t } = &mut self.0 else {
            return Err(raises(
                "NotImplementedError: a sequence or chain inside a sequence must be its first scheduler",
            ));
        };
        *t = 0;
        group.lr = rule.restart(group, *base)?;
        Ok(())
    }

    /// `recursive_undo()`: reverts the initial step of every nested scheduler.
    fn undo(&mut self) {
        match &mut self.0 {
            Kind::Leaf { t, .. } => *t -= 1,
            Kind::Sequential { schedulers, .. } | Kind::Chained { schedulers } => {
                schedulers.iter_mut().for_each(Self::undo);
            }
        }
    }
}

/// Checks the conditions for which the constructors raise a `ValueError`.
fn validate(rule: &Rule) -> Result<(), Error> {
    let (path, accepted, what) = match rule {
        Rule::Constant(rule) => ("constant.factor", (0.0..=1.0).contains(&rule.factor), "expected 0 … 1"),
        Rule::Linear(rule) if !(rule.start_factor > 0.0 && rule.start_factor <= 1.0) => {
            ("linear.start_factor", false, "expected above 0, at most 1")
        }
        Rule::Linear(rule) => ("linear.end_factor", (0.0..=1.0).contains(&rule.end_factor), "expected 0 … 1"),
        Rule::WarmRestarts(rule) if rule.first < 1.0 => {
            ("cosine_warm_restarts.t_0", false, "expected a positive integer")
        }
        Rule::WarmRestarts(rule) => {
            ("cosine_warm_restarts.t_mult", rule.factor >= 1.0, "expected an integer of at least 1")
        }
        Rule::OneCycle { total, .. } if *total < 1.0 => {
            ("one_cycle.total_steps", false, "expected a positive integer")
        }
        Rule::OneCycle { cycle, .. } => {
            ("one_cycle.pct_start", (0.0..=1.0).contains(&cycle.pct_start), "expected 0 … 1")
        }
        _ => return Ok(()),
    };
    if accepted { Ok(()) } else { Err(raises(format!("ValueError: {what}")).under(path)) }
}
