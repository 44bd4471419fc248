//! Two-dimensional convolution.
//!
//! On the CPU, each picture is converted to a padded layout of sixteen interleaved channels. 3×3 kernels of stride 1
//! use Winograd's transform (see `winograd`). The direct method keeps a row of output pixels times sixteen output
//! channels in registers while it iterates over all taps and input channels (Georganas et al., "Anatomy of
//! high-performance deep learning convolutions on SIMD architectures", SC 2018); the input's gradient is the same sweep
//! over the output's gradient, once per phase of the stride. Convolutions with few output pixels are matrix products
//! over the batch (see `gemm`).

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

pub(crate) mod backward;
mod blocked;
mod direct;
pub(crate) mod forward;
mod gemm;
pub(crate) mod geometry;
pub(crate) mod moments;
mod product;
pub(crate) mod source;
pub(crate) mod sweep;
mod winograd;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::Precision;
use crate::check;
use crate::host::{self, Unwritten};
use crate::precision::with_rounded;
use geometry::Geometry;
use source::{Sink, Source};

/// Cross-correlation of `x (n, c, h, w)` with `weight (o, c, kh, kw)`, zero padding, no bias:
/// `(n, o, (h + 2 padding − kh) / stride + 1, (w + 2 padding − kw) / stride + 1)`.
///
/// A GPU rounds the operands to `precision`; on the CPU they stay f32.
///
/// **In PyTorch**: `torch.nn.functional.conv2d(x, weight, None, stride, padding)`.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, something is empty, the stride is 0, or the kernel is
/// larger than the padded input.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
    precision: Precision,
) -> Result<Tensor> {
    let [n, c, h, w] = check::dims("conv2d", "x", x, "(n, c, h, w)")?;
    let [o, weight_c, kh, kw] = check::dims("conv2d", "weight", weight, "(o, c, kh, kw)")?;
    let geometry = Geometry::new((n, c, h, w), (o, weight_c, kh, kw), stride, padding)?;
    check::floats("conv2d", [("x", x), ("weight", weight)])?;
    if host::is_f32(&[x, weight]) {
        return x.contiguous()?.apply_op2(&weight.contiguous()?, Conv(geometry));
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x, weight]) {
        return crate::cuda::conv2d(precision, x, weight, geometry);
    }
    // On the CPU, convolutions are f32 in every implementation.
    let precision = if x.device().is_cpu() { Precision::F32 } else { precision };
    with_rounded(precision, x, weight, |x, weight| composed(x, weight, &geometry))
}

/// candle's operator. Its gradient assumes that as many columns as rows remain beyond the last window. If the two
/// differ, the input is padded and cut to the part that the windows read, so that nothing remains.
fn composed(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let Geometry { stride, padding, .. } = *g;
    let left_over = |size: usize, kernel: usize| (size + 2 * padding - kernel) % stride;
    if left_over(g.h, g.kh) == left_over(g.w, g.kw) {
        return x.conv2d(weight, padding, stride, 1, 1);
    }
    let read = |count: usize, kernel: usize| (count - 1) * stride + kernel;
    let padded = x.pad_with_zeros(2, padding, padding)?.pad_with_zeros(3, padding, padding)?;
    let cut = padded.narrow(2, 0, read(g.oh, g.kh))?.narrow(3, 0, read(g.ow, g.kw))?;
    cut.contiguous()?.conv2d(weight, 0, stride, 1, 1)
}

struct Conv(Geometry);

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.0;
        let (x, weight) = (host::slice(x, x_layout)?, host::slice(weight, weight_layout)?);
        let mut y = Unwritten::new(g.n * g.output().flat());
        forward::run(g, &Source::Planes(x), weight, Sink::Planes(y.room()), false);
        // SAFETY: every picture was written.
        Ok((CpuStorage::F32(unsafe { y.written() }), Shape::from((g.n, g.o, g.oh, g.ow))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = &self.0;
        let mut dx = x.track_op().then(|| Unwritten::new(g.n * g.input().flat()));
        let sink = dx.as_mut().map(|dx| Sink::Planes(dx.room()));
        let dw = host::with(x, |xs| {
            host::with(weight, |ws| {
                host::with(grad, |gs| {
                    let (x, grad) = (Source::Planes(xs), Source::Planes(gs));
                    Ok(backward::run(g, &x, ws, &grad, sink, weight.track_op()))
                })
            })
        })?;
        // SAFETY: every picture was written.
        let dx = dx.map(|dx| unsafe { dx.written() });
        let input = dx.map(|data| host::tensor(data, x.shape())).transpose()?;
        let weight = dw.map(|data| host::tensor(data, weight.shape())).transpose()?;
        Ok((input, weight))
    }
}

#[cfg(test)]
mod tests;
