//! What the training loop needs of an update rule.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore};

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

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        (**self).state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        (**self).restore(state)
    }
}
