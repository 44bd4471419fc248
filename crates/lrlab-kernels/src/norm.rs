//! Batch and layer norm.

use candle_core::{D, Result, Tensor, Var, bail};

/// Whose statistics a batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// The batch's; the running statistics move by `momentum` towards them (the unbiased variance, as in torch).
    Train {
        /// Weight of the batch in the running statistics.
        momentum: f64,
    },
    /// The running ones.
    Eval,
}

/// Batch norm of `x (n, c, h, w)` over n, h, w (Ioffe and Szegedy, 2015), then the rest of a residual block's end:
/// y = x̂ scale + shift, plus `residual` where there is one, then max(y, 0) with `relu`.
///
/// `scale`, `shift`, `running_mean` and `running_var` are `(c)`.
///
/// # Errors
/// Shapes do not fit, or a training batch has a single element per channel.
#[expect(clippy::too_many_arguments, reason = "torch's arguments of the layer, and what is fused with it")]
pub fn batch_norm2d(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    eps: f64,
    mode: Norm,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    for (name, t) in [
        ("scale", scale),
        ("shift", shift),
        ("running mean", running_mean.as_tensor()),
        ("running variance", running_var.as_tensor()),
    ] {
        if t.dims() != [c] {
            bail!("batch_norm2d: {name} is {:?} for {c} channels", t.shape());
        }
    }
    if let Some(residual) = residual
        && residual.dims() != x.dims()
    {
        bail!("batch_norm2d: residual {:?} for input {:?}", residual.shape(), x.shape());
    }
    let count = n * h * w;
    if count * c == 0 {
        bail!("batch_norm2d: empty input {:?}", x.shape());
    }
    if count == 1 && mode != Norm::Eval {
        bail!("batch_norm2d: one value per channel has no variance, input {:?}", x.shape());
    }
    let per_channel = |t: &Tensor| t.reshape((1, c, 1, 1));
    let (mean, var) = match mode {
        Norm::Eval => (
            per_channel(&running_mean.as_detached_tensor())?,
            per_channel(&running_var.as_detached_tensor())?,
        ),
        Norm::Train { momentum } => {
            let mean = x.mean_keepdim((0, 2, 3))?;
            let var = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
            remember(running_mean, &mean, momentum, 1.0)?;
            remember(running_var, &var, momentum, count as f64 / (count - 1) as f64)?;
            (mean, var)
        }
    };
    let normed = x.broadcast_sub(&mean)?.broadcast_div(&(var + eps)?.sqrt()?)?;
    let y = normed.broadcast_mul(&per_channel(scale)?)?.broadcast_add(&per_channel(shift)?)?;
    let y = match residual {
        Some(residual) => (y + residual)?,
        None => y,
    };
    if relu { y.relu() } else { Ok(y) }
}

/// running ← (1 − momentum) running + momentum · factor · batch
fn remember(running: &Var, batch: &Tensor, momentum: f64, factor: f64) -> Result<()> {
    let batch = batch.detach().flatten_all()?;
    running.set(&((running.as_detached_tensor() * (1.0 - momentum))? + (batch * (momentum * factor))?)?)
}

/// Layer norm over the last dimension (Ba, Kiros, Hinton, 2016): `x (…, d)`, `scale` and `shift` `(d)`.
///
/// # Errors
/// Shapes do not fit.
pub fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let d = x.dim(D::Minus1)?;
    if scale.dims() != [d] || shift.dims() != [d] {
        bail!("layer_norm: scale {:?}, shift {:?} for input {:?}", scale.shape(), shift.shape(), x.shape());
    }
    if x.elem_count() == 0 {
        bail!("layer_norm: empty input {:?}", x.shape());
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(var + eps)?.sqrt()?)?.broadcast_mul(scale)?.broadcast_add(shift)
}
