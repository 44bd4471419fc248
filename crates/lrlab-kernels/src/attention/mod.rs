//! Scaled dot-product attention (Vaswani et al., 2017, equation 1).

mod kernel;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use crate::dropout::{Dropout, dropout};
use crate::host;
use kernel::Attention;

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
    if let Some(drop) = drop {
        drop.check()?;
    }
    if host::is_f32(&[q, k, v]) && key_mask.device().is_cpu() {
        let mask = key_mask.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let op = Attention { dims: q.dims4()?, mask, drop: drop.filter(|drop| drop.p > 0.0) };
        return q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op);
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
        let y = self.forward(host::slice(q, lq)?, host::slice(k, lk)?, host::slice(v, lv)?);
        Ok((CpuStorage::F32(y), Shape::from(self.dims)))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dq, dk, dv] = host::with(q, |qs| {
            host::with(k, |ks| host::with(v, |vs| host::with(grad, |gs| Ok(self.backward(qs, ks, vs, gs)))))
        })?;
        let give = |of: &Tensor, data| {
            if of.track_op() { host::tensor(data, of.shape()).map(Some) } else { Ok(None) }
        };
        Ok((give(q, dq)?, give(k, dk)?, give(v, dv)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use lrlab_random::{Purpose, Stream};

    use super::*;
    use crate::testing::{assert_close, draw, grads_of, values};

    fn check((b, h, l, d): (usize, usize, usize, usize), lengths: &[usize], p: f64) -> Result<()> {
        let real: Vec<f32> =
            lengths.iter().flat_map(|n| (0..l).map(move |t| f32::from(u8::from(t < *n)))).collect();
        let mask = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
        let drop = (p > 0.0).then(|| Dropout { p, stream: Stream::new(1, Purpose::Dropout, "a") });
        let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
            let vars: Vec<Var> = ["q", "k", "v"]
                .iter()
                .map(|name| Var::from_tensor(&draw((b, h, l, d), name).to_dtype(dtype)?))
                .collect::<Result<_>>()?;
            let y = attention(&vars[0], &vars[1], &vars[2], &mask, drop)?;
            let weighted = (&y * draw((b, h, l, d), "r").to_dtype(dtype)?)?;
            let mut out = grads_of(&weighted, &vars.iter().collect::<Vec<_>>())?;
            out.push(y);
            Ok(out)
        });
        let [found, expected] = results;
        for (found, expected) in found?.iter().zip(expected?) {
            assert_close(found, &values(&expected), 2e-5);
        }
        Ok(())
    }

    #[test]
    fn output_and_gradients_against_f64() -> Result<()> {
        check((2, 3, 7, 5), &[7, 4], 0.0)?;
        check((2, 3, 7, 5), &[7, 4], 0.3)?;
        check((1, 1, 1, 1), &[1], 0.5)?;
        check((3, 2, 33, 16), &[0, 1, 33], 0.1)?;
        check((1, 2, 16, 32), &[16], 0.0)
    }

    #[test]
    fn bad_shapes_are_errors() {
        let (q, mask) = (draw((2, 3, 7, 5), "q"), draw((2, 7), "m"));
        assert!(attention(&q, &q, &q, &mask, None).is_ok());
        assert!(attention(&q, &draw((2, 3, 6, 5), "k"), &q, &mask, None).is_err());
        assert!(attention(&q, &q, &q, &draw((2, 6), "m"), None).is_err());
        let drop = Dropout { p: 1.0, stream: Stream::new(1, Purpose::Dropout, "a") };
        assert!(attention(&q, &q, &q, &mask, Some(drop)).is_err());
    }
}
