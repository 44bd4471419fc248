//! Scaled dot-product attention (Vaswani et al., 2017, equation 1).

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

mod kernel;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::Precision;
use crate::check;
use crate::dropout::{Dropout, dropout};
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::precision::matmul;
use crate::product::Rows;
use crate::rows::RowsMut;
pub(crate) use kernel::{Head, Kept, Keys};

/// softmax(q kᵀ / √d + mask) v over `(batch, heads, length, d)`.
///
/// `key_mask` is `(batch, length)`: 1 at keys that take part, 0 at masked keys, whose key and value have no influence,
/// even if they are NaN. A query whose keys are all masked yields zeros and contributes to no gradient. `drop` applies
/// to the probabilities: draw i decides element i of `(batch, heads, length, length)`. Both products round their
/// operands to `precision`.
///
/// **In PyTorch**: `torch.nn.functional.scaled_dot_product_attention(q, k, v, key_mask[:, None, None, :].bool(), p)`, which gives NaN
/// where all keys are masked.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, something is empty, the mask has values other than 0 and 1
/// (not checked on a GPU), or the dropout's p is outside [0, 1).
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    key_mask: &Tensor,
    drop: Option<Dropout>,
    precision: Precision,
) -> Result<Tensor> {
    let [b, _, l, _] = check::dims("attention", "q", q, "(batch, heads, length, d)")?;
    if k.dims() != q.dims() || v.dims() != q.dims() {
        bail!("attention: q {:?}, k {:?}, v {:?} differ in shape", q.shape(), k.shape(), v.shape());
    }
    if q.elem_count() == 0 {
        bail!("attention: empty input {:?}", q.shape());
    }
    check::floats("attention", [("q", q), ("k", k), ("v", v)])?;
    let mask = check::mask("attention", key_mask, (b, l), ("q", q))?;
    if let Some(drop) = drop {
        drop.check("attention")?;
    }
    if let Some(mask) = mask.filter(|_| host::is_f32(&[q, k, v])) {
        let keys: Vec<Keys> = mask.chunks(l).map(Keys::new).collect();
        let drop = drop.filter(|drop| drop.p > 0.0);
        // Masked keys between others take part in the products with a weight of 0.
        let between = keys.iter().any(Keys::has_gaps);
        let (k, v) = if between { blanked(k, v, key_mask)? } else { (k.clone(), v.clone()) };
        let op = Attention { precision, dims: q.dims4()?, keys, drop, kept: OnceLock::new() };
        return q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op);
    }
    composed(precision, q, k, v, key_mask, drop)
}

/// Keys and values with zeros where the mask is 0.
fn blanked(k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor)> {
    let (b, l) = mask.dims2()?;
    let counts = mask.ne(0.0)?.reshape((b, 1, l, 1))?.broadcast_as(k.shape())?;
    let blank = |x: &Tensor| counts.where_cond(x, &x.zeros_like()?);
    Ok((blank(k)?, blank(v)?))
}

fn composed(
    precision: Precision,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    drop: Option<Dropout>,
) -> Result<Tensor> {
    let ((b, l), (.., d)) = (mask.dims2()?, q.dims4()?);
    let (k, v) = blanked(k, v, mask)?;
    let scores = (matmul(precision, &q.contiguous()?, &k.t()?.contiguous()?)? * (1.0 / (d as f64).sqrt()))?;
    // Masked scores are −∞, or 0 if all keys are masked, so that the softmax stays finite.
    let mask = mask.to_dtype(q.dtype())?;
    let full = |value: f32| Tensor::full(value, (b, 1), q.device())?.to_dtype(q.dtype());
    let masked = mask.max_keepdim(1)?.ne(0.0)?.where_cond(&full(f32::NEG_INFINITY)?, &full(0.0)?)?;
    let masked = masked.reshape((b, 1, 1, 1))?.broadcast_as(scores.shape())?;
    let counts = mask.ne(0.0)?.reshape((b, 1, 1, l))?.broadcast_as(scores.shape())?;
    let weights = candle_nn::ops::softmax(&counts.where_cond(&scores, &masked)?, 3)?;
    let weights = counts.where_cond(&weights, &weights.zeros_like()?)?;
    let weights = match drop {
        Some(drop) => {
            let dropped = dropout(&weights, drop)?;
            // On a GPU a NaN may be dropped, but a query whose weights are NaN has no other result.
            let lost = || weights.ne(&weights)?.where_cond(&weights, &dropped);
            if weights.device().is_cpu() { dropped } else { lost()? }
        }
        None => weights,
    };
    matmul(precision, &weights, &v.contiguous()?)
}

struct Attention {
    precision: Precision,
    /// Batch, heads, length, width of a head.
    dims: (usize, usize, usize, usize),
    /// Of each sequence.
    keys: Vec<Keys>,
    drop: Option<Dropout>,
    /// Of each head of each sequence.
    kept: OnceLock<Vec<Kept>>,
}

impl Attention {
    fn head<'a>(&'a self, head: usize, [q, k, v]: [&'a [f32]; 3]) -> Head<'a> {
        let (_, heads, length, d) = self.dims;
        let rows = |x: &'a [f32]| Rows::new(&x[head * length * d..][..length * d], d);
        let draws = self.drop.map(|drop| (drop, head * length * length));
        Head {
            q: rows(q),
            k: rows(k),
            v: rows(v),
            keys: &self.keys[head / heads],
            length,
            precision: self.precision,
            draws,
        }
    }

    fn forward(&self, qkv: [&[f32]; 3]) -> Vec<f32> {
        let (_, _, length, d) = self.dims;
        let mut y = Unwritten::new(qkv[0].len());
        let kept = y
            .room()
            .par_chunks_mut(length * d)
            .enumerate()
            .map(|(head, y)| self.head(head, qkv).forward(RowsMut::new(y, d)));
        let kept = kept.collect();
        let _ = self.kept.set(kept);
        // SAFETY: every head wrote its chunk.
        unsafe { y.written() }
    }

    fn backward(&self, qkv: [&[f32]; 3], y: &[f32], dy: &[f32]) -> Result<[Vec<f32>; 3]> {
        let (_, _, length, d) = self.dims;
        let Some(kept) = self.kept.get() else { bail!("attention: backward before forward") };
        let mut outs = [(); 3].map(|()| Unwritten::new(y.len()));
        let [dq, dk, dv] = outs.each_mut().map(|out| out.room().par_chunks_mut(length * d));
        let heads = kept.par_iter().zip(dq.zip(dk).zip(dv)).enumerate();
        heads.for_each(|(head, (kept, ((dq, dk), dv)))| {
            let at = head * length * d;
            let rows = |x| Rows::new(x_part(x, at, length * d), d);
            let out = [dq, dk, dv].map(|out| RowsMut::new(out, d));
            self.head(head, qkv).backward(rows(y), rows(dy), kept, out);
        });
        // SAFETY: every head wrote its part of all three.
        Ok(outs.map(|out| unsafe { out.written() }))
    }
}

fn x_part(x: &[f32], at: usize, size: usize) -> &[f32] {
    &x[at..][..size]
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        lq: &Layout,
        k: &CpuStorage,
        lk: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = self.forward([host::slice(q, lq)?, host::slice(k, lk)?, host::slice(v, lv)?]);
        Ok((CpuStorage::F32(y), Shape::from(self.dims)))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dq, dk, dv] = host::with(q, |q| {
            host::with(k, |k| {
                host::with(v, |v| {
                    host::with(y, |y| host::with(grad, |grad| self.backward([q, k, v], y, grad)))
                })
            })
        })?;
        let store_grad = |of: &Tensor, data| -> Result<Option<Tensor>> {
            if of.track_op() { Ok(store_grad(of, host::tensor(data, of.shape())?)) } else { Ok(None) }
        };
        Ok((store_grad(q, dq)?, store_grad(k, dk)?, store_grad(v, dv)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};
    use lrlab_random::{Purpose, Stream};

    use super::*;
    use crate::testing::{assert_close, assert_error, draw, grads_of, values};

    fn check(dims: (usize, usize, usize, usize), lengths: &[usize], p: f64) -> Result<()> {
        check_in(Precision::F32, dims, lengths, p, 2e-5)
    }

    fn check_in(
        precision: Precision,
        (b, h, l, d): (usize, usize, usize, usize),
        lengths: &[usize],
        p: f64,
        tolerance: f64,
    ) -> Result<()> {
        let real: Vec<f32> =
            lengths.iter().flat_map(|n| (0..l).map(move |t| f32::from(u8::from(t < *n)))).collect();
        let mask = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
        let drop = (p > 0.0).then(|| Dropout { p, stream: Stream::new(1, Purpose::Dropout, "a") });
        let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
            let vars: Vec<Var> = ["q", "k", "v"]
                .iter()
                .map(|name| Var::from_tensor(&draw((b, h, l, d), name).to_dtype(dtype)?))
                .collect::<Result<_>>()?;
            let y = attention(&vars[0], &vars[1], &vars[2], &mask, drop, precision)?;
            let weighted = (&y * draw((b, h, l, d), "r").to_dtype(dtype)?)?;
            let mut out = grads_of(&weighted, &vars.iter().collect::<Vec<_>>())?;
            out.push(y);
            Ok(out)
        });
        let [found, expected] = results;
        for (found, expected) in found?.iter().zip(expected?) {
            assert_close(found, &values(&expected), tolerance);
        }
        Ok(())
    }

    #[test]
    fn output_and_gradients_against_f64() -> Result<()> {
        check((2, 3, 7, 5), &[7, 4], 0.0)?;
        check((2, 3, 7, 5), &[7, 4], 0.3)?;
        check((1, 1, 1, 1), &[1], 0.5)?;
        check((3, 2, 33, 16), &[0, 1, 33], 0.1)?;
        check((2, 2, 50, 33), &[17, 50], 0.1)?;
        check((1, 2, 16, 32), &[16], 0.0)
    }

    /// The operator rounds weights before it divides them by their sum, the composition after.
    #[test]
    fn in_bf16_against_f64() -> Result<()> {
        let check = |dims, lengths: &[usize], p| check_in(Precision::Bf16, dims, lengths, p, 5e-3);
        check((2, 3, 7, 5), &[7, 4], 0.3)?;
        check((1, 1, 1, 1), &[1], 0.5)?;
        check((3, 2, 33, 16), &[0, 1, 33], 0.1)?;
        check((2, 2, 50, 33), &[17, 50], 0.0)
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        let (q, mask) = (draw((2, 3, 7, 5), "q"), draw((2, 7), "m").ones_like().expect("ones"));
        assert!(attention(&q, &q, &q, &mask, None, Precision::F32).is_ok());
        assert_error(
            "k [2, 3, 6, 5]",
            attention(&q, &draw((2, 3, 6, 5), "k"), &q, &mask, None, Precision::F32),
        );
        let short = attention(&q, &q, &q, &draw((2, 6), "m"), None, Precision::F32);
        assert_error("attention: mask of shape [2, 6], expected [2, 7]", short);
        let drop = Dropout { p: 1.0, stream: Stream::new(1, Purpose::Dropout, "a") };
        assert_error(
            "attention: p is 1.0, expected 0",
            attention(&q, &q, &q, &mask, Some(drop), Precision::F32),
        );
    }
}
