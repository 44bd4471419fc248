//! What the training loop needs of an update rule.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore};

/// An update rule over a model's parameters. The rate is an argument: the optimizer never holds it.
pub trait Optimizer: Send {
    /// One update at rate `lr`. A parameter without a gradient is left as it is.
    ///
    /// # Errors
    /// Shapes do not fit.
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()>;

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
