//! The updates by candle's operators, for types and devices without kernels.

use candle_core::{Result, Tensor, Var};

use super::step::{AdamStep, SgdStep};

pub(super) fn composed_sgd(
    var: &Var,
    grad: &Tensor,
    momentum_buffer: Option<&Var>,
    step: SgdStep,
) -> Result<()> {
    let old = var.as_detached_tensor();
    let grad = grad.detach();
    let grad = if step.weight_decay == 0.0 { grad } else { (grad + (&old * step.weight_decay)?)? };
    let direction = match momentum_buffer {
        None => grad,
        Some(buffer) => {
            let moved = if step.first {
                grad.clone()
            } else {
                ((buffer.as_detached_tensor() * step.momentum)? + &grad)?
            };
            buffer.set(&moved)?;
            if step.nesterov { (grad + (moved * step.momentum)?)? } else { moved }
        }
    };
    var.set(&(old - (direction * step.lr)?)?)
}

pub(super) fn composed_adam(var: &Var, grad: &Tensor, m: &Var, v: &Var, step: AdamStep) -> Result<()> {
    let old = var.as_detached_tensor();
    let grad = grad.detach();
    let (old, grad) = if step.decoupled {
        ((old * (1.0 - step.lr * step.weight_decay))?, grad)
    } else {
        let grad = (grad + (&old * step.weight_decay)?)?;
        (old, grad)
    };
    let first = ((m.as_detached_tensor() * step.beta1)? + (&grad * (1.0 - step.beta1))?)?;
    let second = ((v.as_detached_tensor() * step.beta2)? + (grad.sqr()? * (1.0 - step.beta2))?)?;
    m.set(&first)?;
    v.set(&second)?;
    let correction1 = 1.0 - libm::pow(step.beta1, step.step as f64);
    let correction2 = (1.0 - libm::pow(step.beta2, step.step as f64)).sqrt();
    let denominator = ((second.sqrt()? * (1.0 / correction2))? + step.eps)?;
    var.set(&(old - ((first / denominator)? * (step.lr / correction1))?)?)
}
