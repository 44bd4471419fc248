//! Rows: bias, dropout, residual sum and layer norm in one pass, a warp a row.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::dropout::Bits;
use super::{Gpu, address, hold, words};
use crate::gradient::store_grad;

pub(crate) fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let kept = Mutex::new(None);
    x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, LayerNorm { eps: eps as f32, kept })
}

/// The widest rows that [`row_norm`] takes.
pub(crate) const MOST_WIDE: usize = 1024;

/// Intermediate results for the backward pass of a norm.
pub(super) struct Normed {
    pub(super) rows: CudaSlice<f32>,
    pub(super) inverse: CudaSlice<f32>,
}

/// The terms of a row: x and, if present, bias, dropout and residual.
pub(super) struct Row<'a> {
    pub(super) x: u64,
    pub(super) bias: Option<u64>,
    pub(super) bits: Option<&'a Bits>,
    pub(super) base: Option<u64>,
    /// The destination of the sum, if it is kept.
    pub(super) sum: Option<u64>,
}

/// Sums rows and norms them: what it keeps, and the output.
///
/// # Safety
/// Addresses hold `(rows, w)` values, parameters w, and w is at most [`MOST_WIDE`].
pub(super) unsafe fn row_norm(
    gpu: &Gpu,
    row: &Row,
    [scale, shift]: [u64; 2],
    eps: f32,
    (rows, w): (usize, usize),
) -> Result<(Normed, CudaSlice<f32>)> {
    let kept = Normed { rows: gpu.floats(rows * w)?, inverse: gpu.floats(rows)? };
    let y = gpu.floats(rows * w)?;
    let (bits, gain) = Bits::arguments(gpu, row.bits);
    let words = words![
        row.x,
        row.bias.unwrap_or(0),
        bits,
        gain,
        row.base.unwrap_or(0),
        row.sum.unwrap_or(0),
        scale,
        shift,
        eps,
        gpu.at(&kept.rows),
        gpu.at(&kept.inverse),
        gpu.at(&y),
        w,
        rows
    ];
    // SAFETY: guaranteed by the caller.
    unsafe { gpu.rows("row_norm", rows, words)? };
    Ok((kept, y))
}

/// The same sum without a norm.
///
/// # Safety
/// As for [`row_norm`].
pub(super) unsafe fn row_sum(gpu: &Gpu, row: &Row, to: u64, (rows, w): (usize, usize)) -> Result<()> {
    let (bits, gain) = Bits::arguments(gpu, row.bits);
    let none = 0_u64;
    let words = words![
        row.x,
        row.bias.unwrap_or(0),
        bits,
        gain,
        row.base.unwrap_or(0),
        to,
        none,
        none,
        0.0_f32,
        none,
        none,
        none,
        w,
        rows
    ];
    // SAFETY: guaranteed by the caller.
    unsafe { gpu.rows("row_norm", rows, words) }
}

/// The backward pass of a norm: its input's gradient goes to, or with `join` joins, `dx`; gradients of scale and shift.
///
/// # Safety
/// As for [`row_norm`].
pub(super) unsafe fn row_norm_back(
    gpu: &Gpu,
    grad: u64,
    kept: &Normed,
    scale: u64,
    (dx, join): (u64, bool),
    (rows, w): (usize, usize),
) -> Result<[CudaSlice<f32>; 2]> {
    let (normed, inverse) = (gpu.at(&kept.rows), gpu.at(&kept.inverse));
    // SAFETY: guaranteed by the caller.
    unsafe {
        let [d_shift, d_scale] = gpu.columns(grad, Some(normed), (rows, w))?;
        gpu.rows("row_norm_back", rows, words![grad, normed, inverse, scale, dx, join, w, rows])?;
        Ok([d_scale, d_shift])
    }
}

struct LayerNorm {
    eps: f32,
    kept: Mutex<Option<Normed>>,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("layer_norm: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        scale: &CudaStorage,
        ls: &Layout,
        shift: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let w = ls.shape().elem_count();
        let rows = lx.shape().elem_count() / w;
        let row = Row { x: address::<f32>(x, lx)?, bias: None, bits: None, base: None, sum: None };
        let parameters = [address::<f32>(scale, ls)?, address::<f32>(shift, lb)?];
        // SAFETY: the shapes were checked.
        let (kept, y) = unsafe { row_norm(&gpu, &row, parameters, self.eps, (rows, w))? };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok((gpu.storage(y), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { bail!("layer_norm: backward before forward") };
        let w = scale.elem_count();
        let rows = x.elem_count() / w;
        let dx = gpu.floats(x.elem_count())?;
        let (g, s) = (hold(grad)?, hold(scale)?);
        // SAFETY: the shapes are those of the forward pass.
        let [d_scale, d_shift] =
            unsafe { row_norm_back(&gpu, g.at, kept, s.at, (gpu.at(&dx), false), (rows, w))? };
        let parameter = |of: &Tensor, data| {
            if of.track_op() { store_grad(of, gpu.tensor(data, of.shape())) } else { None }
        };
        let (d_scale, d_shift) = (parameter(scale, d_scale), parameter(shift, d_shift));
        Ok((x.track_op().then(|| gpu.tensor(dx, x.shape())), d_scale, d_shift))
    }
}
