//! Cross entropy.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{Gpu, address, hold, known_indices, words};

/// [`crate::cross_entropy`], checked. A label that is none of the classes makes the loss NaN.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let labels = known_indices(labels, logits.dim(1)?)?.contiguous()?;
    logits.contiguous()?.apply_op2(&labels, Loss { smoothing: smoothing as f32, slope: Mutex::new(None) })
}

struct Loss {
    smoothing: f32,
    /// The loss by the logits, once the loss is known.
    slope: Mutex<Option<CudaSlice<f32>>>,
}

impl CustomOp2 for Loss {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("cross_entropy: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        logits: &CudaStorage,
        lz: &Layout,
        labels: &CudaStorage,
        ll: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&logits.device)?;
        let (n, c) = lz.shape().dims2()?;
        let (loss, slope) = (gpu.floats(1)?, gpu.floats(n * c)?);
        let (z, l) = (address::<f32>(logits, lz)?, address::<u32>(labels, ll)?);
        let threads = n.next_multiple_of(32).min(1024) as u32;
        // SAFETY: n rows of c logits, n labels, a loss and a slope for each logit.
        unsafe {
            let words = words![z, l, self.smoothing, gpu.at(&loss), gpu.at(&slope), n, c];
            gpu.launch("cross_entropy", (1, 1, 1), threads, 0, words)?;
        }
        *self.slope.lock().unwrap_or_else(PoisonError::into_inner) = Some(slope);
        Ok((gpu.storage(loss), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(logits)?;
        let slope = self.slope.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slope) = &*slope else { bail!("cross_entropy: backward before forward") };
        let (n, grad) = (logits.elem_count(), hold(grad)?);
        let dz = gpu.floats(n)?;
        // SAFETY: both have a value per logit, and the gradient is one number.
        unsafe { gpu.each("times", n, words![gpu.at(slope), grad.at, gpu.at(&dz), n as u64])? };
        Ok((Some(gpu.tensor(dz, logits.shape())), None))
    }
}
