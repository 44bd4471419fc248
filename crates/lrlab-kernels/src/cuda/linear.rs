//! The affine map.

use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::product::Operand;
use super::{Gpu, Held, address, hold, words};
use crate::Precision;
use crate::gradient::store_grad;

/// [`crate::linear`] of `x (rows, inputs)`, checked.
pub(crate) fn linear(
    precision: Precision,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    dims: &[usize],
) -> Result<Tensor> {
    let op = Linear { precision, bias: bias.cloned(), dims: dims.to_vec() };
    x.contiguous()?.apply_op2(&weight.contiguous()?, op)
}

struct Linear {
    precision: Precision,
    /// A variable or a constant; the backward pass stores its gradient.
    bias: Option<Tensor>,
    dims: Vec<usize>,
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("linear: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (out, inputs) = lw.shape().dims2()?;
        let rows = lx.shape().elem_count() / inputs;
        let y = gpu.floats(rows * out)?;
        let a = Operand::new(address::<f32>(x, lx)?, rows, inputs);
        let b = Operand::new(address::<f32>(w, lw)?, out, inputs);
        // SAFETY: the shapes were checked, y has a row of `out` for each row of x.
        unsafe {
            gpu.product(self.precision, a, b.t(), gpu.at(&y))?;
            if let Some(bias) = &self.bias {
                let bias: Held = hold(bias)?;
                gpu.each("add_bias", rows * out, words![gpu.at(&y), bias.at, out, (rows * out) as u64])?;
            }
        }
        Ok((gpu.storage(y), Shape::from(self.dims.as_slice())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x)?;
        let (out, inputs) = w.dims2()?;
        let rows = x.elem_count() / inputs;
        let [xs, ws, gs] = [hold(x)?, hold(w)?, hold(grad)?];
        let (a, b) = (Operand::new(xs.at, rows, inputs), Operand::new(ws.at, out, inputs));
        let g = Operand::new(gs.at, rows, out);
        // SAFETY: the shapes are those of the forward pass.
        unsafe {
            let (mut input, mut of_weight) = (None, None);
            if x.track_op() {
                let dx = gpu.floats(rows * inputs)?;
                gpu.product(self.precision, g, b, gpu.at(&dx))?;
                input = Some(gpu.tensor(dx, x.shape()));
            }
            if w.track_op() {
                let dw = gpu.floats(out * inputs)?;
                gpu.product(self.precision, g.t(), a, gpu.at(&dw))?;
                of_weight = store_grad(w, gpu.tensor(dw, w.shape()));
            }
            if let Some(bias) = self.bias.as_ref().filter(|bias| bias.track_op()) {
                let [sums, _] = gpu.columns(gs.at, None, (rows, out))?;
                super::store_grad(bias, gpu.tensor(sums, out))?;
            }
            Ok((input, of_weight))
        }
    }
}
