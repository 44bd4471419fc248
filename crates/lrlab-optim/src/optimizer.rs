//! The trait of update rules.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_schedulers::Hyper;

/// An update rule for the parameters of a model. The rate is an argument; the optimizer does not store it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not return its state, so a run with it cannot be saved, rewound or resumed",
    note = "`candle_nn::AdamW` does not return its moments; `lrlab_optim::Adam::decoupled` is the same rule and does",
    note = "for code that expects a `candle_nn::Optimizer`, wrap it in `lrlab_optim::CandleOptimizer`"
)]
pub trait Optimizer: Send {
    /// Makes an update at rate `lr`. A parameter without a gradient does not change.
    ///
    /// # Errors
    /// Returns an error if shapes do not match.
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()>;

    /// Makes an update with rates by name: `lr(None)` is the rate of the run, and `lr(Some(name))` the rate of another
    /// schedule. By default, all parameters use `lr(None)`; [`Groups`](crate::Groups) may have their own schedules.
    ///
    /// # Errors
    /// Returns an error as [`Optimizer::step`] does, or if `lr` has no rate for a name.
    fn step_groups(&mut self, lr: &dyn Fn(Option<&str>) -> Result<f64>, grads: &GradStore) -> Result<()> {
        self.step(lr(None)?, grads)
    }

    /// Sets a constant of the rule for the next steps: momentum, β₁, β₂ or weight decay. The group `""` means all parameters;
    /// other names are those of [`Groups`](crate::Groups). The constants do not belong to [`Optimizer::state`]: a loop with
    /// scheduled constants sets them before each step, for example from a [`Driver`](lrlab_schedulers::Driver).
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if the rule does not have the constant, the group does not exist, or the value is
    /// outside its range. By default, always returns an error.
    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        bail!(
            "this optimizer cannot set {hyper} of the group {group:?} to {value}: it has no constants to set"
        )
    }

    /// Returns copies of the moments and counters by name.
    ///
    /// # Errors
    /// Returns an error if a copy fails.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Restores the output of [`Optimizer::state`].
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if names or shapes do not match.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()> {
        (**self).step(lr, grads)
    }

    fn step_groups(&mut self, lr: &dyn Fn(Option<&str>) -> Result<f64>, grads: &GradStore) -> Result<()> {
        (**self).step_groups(lr, grads)
    }

    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        (**self).set(group, hyper, value)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        (**self).state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        (**self).restore(state)
    }
}
