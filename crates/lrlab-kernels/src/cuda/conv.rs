//! Convolutions, over pictures `(n, h, w, c)` and weights `(o, kh, kw, c)`.
//!
//! They are matrix products of this crate's own device code, which gathers patches on their way to shared memory. cuDNN 9
//! took three to four times as long for ResNet-20 and ResNet-18 on an H100, most of it between its kernels.

use std::ffi::c_void;

use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::norm::Rows;
use super::{Gpu, address, hold, words};
use crate::conv::geometry::Geometry;
use crate::{Precision, environment};

/// The three ways through a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Forward,
    Input,
    Weight,
}

impl Way {
    /// For tables of times.
    pub(super) fn name(self, g: &Geometry) -> String {
        let Geometry { c, o, h, w, kh, kw, stride, .. } = *g;
        format!("{self:?} of {c}×{h}×{w} by {o} of {kh}×{kw} stride {stride}")
    }
}

/// A convolution as the device code takes it.
#[repr(C)]
struct Conv {
    n: i32,
    c: i32,
    h: i32,
    w: i32,
    o: i32,
    kh: i32,
    kw: i32,
    stride: i32,
    padding: i32,
    oh: i32,
    ow: i32,
    rows: i32,
    columns: i32,
    depth: i32,
    part: i32,
    join: i32,
}

/// The product that one way through a convolution is, and how it is laid over blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    /// Of a block.
    tile: (usize, usize),
    /// Values that are fetched at once.
    pack: usize,
    /// Blocks that share a tile's depth, each `part` of it.
    parts: usize,
    part: usize,
}

/// Values of a row or column that a block holds at once.
const DEEP: usize = 16;
/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 264;
/// A block should have so many steps of [`DEEP`].
const STEPS: usize = 4;
/// Values of all partial sums, at most.
const MOST_PARTS: usize = 1 << 24;

impl Product {
    fn new(way: Way, g: &Geometry) -> Self {
        let taps = g.kh * g.kw;
        let (outputs, inputs) = (g.n * g.oh * g.ow, g.n * g.h * g.w);
        let (rows, columns, depth) = match way {
            Way::Forward => (outputs, g.o, taps * g.c),
            Way::Input => (inputs, g.c, taps * g.o),
            Way::Weight => (taps * g.c, g.o, outputs),
        };
        let long = if way == Way::Weight { 64 } else { 128 };
        let tile = match columns {
            ..=16 => (long, 16),
            17..=32 => (long, 32),
            _ => (64, 64),
        };
        let whole = g.c.is_multiple_of(4) && (way == Way::Forward || g.o.is_multiple_of(4));
        let pack = if whole { 4 } else { 1 };
        let tiles = rows.div_ceil(tile.0) * columns.div_ceil(tile.1);
        let most = (depth / (DEEP * STEPS)).min(MOST_PARTS / (rows * columns)).max(1);
        let parts = BLOCKS.div_ceil(tiles).min(most);
        let part = depth.div_ceil(parts).next_multiple_of(DEEP);
        Self { rows, columns, depth, tile, pack, parts: depth.div_ceil(part), part }
    }

    fn kernel(&self, way: Way, precision: Precision) -> String {
        let way = match way {
            Way::Forward => "forward",
            Way::Input => "input",
            Way::Weight => "weight",
        };
        let kind = match precision {
            Precision::Bf16 => "bf16",
            Precision::F32 if environment::tf32() => "tf32",
            Precision::F32 => "f32",
        };
        format!("conv_{way}_{}x{}_{}_{kind}", self.tile.0, self.tile.1, self.pack)
    }
}

/// Sizes that the device code counts in 32 bits.
fn fits(g: &Geometry) -> Result<()> {
    let sizes = [g.n * g.h * g.w, g.n * g.oh * g.ow, g.kh * g.kw * g.c * g.o];
    match sizes.iter().find(|size| **size > i32::MAX as usize / 2) {
        Some(_) => bail!("conv2d: {g:?} is more than a GPU's kernels count"),
        None => Ok(()),
    }
}

impl Gpu {
    /// The output of a convolution, or the gradient of its input or weight, from the two others: it becomes the result
    /// plus, with `join`, what is there.
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
        let int = |size: usize| size as i32;
        let mut conv = Conv {
            n: int(g.n),
            c: int(g.c),
            h: int(g.h),
            w: int(g.w),
            o: int(g.o),
            kh: int(g.kh),
            kw: int(g.kw),
            stride: int(g.stride),
            padding: int(g.padding),
            oh: int(g.oh),
            ow: int(g.ow),
            rows: int(product.rows),
            columns: int(product.columns),
            depth: int(product.depth),
            part: int(product.part),
            join: i32::from(join && parts.is_none()),
        };
        let grid = (
            product.rows.div_ceil(product.tile.0) as u32,
            product.columns.div_ceil(product.tile.1) as u32,
            product.parts as u32,
        );
        let mut arguments: [*mut c_void; 4] =
            [(&raw mut conv).cast(), (&raw mut from).cast(), (&raw mut with).cast(), (&raw mut to).cast()];
        let kernel = product.kernel(way, precision);
        // SAFETY: the caller vouches for the addresses; there is room for every part.
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
        bail!("conv2d: tensors on a GPU are wanted")
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
                of_weight = crate::gradient::give(weight, dw);
            }
        }
        Ok((input, of_weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_cover_every_row_column_and_depth() -> Result<()> {
        for (n, c, side, o, kernel, stride) in [
            (128, 16, 32, 16, 3, 1),
            (128, 3, 32, 64, 7, 2),
            (128, 512, 1, 512, 3, 1),
            (2, 17, 9, 10, 3, 2),
            (1, 1, 1, 1, 1, 1),
            (256, 64, 8, 256, 1, 1),
        ] {
            let g = Geometry::new((n, c, side, side), (o, c, kernel, kernel), stride, kernel / 2)?;
            for way in [Way::Forward, Way::Input, Way::Weight] {
                let p = Product::new(way, &g);
                assert!(p.part.is_multiple_of(DEEP) && p.parts >= 1, "{p:?}");
                assert!(p.parts * p.part >= p.depth && (p.parts - 1) * p.part < p.depth, "{p:?}");
                let pixels = if way == Way::Input { side * side } else { g.oh * g.ow };
                assert_eq!(p.rows * p.columns * p.depth, n * pixels * o * c * kernel * kernel, "{p:?}");
                let packed = if way == Way::Forward { vec![c] } else { vec![c, o] };
                assert_eq!(p.pack == 4, packed.iter().all(|size| size % 4 == 0), "{p:?}");
                assert!(p.parts == 1 || p.parts * p.rows * p.columns <= MOST_PARTS);
            }
        }
        Ok(())
    }

    #[test]
    fn a_convolution_that_is_too_large_is_named() -> Result<()> {
        let g = Geometry::new((1 << 20, 1, 64, 64), (1, 1, 1, 1), 1, 0)?;
        let error = fits(&g).unwrap_err().to_string();
        assert!(error.contains("is more than a GPU's kernels count"), "{error}");
        Ok(())
    }
}
