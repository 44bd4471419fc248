//! Examples on a device, which makes batches of them.

mod view;

use std::ops::Range;

use candle_core::{Device, Result, Tensor, bail};

pub use view::PictureView;

/// Pictures of bytes. An NVIDIA GPU holds them and makes batches of them from a few bytes per picture; for other
/// devices they stay on the host, which makes the batches and sends them. Both give the same bits.
pub struct DevicePictures {
    count: usize,
    shape: [usize; 3],
    held: Pixels,
}

enum Pixels {
    Host {
        pixels: Vec<u8>,
        tables: Vec<[f32; 256]>,
        device: Device,
    },
    #[cfg(feature = "cuda")]
    Cuda(crate::cuda::Pixels),
}

/// Concatenated sequences of u32, in the same memory as [`DevicePictures`].
pub struct DeviceTokens {
    count: usize,
    held: Ids,
}

enum Ids {
    Host {
        ids: Vec<u32>,
        device: Device,
    },
    #[cfg(feature = "cuda")]
    Cuda(crate::cuda::Ids),
}

/// Returns whether this device itself holds its [`DevicePictures`] and [`DeviceTokens`]; otherwise the host holds them.
#[must_use]
pub fn holds_examples(device: &Device) -> bool {
    cfg!(feature = "cuda") && device.is_cuda() && crate::environment::own_kernels()
}

impl DevicePictures {
    /// `pixels` are `(picture, channel, row, column)` of pictures of `shape` (channels, height, width); `tables` has
    /// what each byte of each channel becomes.
    ///
    /// # Errors
    /// Returns an error if sizes do not fit, or there is not enough memory for them.
    pub fn upload(device: &Device, pixels: &[u8], shape: [usize; 3], tables: &[[f32; 256]]) -> Result<Self> {
        let bytes = match shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side)) {
            Some(bytes) if bytes > 0 && i32::try_from(bytes).is_ok() => bytes,
            _ => bail!("pictures: a picture of {shape:?}, expected 1 to {} values", i32::MAX),
        };
        if !pixels.len().is_multiple_of(bytes) || tables.len() != shape[0] {
            bail!("pictures: {} bytes and {} tables for {shape:?}", pixels.len(), tables.len());
        }
        let count = pixels.len() / bytes;
        #[cfg(feature = "cuda")]
        if holds_examples(device) {
            let held = Pixels::Cuda(crate::cuda::Pixels::upload(device, pixels, shape, tables)?);
            return Ok(Self { count, shape, held });
        }
        let held = Pixels::Host { pixels: pixels.to_vec(), tables: tables.to_vec(), device: device.clone() };
        Ok(Self { count, shape, held })
    }

    /// A batch: f32 `(batch, channels, height, width)`.
    ///
    /// # Errors
    /// Returns an error if there is no such picture or not enough memory.
    pub fn batch(&self, views: &[PictureView]) -> Result<Tensor> {
        if let Some(view) = views.iter().find(|view| view.picture as usize >= self.count) {
            bail!("pictures: picture {} of {}, counted from 0", view.picture, self.count);
        }
        match &self.held {
            Pixels::Host { pixels, tables, device } => {
                let [channels, height, width] = self.shape;
                let plane = height * width;
                let mut values = Vec::with_capacity(views.len() * channels * plane);
                for view in views {
                    let picture = &pixels[view.picture as usize * channels * plane..][..channels * plane];
                    for (plane, table) in picture.chunks_exact(plane).zip(tables) {
                        view.write(plane, (height, width), table, &mut values);
                    }
                }
                Tensor::from_vec(values, (views.len(), channels, height, width), device)
            }
            #[cfg(feature = "cuda")]
            Pixels::Cuda(pixels) => pixels.batch(views),
        }
    }
}

impl DeviceTokens {
    /// Takes the sequences' ids.
    ///
    /// # Errors
    /// Returns an error if there is not enough memory for them.
    pub fn upload(device: &Device, ids: &[u32]) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if holds_examples(device) {
            let held = Ids::Cuda(crate::cuda::Ids::upload(device, ids)?);
            return Ok(Self { count: ids.len(), held });
        }
        let held = Ids::Host { ids: ids.to_vec(), device: device.clone() };
        Ok(Self { count: ids.len(), held })
    }

    /// The sequences at `spans`, padded with 0 to the longest of them, u32 `(batch, length)`; and f32 of the same
    /// shape, 1 at tokens and 0 at padding.
    ///
    /// # Errors
    /// Returns an error if a span ends before it begins or beyond the ids, or there is not enough memory.
    pub fn batch(&self, spans: &[Range<u32>]) -> Result<(Tensor, Tensor)> {
        let bad = |span: &&Range<u32>| span.start > span.end || span.end as usize > self.count;
        if let Some(span) = spans.iter().find(bad) {
            bail!("tokens: a sequence from {} to {} of {} ids", span.start, span.end, self.count);
        }
        let length = spans.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        match &self.held {
            Ids::Host { ids, device } => {
                let mut rows = vec![0; spans.len() * length];
                let mut mask = vec![0_f32; spans.len() * length];
                for (i, span) in spans.iter().enumerate() {
                    let sequence = &ids[span.start as usize..span.end as usize];
                    rows[i * length..][..sequence.len()].copy_from_slice(sequence);
                    mask[i * length..][..sequence.len()].fill(1.0);
                }
                let shape = (spans.len(), length);
                Ok((Tensor::from_vec(rows, shape, device)?, Tensor::from_vec(mask, shape, device)?))
            }
            #[cfg(feature = "cuda")]
            Ids::Cuda(ids) => ids.batch(spans, length),
        }
    }
}
