//! What is done to gradients between the backward pass and the update.

use candle_core::{Result, Tensor, backprop::GradStore};
use lrlab_kernels::{Params, squared_norms};

/// Added to the norm, as in torch.
const CLIP_EPS: f64 = 1e-6;

/// Scales all gradients by min(1, `max_norm` / (norm + 10⁻⁶)) and returns the norm before: the Euclidean norm over
/// everything that is trained (Pascanu et al., ICML 2013; `torch.nn.utils.clip_grad_norm_`).
///
/// The sum runs in f64 over parameters sorted by name: same gradients, same bits. With a bound of infinity it only
/// measures. A norm that is not finite is returned for the caller to act upon: NaN leaves the gradients as they are,
/// infinity scales by 0, as in torch.
///
/// # Errors
/// A tensor operation fails.
pub fn clip_grad_norm(params: &Params, grads: &mut GradStore, max_norm: f64) -> Result<f64> {
    let all: Vec<&Tensor> = params.trainable().filter_map(|(_, param)| grads.get(&param.var)).collect();
    let norm = squared_norms(&all)?.sqrt();
    let coefficient = max_norm / (norm + CLIP_EPS);
    if coefficient < 1.0 {
        scale(params, grads, coefficient)?;
    }
    Ok(norm)
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
