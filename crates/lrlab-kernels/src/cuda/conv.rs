//! Convolutions, over pictures `(n, h, w, c)` and weights `(o, kh, kw, c)`.
//!
//! They are matrix products of this crate's own device code, which gathers patches on their way to shared memory. cuDNN
//! 9 took three to four times as long for ResNet-20 and ResNet-18 on an H100, most of it between its kernels.

use std::ffi::c_void;

use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::norm::Rows;
use super::{Gpu, address, hold, words};
use crate::Precision;
use crate::arguments::Conv;
use crate::conv::geometry::Geometry;
use crate::tiles::{Product, Way, fits};

impl Gpu {
    /// Computes the output of a convolution, or the gradient of its input or weight, from the two others. With `join`,
    /// the result is added to the destination.
    ///
    /// # Safety
    /// The addresses hold what the geometry says.
    pub(super) unsafe fn convolve(
        &self,
        way: Way,
        precision: Precision,
        g: &Geometry,
        [x, w, y]: [u64; 3],
        join: bool,
    ) -> Result<()> {
        fits(g)?;
        let product = Product::new(way, g);
        let (from, with, out) = match way {
            Way::Forward => (x, w, y),
            Way::Input => (y, w, x),
            Way::Weight => (x, y, w),
        };
        let size = product.rows * product.columns;
        let parts = (product.parts > 1).then(|| self.floats(product.parts * size)).transpose()?;
        let (mut from, mut with) = (from, with);
        let mut to = parts.as_ref().map_or(out, |parts| self.at(parts));
        let mut conv = Conv::new(g, &product, join);
        let grid = (
            product.rows.div_ceil(product.tile.0) as u32,
            product.columns.div_ceil(product.tile.1) as u32,
            product.parts as u32,
        );
        let mut arguments: [*mut c_void; 4] =
            [(&raw mut conv).cast(), (&raw mut from).cast(), (&raw mut with).cast(), (&raw mut to).cast()];
        let kernel = product.kernel(way, precision);
        // SAFETY: the caller guarantees the addresses; there is room for every part.
        unsafe {
            self.launch_called(|| way.name(g), &kernel, grid, 128, 0, &mut arguments)?;
            if parts.is_some() {
                self.each("sum_parts", size, words![to, out, product.parts, join, size as u64])?;
            }
        }
        Ok(())
    }
}

/// [`crate::conv2d`] in `precision`, checked.
pub(crate) fn conv2d(
    precision: Precision,
    x: &Tensor,
    weight: &Tensor,
    geometry: Geometry,
) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Planes(geometry, precision))
}

/// Over `(n, c, h, w)` and `(o, c, kh, kw)`.
struct Planes(Geometry, Precision);

impl Planes {
    /// Rows of channels and pixels of a plane: of input, weight and output.
    fn sizes(&self) -> [(Rows, usize); 3] {
        let g = &self.0;
        let of = |n: usize, c: usize, pixels: usize| (Rows { rows: n * pixels, c }, pixels);
        [of(g.n, g.c, g.h * g.w), of(g.o, g.c, g.kh * g.kw), of(g.n, g.o, g.oh * g.ow)]
    }
}

impl CustomOp2 for Planes {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("conv2d: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let g = &self.0;
        let gpu = Gpu::new(&x.device)?;
        let [of_x, of_w, of_y] = self.sizes();
        let y = gpu.floats(of_y.0.values())?;
        // SAFETY: the geometry was made for these shapes.
        unsafe {
            let x = gpu.to_rows(address::<f32>(x, lx)?, of_x)?;
            let w = gpu.to_rows(address::<f32>(w, lw)?, of_w)?;
            gpu.convolve(Way::Forward, self.1, g, [gpu.at(&x), gpu.at(&w), gpu.at(&y)], false)?;
        }
        Ok((gpu.storage(gpu.to_planes(&y, of_y)?), Shape::from((g.n, g.o, g.oh, g.ow))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (g, gpu) = (&self.0, Gpu::of(x)?);
        let [of_x, of_w, of_y] = self.sizes();
        let [xs, ws, gs] = [hold(x)?, hold(weight)?, hold(grad)?];
        let (mut input, mut of_weight) = (None, None);
        // SAFETY: as above.
        unsafe {
            let dy = gpu.to_rows(gs.at, of_y)?;
            if x.track_op() {
                let w = gpu.to_rows(ws.at, of_w)?;
                let dx = gpu.floats(of_x.0.values())?;
                gpu.convolve(Way::Input, self.1, g, [gpu.at(&dx), gpu.at(&w), gpu.at(&dy)], false)?;
                input = Some(gpu.tensor(gpu.to_planes(&dx, of_x)?, x.shape()));
            }
            if weight.track_op() {
                let x = gpu.to_rows(xs.at, of_x)?;
                let dw = gpu.floats(of_w.0.values())?;
                gpu.convolve(Way::Weight, self.1, g, [gpu.at(&x), gpu.at(&dw), gpu.at(&dy)], false)?;
                let dw = gpu.tensor(gpu.to_planes(&dw, of_w)?, weight.shape());
                of_weight = crate::gradient::store_grad(weight, dw);
            }
        }
        Ok((input, of_weight))
    }
}
