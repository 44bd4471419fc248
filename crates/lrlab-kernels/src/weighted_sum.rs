//! Weighted sums over sequences.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::Precision;
use crate::check;
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::precision::matmul;

/// Σ over positions of weight · x: `x (b, l, d)`, `weights (b, l)`, to `(b, d)`. Vectors with a weight of 0 are not
/// read. The weights have no gradient.
///
/// # Errors
/// Returns an error if shapes or devices do not fit, something is empty, or a type is not a float.
pub fn weighted_sum(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let [b, l, d] = check::dims("weighted_sum", "x", x, "(b, l, d)")?;
    if weights.dims() != [b, l] {
        bail!("weighted_sum: weights {:?} for {:?}", weights.shape(), x.shape());
    }
    if b * l * d == 0 {
        bail!("weighted_sum: empty input {:?}", x.shape());
    }
    check::floats("weighted_sum", [("x", x)])?;
    check::floats("weighted_sum", [("weights", weights)])?;
    check::beside("weighted_sum", ("weights", weights), ("x", x))?;
    let weights = weights.detach().to_dtype(x.dtype())?;
    if host::is_f32(&[x, &weights]) {
        let weights = weights.flatten_all()?.to_vec1()?;
        return x.contiguous()?.apply_op1(WeightedSum { dims: (b, l, d), weights });
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x, &weights]) {
        return crate::cuda::weighted_sum(x, &weights);
    }
    let read = weights.ne(0.0)?.unsqueeze(2)?.broadcast_as(x.shape())?;
    let x = read.where_cond(x, &x.zeros_like()?)?;
    matmul(Precision::F32, &weights.unsqueeze(1)?, &x)?.squeeze(1)
}

struct WeightedSum {
    dims: (usize, usize, usize),
    weights: Vec<f32>,
}

impl CustomOp1 for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = host::slice(x, layout)?;
        let (b, l, d) = self.dims;
        let mut y = vec![0.0_f32; b * d];
        let sequences = y.par_chunks_mut(d).zip(x.par_chunks(l * d)).zip(self.weights.par_chunks(l));
        sequences.for_each(|((y, x), weights)| {
            for (row, weight) in x.chunks(d).zip(weights).filter(|(_, weight)| **weight != 0.0) {
                y.iter_mut().zip(row).for_each(|(y, x)| *y += weight * x);
            }
        });
        Ok((CpuStorage::F32(y), Shape::from((b, d))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, l, d) = self.dims;
        let mut dx = Unwritten::new(x.elem_count());
        let room = dx.room();
        host::with(grad, |grad| {
            let rows = room.par_chunks_mut(l * d).zip(grad.par_chunks(d)).zip(self.weights.par_chunks(l));
            rows.for_each(|((dx, dy), weights)| {
                for (dx, weight) in dx.chunks_mut(d).zip(weights) {
                    for (dx, dy) in dx.iter_mut().zip(dy) {
                        dx.write(weight * dy);
                    }
                }
            });
            Ok(())
        })?;
        // SAFETY: every row was written.
        let dx = unsafe { dx.written() };
        Ok(store_grad(x, host::tensor(dx, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::testing::{assert_close, draw, grads_of, values};

    #[test]
    fn sums_and_gradients_against_f64() -> Result<()> {
        for (b, l, d) in [(1, 1, 1), (3, 5, 7), (2, 40, 33)] {
            let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
                let x = Var::from_tensor(&draw((b, l, d), "x").to_dtype(dtype)?)?;
                let y = weighted_sum(&x, &draw((b, l), "w").to_dtype(dtype)?)?;
                let weighted = (&y * draw((b, d), "r").to_dtype(dtype)?)?;
                let mut out = grads_of(&weighted, &[&x])?;
                out.push(y);
                Ok(out)
            });
            let [found, expected] = results;
            for (found, expected) in found?.iter().zip(expected?) {
                assert_close(found, &values(&expected), 1e-5);
            }
        }
        assert!(weighted_sum(&draw((2, 3, 4), "x"), &draw((2, 4), "w")).is_err());
        Ok(())
    }
}
