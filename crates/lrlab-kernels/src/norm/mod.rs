//! Batch and layer norm.

mod batch;
mod layer;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use candle_core::{D, DType, Result, Tensor, Var, bail};

use crate::activation::composed_relu;
use crate::check;
use crate::host;
use batch::{BatchNorm, Statistics};
use layer::LayerNorm;
pub(crate) use layer::{LayerNormBackward, LayerNormForward, NormedRows};
pub use settings::{BatchNorm2d, NormMode};

impl BatchNorm2d<'_> {
    /// `x (n, c, h, w)` to the same shape. In training the running statistics move.
    ///
    /// # Errors
    /// Returns an error if shapes, types or devices do not fit, something is empty, a training batch has a single
    /// element per channel, eps is not a finite number above 0, or the momentum is outside [0, 1].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { scale, shift, running_mean, running_var, eps, mode, residual, .. } = *self;
        let [n, c, h, w] = check::dims("batch_norm2d", "x", x, "(n, c, h, w)")?;
        let vectors = [
            ("scale", scale),
            ("shift", shift),
            ("running mean", running_mean.as_tensor()),
            ("running variance", running_var.as_tensor()),
        ];
        for (name, t) in vectors {
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
        if count == 1 && mode != NormMode::Eval {
            bail!("batch_norm2d: one value per channel has no variance, input {:?}", x.shape());
        }
        let named =
            std::iter::once(("x", x)).chain(vectors).chain(residual.map(|residual| ("residual", residual)));
        check::floats("batch_norm2d", named)?;
        check::eps("batch_norm2d", eps, "1e-5")?;
        mode.check("batch_norm2d")?;
        let mut arguments = vec![x, scale, shift, running_mean.as_tensor(), running_var.as_tensor()];
        arguments.extend(residual);
        if host::is_f32(&arguments) {
            return self.on_host(x);
        }
        #[cfg(feature = "cuda")]
        if crate::cuda::is_f32(&arguments)
            && crate::cuda::all_leaves([scale, shift])
            && running_mean.is_contiguous()
            && running_var.is_contiguous()
            && residual.is_none_or(|residual| {
                x.track_op() || residual.track_op() || !scale.track_op() && !shift.track_op()
            })
        {
            return crate::cuda::batch_norm2d(x, self);
        }
        self.composed(x)
    }

    fn on_host(&self, x: &Tensor) -> Result<Tensor> {
        let Self { scale, shift, running_mean, running_var, eps, mode, residual, relu } = *self;
        let dims = x.dims4()?;
        let fixed = match mode {
            NormMode::Train { .. } => None,
            NormMode::Eval => {
                let values = |v: &Var| v.as_detached_tensor().to_dtype(DType::F64)?.to_vec1::<f64>();
                let pairs = values(running_mean)?.into_iter().zip(values(running_var)?);
                Some(
                    pairs
                        .map(|(mean, var)| Statistics { mean, inverse: 1.0 / (var + eps).sqrt(), var })
                        .collect(),
                )
            }
        };
        let used = Arc::new(OnceLock::new());
        let op = BatchNorm { dims, eps, fixed, used: Arc::clone(&used), relu };
        let params = Tensor::cat(&[scale, shift], 0)?;
        let x = x.contiguous()?;
        let y = match residual {
            Some(residual) => x.apply_op3(&params, &residual.contiguous()?, op)?,
            None => x.apply_op2(&params, op)?,
        };
        if let (NormMode::Train { momentum }, Some(used)) = (mode, used.get()) {
            let (n, _, h, w) = dims;
            let count = (n * h * w) as f64;
            let column = |of: fn(&Statistics) -> f64| {
                Tensor::from_vec(
                    used.iter().map(|s| of(s) as f32).collect::<Vec<_>>(),
                    used.len(),
                    x.device(),
                )
            };
            remember(running_mean, &column(|s| s.mean)?, momentum, 1.0)?;
            remember(running_var, &column(|s| s.var)?, momentum, count / (count - 1.0))?;
        }
        Ok(y)
    }

    /// On candle's operators.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let Self { scale, shift, running_mean, running_var, eps, mode, residual, relu } = *self;
        let (n, c, h, w) = x.dims4()?;
        let count = n * h * w;
        let per_channel = |t: &Tensor| t.reshape((1, c, 1, 1));
        let (mean, var) = match mode {
            NormMode::Eval => (
                per_channel(&running_mean.as_detached_tensor())?,
                per_channel(&running_var.as_detached_tensor())?,
            ),
            NormMode::Train { momentum } => {
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
        if relu { composed_relu(&y) } else { Ok(y) }
    }
}

/// running ← (1 − momentum) running + momentum · factor · batch
fn remember(running: &Var, batch: &Tensor, momentum: f64, factor: f64) -> Result<()> {
    let batch = batch.detach().flatten_all()?;
    running.set(&((running.as_detached_tensor() * (1.0 - momentum))? + (batch * (momentum * factor))?)?)
}

/// Layer norm over the last dimension (Ba, Kiros, Hinton, 2016): `x (…, d)`, `scale` and `shift` `(d)`.
///
/// **In PyTorch**: `torch.nn.functional.layer_norm(x, (d,), scale, shift, eps)`.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, the input is empty, or eps is not a finite number above 0.
pub fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let Some(d) = x.dims().last().copied() else {
        bail!("layer_norm: x of shape {:?}, expected (…, d)", x.shape());
    };
    if scale.dims() != [d] || shift.dims() != [d] {
        bail!("layer_norm: scale {:?}, shift {:?} for input {:?}", scale.shape(), shift.shape(), x.shape());
    }
    if x.elem_count() == 0 {
        bail!("layer_norm: empty input {:?}", x.shape());
    }
    check::floats("layer_norm", [("x", x), ("scale", scale), ("shift", shift)])?;
    check::eps("layer_norm", eps, "1e-5")?;
    if host::is_f32(&[x, scale, shift]) {
        return x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, LayerNorm { d, eps });
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x, scale, shift]) && d <= crate::cuda::MOST_WIDE {
        return crate::cuda::layer_norm(x, scale, shift, eps);
    }
    composed_layer_norm(x, scale, shift, eps)
}

fn composed_layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(var + eps)?.sqrt()?)?.broadcast_mul(scale)?.broadcast_add(shift)
}
