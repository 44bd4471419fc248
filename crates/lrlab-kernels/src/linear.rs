//! The affine map.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::host::{self, Unwritten, add_up};
use crate::matmul::{Into, Matrix, add_columns, matmul, matmul_to};

/// x Wᵀ + b over the last dimension: `x (…, in)`, `weight (out, in)`, `bias (out)`.
///
/// # Errors
/// Shapes do not fit, or something is empty.
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
    if let Some(bias) = bias
        && bias.dims() != [out]
    {
        bail!("linear: bias {:?} for {out} outputs", bias.shape());
    }
    let op = Linear { rows, inputs, out, dims: dims.clone() };
    match bias {
        Some(bias) if host::is_f32(&[x, weight, bias]) => {
            x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
        }
        None if host::is_f32(&[x, weight]) => x.contiguous()?.apply_op2(&weight.contiguous()?, op),
        _ => {
            let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?;
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
}

/// Rows per task of the forward pass and the input gradient.
const ROWS: usize = 256;
/// At most this many partial weight gradients.
const CHUNKS: usize = 16;

impl Linear {
    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (CpuStorage, Shape) {
        let weight = Matrix::new(weight, self.out, self.inputs).t();
        let mut y = Unwritten::new(self.rows * self.out);
        y.room().par_chunks_mut(ROWS * self.out).zip(x.par_chunks(ROWS * self.inputs)).for_each(|(y, x)| {
            let x = Matrix::new(x, x.len() / self.inputs, self.inputs);
            if let Some(bias) = bias {
                for row in y.chunks_mut(self.out) {
                    row.write_copy_of_slice(bias);
                }
            }
            let into = if bias.is_some() { Into::Add } else { Into::Replace };
            // SAFETY: the chunk has a row of `out` values for each row of x, filled with the bias for `Add`.
            unsafe { matmul_to(x, weight, y.as_mut_ptr().cast(), into) };
        });
        // SAFETY: every chunk was written.
        (CpuStorage::F32(unsafe { y.written() }), Shape::from(self.dims.as_slice()))
    }

    fn input_grad(&self, weight: &[f32], grad: &[f32]) -> Vec<f32> {
        let weight = Matrix::new(weight, self.out, self.inputs);
        let mut dx = Unwritten::new(self.rows * self.inputs);
        dx.room().par_chunks_mut(ROWS * self.inputs).zip(grad.par_chunks(ROWS * self.out)).for_each(
            |(dx, dy)| {
                let dy = Matrix::new(dy, dy.len() / self.out, self.out);
                // SAFETY: the chunk has a row of `inputs` values for each row of the gradient.
                unsafe { matmul_to(dy, weight, dx.as_mut_ptr().cast(), Into::Replace) };
            },
        );
        // SAFETY: every chunk was written.
        unsafe { dx.written() }
    }

    /// Weight and bias gradient, one after the other.
    fn parameter_grads(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let rows = self.rows.div_ceil(CHUNKS).max(ROWS);
        let partial =
            grad.par_chunks(rows * self.out).zip(x.par_chunks(rows * self.inputs)).map(|(dy, x)| {
                let count = dy.len() / self.out;
                let mut sums = vec![0.0; self.out * (self.inputs + 1)];
                let (dw, db) = sums.split_at_mut(self.out * self.inputs);
                let dy_t = Matrix::new(dy, count, self.out).t();
                matmul(dy_t, Matrix::new(x, count, self.inputs), dw, Into::Replace);
                add_columns(dy, db);
                sums
            });
        add_up(partial.collect())
    }

    fn backward(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let dx = if x.track_op() {
            let dx = host::with(weight, |w| host::with(grad, |g| Ok(self.input_grad(w, g))))?;
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
