//! Batches of pictures and sequences that lie on the device.

use std::ops::Range;

use candle_core::cuda::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Device, Result, Storage, Tensor};

use super::{BLOCK, Gpu, words};
use crate::PictureView;
use crate::arguments::{augmented, int};

/// See [`crate::DevicePictures`].
pub(crate) struct Pixels {
    gpu: Gpu,
    bytes: CudaSlice<u8>,
    tables: CudaSlice<f32>,
    shape: [usize; 3],
}

impl Pixels {
    /// Of pictures whose sizes were checked.
    pub(crate) fn upload(
        device: &Device,
        pixels: &[u8],
        shape: [usize; 3],
        tables: &[[f32; 256]],
    ) -> Result<Self> {
        let gpu = Gpu::new(device.as_cuda_device()?)?;
        let (bytes, tables) = (copy(&gpu, pixels)?, copy(&gpu, tables.as_flattened())?);
        Ok(Self { gpu, bytes, tables, shape })
    }

    /// Of views of pictures that are there.
    pub(crate) fn batch(&self, views: &[PictureView]) -> Result<Tensor> {
        let (gpu, [c, h, w]) = (&self.gpu, self.shape);
        let steps: Vec<[i32; 8]> = views.iter().map(|view| augmented(view, h, w)).collect();
        let steps = copy(gpu, steps.as_flattened())?;
        let y = gpu.floats(views.len() * c * h * w)?;
        if !views.is_empty() {
            let words =
                words![gpu.at(&self.bytes), gpu.at(&steps), gpu.at(&self.tables), gpu.at(&y), c, h, w];
            int("pictures", "pixels of a picture", h * w)?;
            let planes = int("pictures", "planes of a batch", views.len() * c)?;
            let grid = (planes as u32, 1, 1);
            // SAFETY: a step for each picture of the batch, which names one that is there, and room for its c h w
            // values.
            unsafe { gpu.launch("augment", grid, BLOCK, 0, words)? };
        }
        Ok(gpu.tensor(y, (views.len(), c, h, w)))
    }
}

/// See [`crate::DeviceTokens`].
pub(crate) struct Ids {
    gpu: Gpu,
    ids: CudaSlice<u32>,
}

impl Ids {
    pub(crate) fn upload(device: &Device, ids: &[u32]) -> Result<Self> {
        let gpu = Gpu::new(device.as_cuda_device()?)?;
        Ok(Self { ids: copy(&gpu, ids)?, gpu })
    }

    /// Of spans that are there, none longer than `length`.
    pub(crate) fn batch(&self, spans: &[Range<u32>], length: usize) -> Result<(Tensor, Tensor)> {
        let gpu = &self.gpu;
        let (n, shape) = (spans.len() * length, (spans.len(), length));
        let spans: Vec<[u32; 2]> = spans.iter().map(|span| [span.start, span.len() as u32]).collect();
        let spans = copy(gpu, spans.as_flattened())?;
        let (rows, mask) = (gpu.take::<u32>(n)?, gpu.floats(n)?);
        let (ids, at) = (gpu.at(&self.ids), gpu.at(&spans));
        // SAFETY: a span for each row, which lies among the ids, and room for n ids and as many weights.
        unsafe {
            gpu.each("pad_tokens", n, words![ids, at, gpu.at(&rows), gpu.at(&mask), length, n as u64])?;
        }
        let rows = Storage::Cuda(CudaStorage::wrap_cuda_slice(rows, gpu.device.clone()));
        Ok((Tensor::from_storage(rows, shape, BackpropOp::none(), false), gpu.tensor(mask, shape)))
    }
}

/// Sends values to the device.
fn copy<T: DeviceRepr + 'static>(gpu: &Gpu, values: &[T]) -> Result<CudaSlice<T>> {
    // The driver rejects empty allocations.
    if values.is_empty() { gpu.take(0) } else { gpu.device.clone_htod(values) }
}
