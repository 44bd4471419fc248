//! Activations.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Gpu, address, hold, words};

/// max(x, 0), or with `gelu` x Φ(x).
pub(crate) fn activation(x: &Tensor, gelu: bool) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activation { gelu })
}

struct Activation {
    gelu: bool,
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("activation: expected a tensor on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = layout.shape().elem_count();
        let y = gpu.floats(n)?;
        let words = words![address::<f32>(x, layout)?, gpu.at(&y), self.gelu, n as u64];
        // SAFETY: both have n values.
        unsafe { gpu.each("activate", n, words)? };
        Ok((gpu.storage(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x)?;
        let n = x.elem_count();
        let (xs, grad, dx) = (hold(x)?, hold(grad)?, gpu.floats(n)?);
        // SAFETY: all have n values.
        unsafe { gpu.each("act_back", n, words![grad.at, xs.at, gpu.at(&dx), self.gelu, n as u64])? };
        Ok(Some(gpu.tensor(dx, x.shape())))
    }
}
