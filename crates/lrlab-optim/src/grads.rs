//! What is done to gradients between the backward pass and the update.

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_kernels::{Params, squared_norms};

/// Added to the norm, as in torch.
const CLIP_EPS: f64 = 1e-6;

/// Scales all gradients by min(1, `max_norm` / (norm + 10⁻⁶)) and returns the norm before: the Euclidean norm over
/// everything that is trained (Pascanu et al., ICML 2013; `torch.nn.utils.clip_grad_norm_`).
///
/// The sum runs in f64 over parameters sorted by name: same gradients, same bits. With a bound of infinity it only
/// measures. A norm that is not finite is returned for the caller to act upon: NaN leaves the gradients as they are,
/// infinity scales by 0, as in torch without `error_if_nonfinite`. A step with such gradients writes NaN into the weights;
/// [`clip_finite_grad_norm`] refuses them.
///
/// # Errors
/// A tensor operation fails.
pub fn clip_grad_norm(params: &Params, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    let norm = norm(params, grads)?;
    clip(params, grads, norm, max_norm)?;
    Ok(norm)
}

/// As [`clip_grad_norm`], but a norm that is not finite is an error, as in torch with `error_if_nonfinite=True`.
///
/// It then takes the gradients away, so that a step with the same store leaves weights, moments and counts alone: a loop
/// that passes over such an update need not do more than note it.
///
/// # Errors
/// The norm is NaN or infinite, or a tensor operation fails.
pub fn clip_finite_grad_norm(params: &Params, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    let norm = norm(params, grads)?;
    if !norm.is_finite() {
        for (_, param) in params.trainable() {
            grads.remove(&param.var);
        }
        bail!("the gradients' norm is {norm}, so they are not applied");
    }
    clip(params, grads, norm, max_norm)?;
    Ok(norm)
}

fn norm(params: &Params, grads: &GradStore) -> Result<f64> {
    let all: Vec<&Tensor> = params.trainable().filter_map(|(_, param)| grads.get(&param.var)).collect();
    Ok(squared_norms(&all)?.sqrt())
}

fn clip(params: &Params, grads: &mut GradStore, norm: f64, max_norm: f64) -> Result<()> {
    let coefficient = max_norm / (norm + CLIP_EPS);
    if coefficient < 1.0 {
        scale(params, grads, coefficient)?;
    }
    Ok(())
}

/// Adds `weight` · `grads` to the gradients of a window of batches.
///
/// With `weight` the batch's examples over the window's, and each batch's loss a mean over its examples, the sum is
/// the gradient of the mean over the window's examples, also where its last batch is smaller.
///
/// # Errors
/// Shapes do not fit.
pub fn accumulate(
    params: &Params,
    sum: &mut Option<GradStore>,
    mut grads: GradStore,
    weight: f64,
) -> Result<()> {
    scale(params, &mut grads, weight)?;
    let Some(sum) = sum else {
        *sum = Some(grads);
        return Ok(());
    };
    for (_, param) in params.trainable() {
        if let Some(more) = grads.remove(&param.var) {
            let total = match sum.get(&param.var) {
                Some(so_far) => (so_far + more)?,
                None => more,
            };
            sum.insert(&param.var, total);
        }
    }
    Ok(())
}

fn scale(params: &Params, grads: &mut GradStore, factor: f64) -> Result<()> {
    if factor == 1.0 {
        return Ok(());
    }
    for (_, param) in params.trainable() {
        let scaled = grads.get(&param.var).map(|grad: &Tensor| grad.detach() * factor).transpose()?;
        if let Some(scaled) = scaled {
            grads.insert(&param.var, scaled);
        }
    }
    Ok(())
}
