//! Clipping and accumulation of gradients.

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_kernels::{Params, squared_norms};

/// The constant that is added to the norm, as in torch.
const CLIP_EPS: f64 = 1e-6;

/// Scales all gradients by min(1, `max_norm` / (norm + 10⁻⁶)) and returns the norm before scaling: the Euclidean norm over all
/// trainable parameters (Pascanu et al., ICML 2013; `torch.nn.utils.clip_grad_norm_`).
///
/// The sum is computed in f64 over the parameters sorted by name, so equal gradients give equal bits. With an infinite
/// `max_norm`, the function only measures the norm. As in torch without `error_if_nonfinite`, a NaN norm leaves the gradients
/// unchanged, and an infinite one scales them by 0. A step with such gradients writes NaN to the weights;
/// [`clip_finite_grad_norm`] returns an error instead.
///
/// # Errors
/// Returns an error if a tensor operation fails.
pub fn clip_grad_norm(params: &Params, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    let norm = norm(params, grads)?;
    clip(params, grads, norm, max_norm)?;
    Ok(norm)
}

/// Like [`clip_grad_norm`], but a norm that is not finite is an error, as in torch with `error_if_nonfinite=True`.
///
/// In this case it removes the gradients, so that a step with the same store does not change weights, moments and counts.
///
/// # Errors
/// Returns an error if the norm is NaN or infinite, or a tensor operation fails.
pub fn clip_finite_grad_norm(params: &Params, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    let norm = norm(params, grads)?;
    if !norm.is_finite() {
        for (_, param) in params.trainable() {
            grads.remove(&param.var);
        }
        bail!("the gradient norm is {norm}, expected a finite number; the gradients are not applied");
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

/// Adds `weight` · `grads` to the accumulated gradients of several batches.
///
/// If the loss of each batch is a mean over its examples and `weight` is the batch's share of all examples, the sum is the
/// gradient of the mean over all examples, also for batches of different sizes.
///
/// # Errors
/// Returns an error if shapes do not match.
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
