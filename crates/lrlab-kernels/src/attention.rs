//! Scaled dot-product attention (Vaswani et al., 2017, equation 1).

use candle_core::{Result, Tensor, bail};

use crate::dropout::{Dropout, dropout};

/// softmax(q kᵀ / √d + mask) v over `(batch, heads, length, d)`.
///
/// `key_mask` is `(batch, length)`: 1 at keys that count, 0 at padding. A query whose keys are all masked gets
/// zeros. `drop` is applied to the probabilities, element i of `(batch, heads, length, length)` by draw i.
///
/// # Errors
/// Shapes do not fit.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    key_mask: &Tensor,
    drop: Option<Dropout>,
) -> Result<Tensor> {
    let (b, _, l, d) = q.dims4()?;
    if k.dims() != q.dims() || v.dims() != q.dims() {
        bail!("attention: q {:?}, k {:?}, v {:?} differ in shape", q.shape(), k.shape(), v.shape());
    }
    if key_mask.dims() != [b, l] {
        bail!("attention: mask is {:?}, not {:?}", key_mask.shape(), (b, l));
    }
    if q.elem_count() == 0 {
        bail!("attention: empty input {:?}", q.shape());
    }
    composed(q, k, v, key_mask, drop, d)
}

fn composed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    drop: Option<Dropout>,
    d: usize,
) -> Result<Tensor> {
    let (b, l) = mask.dims2()?;
    let mask = mask.to_dtype(q.dtype())?.reshape((b, 1, 1, l))?;
    let penalty = mask.affine(1e4, -1e4)?;
    let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? * (1.0 / (d as f64).sqrt()))?;
    let weights = candle_nn::ops::softmax(&scores.broadcast_add(&penalty)?, 3)?.broadcast_mul(&mask)?;
    let weights = match drop {
        Some(drop) => dropout(&weights, drop)?,
        None => weights,
    };
    weights.matmul(&v.contiguous()?)
}
