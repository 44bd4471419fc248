//! Dropout, with the CPU's draws.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{Gpu, address, hold, words};
use crate::Dropout;
use crate::gradient::store_grad;

/// Which elements a dropout keeps, on the device.
pub(super) struct Bits {
    words: CudaSlice<u64>,
    gain: f32,
}

impl Bits {
    /// Of `count` elements; the draws are the CPU's.
    pub(super) fn draw(gpu: &Gpu, drop: Dropout, count: usize) -> Result<Self> {
        let words = gpu.take(count.div_ceil(64))?;
        let [key0, key1] = drop.stream.key();
        // Sixteen threads per word.
        let threads = 16 * count.div_ceil(64);
        let grid = (threads.div_ceil(256) as u32, 1, 1);
        let arguments = words![gpu.at(&words), count.div_ceil(64) as u64, key0, key1, drop.threshold()];
        // SAFETY: there is a word for every 64 elements.
        unsafe { gpu.launch("draw_bits", grid, 256, 0, arguments)? };
        Ok(Self { words, gain: drop.gain() })
    }

    /// Address and gain; without a dropout a null address.
    pub(super) fn arguments(gpu: &Gpu, bits: Option<&Self>) -> (u64, f32) {
        bits.map_or((0, 1.0), |bits| (gpu.at(&bits.words), bits.gain))
    }
}

pub(crate) fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Drop { drop, bits: Mutex::new(None) })
}

struct Drop {
    drop: Dropout,
    bits: Mutex<Option<Bits>>,
}

impl Drop {
    fn apply(gpu: &Gpu, x: u64, n: usize, bits: &Bits) -> Result<CudaSlice<f32>> {
        let y = gpu.floats(n)?;
        let (at, gain) = Bits::arguments(gpu, Some(bits));
        // SAFETY: both have n values, and there is a bit for each.
        unsafe { gpu.each("apply_bits", n, words![x, at, gain, gpu.at(&y), n as u64])? };
        Ok(y)
    }
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("dropout: expected a tensor on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = layout.shape().elem_count();
        let bits = Bits::draw(&gpu, self.drop, n)?;
        let y = Self::apply(&gpu, address::<f32>(x, layout)?, n, &bits)?;
        *self.bits.lock().unwrap_or_else(PoisonError::into_inner) = Some(bits);
        Ok((gpu.storage(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(grad)?;
        let bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bits) = &*bits else { bail!("dropout: backward before forward") };
        let held = hold(grad)?;
        let dx = Self::apply(&gpu, held.at, grad.elem_count(), bits)?;
        Ok(store_grad(x, gpu.tensor(dx, grad.shape())))
    }
}
