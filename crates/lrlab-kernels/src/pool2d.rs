//! Pooling.

#![allow(unsafe_code, reason = "the gradient is written in place before it has a length")]

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::check;
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::simd::{Kernel, LANES, Simd, dispatch, part};

/// Maximum over windows of `x (n, c, h, w)`, which may overlap; padding is never the maximum:
/// `(n, c, (h + 2 padding − kernel) / stride + 1, …)`.
///
/// **In PyTorch**: `torch.nn.functional.max_pool2d(x, kernel, stride, padding)`.
///
/// # Errors
/// Returns an error if the type is not a float, something is empty, kernel or stride is 0, the padding exceeds half the
/// kernel, or the kernel is larger than the padded input.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let [n, c, h, w] = check::dims("max_pool2d", "x", x, "(n, c, h, w)")?;
    if kernel == 0 {
        bail!("max_pool2d: kernel 0, expected at least 1");
    }
    if stride == 0 {
        bail!("max_pool2d: stride 0, expected at least 1");
    }
    if padding > kernel / 2 {
        bail!("max_pool2d: padding {padding}, expected at most half the kernel of {kernel}");
    }
    if n * c * h * w == 0 {
        bail!("max_pool2d: empty input {:?}", x.shape());
    }
    // Twice the padding is at most the kernel, so this form does not overflow.
    if h < kernel - 2 * padding || w < kernel - 2 * padding {
        let x = x.shape();
        bail!("max_pool2d: kernel {kernel} is larger than the input {x:?} with padding {padding}");
    }
    check::floats("max_pool2d", [("x", x)])?;
    let padded = |size: usize| size.checked_add(2 * padding);
    let elements = [Some(n), Some(c), padded(h), padded(w), Some(size_of::<f64>())];
    let bytes = elements.into_iter().try_fold(1_usize, |product, size| product.checked_mul(size?));
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
        bail!("max_pool2d: padding {padding} on input {:?} overflows", x.shape());
    }
    composed(&x.contiguous()?, kernel, stride, padding)
}

fn composed(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let padded = pad_lowest(&pad_lowest(x, 2, padding)?, 3, padding)?;
    let (_, _, h, w) = padded.dims4()?;
    let (oh, ow) = ((h - kernel) / stride + 1, (w - kernel) / stride + 1);
    let picks = |from: usize, count: usize| {
        let at: Vec<u32> = (0..count).map(|i| (from + i * stride) as u32).collect();
        Tensor::from_vec(at, count, x.device())
    };
    let mut best: Option<Tensor> = None;
    for row in 0..kernel {
        let rows = padded.index_select(&picks(row, oh)?, 2)?;
        for column in 0..kernel {
            let window = rows.index_select(&picks(column, ow)?, 3)?;
            best = Some(match best {
                Some(best) => maximum(&best, &window)?,
                None => window,
            });
        }
    }
    match best {
        Some(best) => Ok(best),
        None => bail!("max_pool2d: kernel 0"),
    }
}

/// The larger value, or NaN if either is NaN. candle's own maximum keeps only a NaN on the left on the CPU, and none on
/// a GPU.
fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let larger = b.ne(b)?.where_cond(b, &a.maximum(b)?)?;
    a.ne(a)?.where_cond(a, &larger)
}

fn pad_lowest(x: &Tensor, dim: usize, padding: usize) -> Result<Tensor> {
    if padding == 0 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    dims[dim] = padding;
    let edge = Tensor::full(f32::NEG_INFINITY, dims, x.device())?.to_dtype(x.dtype())?;
    Tensor::cat(&[&edge, x, &edge], dim)
}

/// Mean over h and w of `x (n, c, h, w)`: `(n, c)`.
///
/// **In PyTorch**: `x.mean((2, 3))`.
///
/// # Errors
/// Returns an error if the type is not a float, or the input is empty or has another rank.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = check::dims("global_avg_pool2d", "x", x, "(n, c, h, w)")?;
    check::floats("global_avg_pool2d", [("x", x)])?;
    if x.elem_count() == 0 {
        bail!("global_avg_pool2d: empty input {:?}", x.shape());
    }
    if host::is_f32(&[x]) {
        return x.contiguous()?.apply_op1(GlobalAverage { n, c, plane: h * w });
    }
    x.mean((2, 3))
}

struct GlobalAverage {
    n: usize,
    c: usize,
    /// Values of a channel.
    plane: usize,
}

impl CustomOp1 for GlobalAverage {
    fn name(&self) -> &'static str {
        "global_avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let planes = host::slice(x, layout)?.par_chunks(self.plane).with_min_len(self.c);
        let y = planes.map(|plane| dispatch(Sum(plane)) / self.plane as f32).collect();
        Ok((CpuStorage::F32(y), Shape::from((self.n, self.c))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = Unwritten::new(x.elem_count());
        let planes = dx.room().par_chunks_mut(self.plane).with_min_len(self.c);
        host::with(grad, |grad| {
            planes.zip(grad.par_iter()).for_each(|(dx, dy)| {
                let each = dy / self.plane as f32;
                for dx in dx {
                    dx.write(each);
                }
            });
            Ok(())
        })?;
        // SAFETY: every plane was written.
        let dx = unsafe { dx.written() };
        Ok(store_grad(x, host::tensor(dx, x.shape())?))
    }
}

/// Sum of the values.
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let starts = (0..self.0.len()).step_by(LANES);
        s.sum(starts.fold(s.zero(), |sum, at| s.add(sum, part(s, self.0, at, 0.0))))
    }
}
