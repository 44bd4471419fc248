//! The affine map.

use candle_core::{Result, Tensor, bail};

/// x Wᵀ + b over the last dimension: `x (…, in)`, `weight (out, in)`, `bias (out)`.
///
/// # Errors
/// Shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (out, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == inputs => *last = out,
        _ => bail!("linear: input {:?} against weight {:?}", x.shape(), weight.shape()),
    }
    let rows = x.elem_count() / inputs.max(1);
    if rows == 0 || out == 0 || inputs == 0 {
        bail!("linear: empty input {:?} or weight {:?}", x.shape(), weight.shape());
    }
    let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(dims)
}
