//! Two-dimensional convolution.
//!
//! On the CPU each picture is brought into a padded layout with sixteen channels side by side, so that one tile keeps
//! a row of output pixels times sixteen output channels in registers while it runs over all taps and input channels
//! (Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures", SC 2018). The
//! input gradient is the same sweep over the output's gradient, once per phase of the stride.

mod backward;
mod blocked;
mod forward;
mod geometry;
pub(crate) mod sweep;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::host;
use geometry::Geometry;

/// Cross-correlation of `x (n, c, h, w)` with `weight (o, c, kh, kw)`, zero padding, no bias:
/// `(n, o, (h + 2 padding − kh) / stride + 1, (w + 2 padding − kw) / stride + 1)`.
///
/// # Errors
/// Shapes do not fit, something is empty, the stride is 0, or the kernel is larger than the padded input.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let geometry = Geometry::new(x.dims4()?, weight.dims4()?, stride, padding)?;
    if host::is_f32(&[x, weight]) {
        return x.contiguous()?.apply_op2(&weight.contiguous()?, Conv(geometry));
    }
    x.conv2d(weight, padding, stride, 1, 1)
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
        let y = forward::run(g, host::slice(x, x_layout)?, host::slice(weight, weight_layout)?);
        Ok((CpuStorage::F32(y), Shape::from((g.n, g.o, g.oh, g.ow))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let want = backward::Want { input: x.track_op(), weight: weight.track_op() };
        let grads = host::with(x, |xs| {
            host::with(weight, |ws| host::with(grad, |gs| Ok(backward::run(&self.0, xs, ws, gs, want))))
        })?;
        let input = grads.input.map(|data| host::tensor(data, x.shape())).transpose()?;
        let weight = grads.weight.map(|data| host::tensor(data, weight.shape())).transpose()?;
        Ok((input, weight))
    }
}

#[cfg(test)]
mod tests;
