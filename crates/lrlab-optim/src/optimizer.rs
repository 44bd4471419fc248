//! What the training loop needs of an update rule.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_schedulers::Hyper;

/// An update rule over a model's parameters. The rate is an argument: the optimizer never holds it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not hand out its state, so a run cannot be saved, rewound or resumed with it",
    note = "`candle_nn::AdamW` hides its moments; `lrlab_optim::Adam::decoupled` has the same rule and returns them",
    note = "for code that expects a `candle_nn::Optimizer`, wrap it in `lrlab_optim::CandleOptimizer`"
)]
pub trait Optimizer: Send {
    /// One update at rate `lr`. A parameter without a gradient is left as it is.
    ///
    /// # Errors
    /// Shapes do not fit.
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()>;

    /// One update with rates by name: `lr(None)` is the rate of the run, `lr(Some(name))` that of a further schedule. By
    /// default, all parameters move at `lr(None)`; [`Groups`](crate::Groups) have rates of their own.
    ///
    /// # Errors
    /// As [`Optimizer::step`], or `lr` has no rate of a name.
    fn step_groups(&mut self, lr: &dyn Fn(Option<&str>) -> Result<f64>, grads: &GradStore) -> Result<()> {
        self.step(lr(None)?, grads)
    }

    /// Sets a constant of the rule for the next steps: momentum, β₁, β₂, weight decay. The group `""` is all parameters;
    /// other names are those of [`Groups`](crate::Groups). What is set is no part of [`Optimizer::state`]: a loop sets it before
    /// each step, from a [`Driver`](lrlab_schedulers::Driver) for instance. By default, there is nothing to set.
    ///
    /// # Errors
    /// The rule has no such constant, there is no such group, or the value is out of its range; nothing is changed then.
    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        bail!(
            "this optimizer cannot set {hyper} of the group {group:?} to {value}: it has no constants to set"
        )
    }

    /// Moments and counters by name, copied, for a snapshot or checkpoint.
    ///
    /// # Errors
    /// The copy fails.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Takes back what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// Names or shapes do not fit; nothing is changed then.
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
