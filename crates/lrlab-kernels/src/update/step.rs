//! The constants of a step, and the tensors that it changes.

use candle_core::{Result, Tensor, Var, bail};

use crate::check;

/// One step of stochastic gradient descent with torch's momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate, 0 or more.
    pub lr: f64,
    /// Momentum μ, in [0, 1).
    pub momentum: f64,
    /// Whether to use Nesterov's form.
    pub nesterov: bool,
    /// Added to the gradient times the parameter, 0 or more.
    pub weight_decay: f64,
    /// Whether this is the parameter's first step, which fills the buffer.
    pub first: bool,
}

/// One step of Adam (Kingma and Ba, 2015) or `AdamW` (Loshchilov and Hutter, 2019), as torch has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate, 0 or more.
    pub lr: f64,
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment, above 0.
    pub eps: f64,
    /// Weight decay, 0 or more.
    pub weight_decay: f64,
    /// Decay shrinks the parameter (`AdamW`) instead of joining the gradient (Adam).
    pub decoupled: bool,
    /// Number of this step, from 1.
    pub step: u64,
}

impl SgdStep {
    /// Rejects numbers outside their range.
    pub(super) fn check(&self) -> Result<()> {
        let name = "sgd_update";
        check::not_negative(name, "lr", self.lr)?;
        check::below_one(name, "momentum", self.momentum)?;
        check::not_negative(name, "weight decay", self.weight_decay)
    }
}

impl AdamStep {
    /// Rejects numbers outside their range.
    pub(super) fn check(&self) -> Result<()> {
        let name = "adam_update";
        check::not_negative(name, "lr", self.lr)?;
        check::below_one(name, "beta1", self.beta1)?;
        check::below_one(name, "beta2", self.beta2)?;
        check::eps(name, self.eps, "1e-8")?;
        check::not_negative(name, "weight decay", self.weight_decay)?;
        if self.step == 0 {
            bail!("{name}: step 0, expected 1 or more: steps count from 1");
        }
        Ok(())
    }
}

/// A parameter with its gradient and moments, for [`crate::sgd_updates`] and [`crate::adam_updates`].
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// The parameter.
    pub var: &'a Var,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// For SGD empty or the momentum buffer; for Adam the first and the second moment.
    pub moments: &'a [Var],
    /// Its own weight decay, in place of the step's.
    pub weight_decay: f64,
}
