//! The affine map.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::Precision;
use crate::buffer::Buffer;
use crate::check;
use crate::host::{self, Unwritten, add_up};
use crate::precision::matmul;
use crate::product::{
    Left, PANEL, Right, Rows, Store, accumulate, pack, pack_transposed, packed_len, product, sums_len,
};
use crate::rows::RowsMut;
use crate::simd::LANES;

/// x Wᵀ + b over the last dimension: `x (…, in)`, `weight (out, in)`, `bias (out)`.
///
/// The product and the products of its gradients round their operands to `precision`.
///
/// **In PyTorch**: `torch.nn.functional.linear(x, weight, bias)`.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, or something is empty.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, precision: Precision) -> Result<Tensor> {
    let [out, inputs] = check::dims("linear", "weight", weight, "(out, in)")?;
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == inputs => *last = out,
        _ => bail!("linear: input {:?} against weight {:?}", x.shape(), weight.shape()),
    }
    let rows = x.elem_count() / inputs.max(1);
    if rows == 0 || out == 0 || inputs == 0 {
        bail!("linear: empty input {:?} or weight {:?}", x.shape(), weight.shape());
    }
    if let Some(bias) = bias
        && bias.dims() != [out]
    {
        bail!("linear: bias {:?} for {out} outputs", bias.shape());
    }
    check::floats(
        "linear",
        [("x", x), ("weight", weight)].into_iter().chain(bias.map(|bias| ("bias", bias))),
    )?;
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x, weight])
        && bias.is_none_or(|bias| {
            // The bias is not an argument of the operator, so another argument must want a gradient if the bias does.
            let tracked = x.track_op() || weight.track_op() || !bias.track_op();
            crate::cuda::is_f32(&[x, bias]) && crate::cuda::all_leaves([bias]) && tracked
        })
    {
        return crate::cuda::linear(precision, x, weight, bias, &dims);
    }
    let op = Linear { rows, inputs, out, dims: dims.clone(), precision };
    match bias {
        Some(bias) if host::is_f32(&[x, weight, bias]) => {
            x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
        }
        None if host::is_f32(&[x, weight]) => x.contiguous()?.apply_op2(&weight.contiguous()?, op),
        _ => {
            let y = matmul(precision, &x.reshape((rows, inputs))?, &weight.t()?)?;
            match bias {
                Some(bias) => y.broadcast_add(bias)?,
                None => y,
            }
            .reshape(dims)
        }
    }
}

struct Linear {
    rows: usize,
    inputs: usize,
    out: usize,
    dims: Vec<usize>,
    precision: Precision,
}

/// Rows per task of the forward pass and the input gradient.
const ROWS: usize = 256;
/// At most this many partial weight gradients.
const CHUNKS: usize = 16;

impl Linear {
    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (CpuStorage, Shape) {
        let y = self.product(x, weight, bias, true);
        (CpuStorage::F32(y), Shape::from(self.dims.as_slice()))
    }

    /// From inputs to outputs or, not `forward`, from the outputs' gradient to the inputs', on [`product()`].
    fn product(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, forward: bool) -> Vec<f32> {
        let (inputs, precision) = (self.inputs, self.precision);
        let (k, n) = if forward { (inputs, self.out) } else { (self.out, inputs) };
        let mut right = Buffer::take(packed_len(precision, k, n, PANEL));
        if forward {
            pack_transposed(precision, weight, inputs, k, n, &mut right);
        } else {
            pack::<PANEL>(precision, weight, inputs, k, n, &mut right);
        }
        let right = Right { data: &right, k, n, precision };
        let mut y = Unwritten::new(self.rows * n);
        y.room().par_chunks_mut(ROWS * n).zip(x.par_chunks(ROWS * k)).for_each(|(y, x)| {
            let mut store = Store::new(RowsMut::new(y, n), bias);
            product(x.len() / k, Left::rows(x, k), right, &mut store);
        });
        // SAFETY: every chunk was written.
        unsafe { y.written() }
    }

    /// Weight and bias gradient, one after the other.
    fn parameter_grads(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let rows = self.rows.div_ceil(CHUNKS).max(ROWS);
        let partial =
            grad.par_chunks(rows * self.out).zip(x.par_chunks(rows * self.inputs)).map(|(dy, x)| {
                let count = dy.len() / self.out;
                let mut sums = vec![0.0; self.out * (self.inputs + 1)];
                let (dw, db) = sums.split_at_mut(self.out * self.inputs);
                self.accumulated(count, (dy, x), dw, db);
                sums
            });
        add_up(partial.collect())
    }

    /// The parameters' gradients from `count` rows, on [`accumulate`].
    fn accumulated(&self, count: usize, (dy, x): (&[f32], &[f32]), dw: &mut [f32], db: &mut [f32]) {
        let (out, inputs) = (self.out, self.inputs);
        let [mut weight, mut bias] = sums_len(out, inputs).map(Buffer::zeros);
        let (dy, x) = (Rows::new(dy, out), Rows::new(x, inputs));
        accumulate(self.precision, count, dy, x, &mut weight, Some(&mut bias));
        let pitch = inputs.next_multiple_of(LANES);
        for (to, from) in dw.chunks_mut(inputs).zip(weight.chunks(pitch)) {
            to.copy_from_slice(&from[..inputs]);
        }
        db.copy_from_slice(&bias[..out]);
    }

    fn backward(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let dx = if x.track_op() {
            let dx = host::with(weight, |w| host::with(grad, |g| Ok(self.product(g, w, None, false))))?;
            Some(host::tensor(dx, x.shape())?)
        } else {
            None
        };
        let mut dw = host::with(x, |x| host::with(grad, |g| Ok(self.parameter_grads(x, g))))?;
        let db = dw.split_off(self.out * self.inputs);
        Ok([
            dx,
            Some(host::tensor(dw, &Shape::from((self.out, self.inputs)))?),
            Some(host::tensor(db, &Shape::from(self.out))?),
        ])
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(w, lw)?, None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, _] = self.backward(x, w, grad)?;
        Ok((dx, dw.filter(|_| w.track_op())))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(w, lw)?, Some(host::slice(b, lb)?)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = self.backward(x, w, grad)?;
        Ok((dx, dw.filter(|_| w.track_op()), db.filter(|_| b.track_op())))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::testing::{assert_close, draw, grads_of, values};

    #[test]
    fn output_and_gradients_against_f64() -> Result<()> {
        for (rows, inputs, out) in [(1, 1, 1), (5, 7, 3), (601, 33, 31), (17, 64, 96), (1030, 3, 10)] {
            for (precision, biased) in [
                (Precision::F32, false),
                (Precision::F32, true),
                (Precision::Bf16, false),
                (Precision::Bf16, true),
            ] {
                let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
                    let var =
                        |dims: &[usize], name: &str| Var::from_tensor(&draw(dims, name).to_dtype(dtype)?);
                    let (x, w, b) =
                        (var(&[rows, inputs], "x")?, var(&[out, inputs], "w")?, var(&[out], "b")?);
                    let y = linear(&x, &w, biased.then_some(b.as_tensor()), precision)?;
                    let weighted = (&y * draw((rows, out), "r").to_dtype(dtype)?)?;
                    let wanted = [&x, &w, &b];
                    let mut all = grads_of(&weighted, &wanted[..if biased { 3 } else { 2 }])?;
                    all.push(y);
                    Ok(all)
                });
                let [found, expected] = results;
                for (found, expected) in found?.iter().zip(expected?) {
                    assert_close(found, &values(&expected), 1e-5);
                }
            }
        }
        Ok(())
    }
}
