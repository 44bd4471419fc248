//! Updates of parameters in place.

use candle_core::{DType, Result, Tensor, Var, bail};

/// One step of stochastic gradient descent with torch's momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Momentum μ.
    pub momentum: f64,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether this is the parameter's first step, which fills the buffer.
    pub first: bool,
}

/// One step of Adam (Kingma and Ba, 2015) or `AdamW` (Loshchilov and Hutter, 2019), as torch has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Decay shrinks the parameter (`AdamW`) instead of joining the gradient (Adam).
    pub decoupled: bool,
    /// Number of this step, from 1.
    pub step: u64,
}

fn check(name: &str, var: &Var, grad: &Tensor, state: &[&Var]) -> Result<()> {
    for other in state.iter().map(|v| v.as_tensor()).chain([grad]) {
        if other.shape() != var.shape() {
            bail!("{name}: {:?} for a parameter of {:?}", other.shape(), var.shape());
        }
    }
    Ok(())
}

/// g ← grad + `weight_decay` · var; buffer ← g on the first step, else μ · buffer + g;
/// var ← var − lr · (buffer, or g + μ · buffer with Nesterov). Without a buffer var ← var − lr · g.
///
/// # Errors
/// Shapes do not fit.
pub fn sgd_update(var: &Var, grad: &Tensor, momentum_buffer: Option<&Var>, step: SgdStep) -> Result<()> {
    check("sgd_update", var, grad, momentum_buffer.as_slice())?;
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

/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ)
/// var ← var − lr · m̂ / (√v̂ + eps).
///
/// # Errors
/// Shapes do not fit, or the step is 0.
pub fn adam_update(var: &Var, grad: &Tensor, m: &Var, v: &Var, step: AdamStep) -> Result<()> {
    check("adam_update", var, grad, &[m, v])?;
    if step.step == 0 {
        bail!("adam_update: steps count from 1");
    }
    let mut old = var.as_detached_tensor();
    let mut grad = grad.detach();
    if step.decoupled {
        old = (old * (1.0 - step.lr * step.weight_decay))?;
    } else if step.weight_decay != 0.0 {
        grad = (grad + (&old * step.weight_decay)?)?;
    }
    let first = ((m.as_detached_tensor() * step.beta1)? + (&grad * (1.0 - step.beta1))?)?;
    let second = ((v.as_detached_tensor() * step.beta2)? + (grad.sqr()? * (1.0 - step.beta2))?)?;
    m.set(&first)?;
    v.set(&second)?;
    let correction1 = 1.0 - step.beta1.powf(step.step as f64);
    let correction2 = (1.0 - step.beta2.powf(step.step as f64)).sqrt();
    let denominator = ((second.sqrt()? * (1.0 / correction2))? + step.eps)?;
    var.set(&(old - ((first / denominator)? * (step.lr / correction1))?)?)
}

/// Sum of squares, in f64, always in the same order.
///
/// # Errors
/// The copy to the host fails.
pub fn squared_norm(x: &Tensor) -> Result<f64> {
    let values = x.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.iter().map(|v| v * v).sum())
}
