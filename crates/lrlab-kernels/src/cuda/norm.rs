//! Batch norm with a residual and a ReLU: on rows of channels, for networks, and as an operator over planes.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, Var, bail};

use super::{Gpu, Held, Word, address, hold, words};
use crate::arguments::{NORMS, Statistics};
use crate::{BatchNorm2d, NormMode};

/// Rows of channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) rows: usize,
    pub(super) c: usize,
}

impl Rows {
    pub(super) fn values(self) -> usize {
        self.rows * self.c
    }

    /// Starts a kernel over packs of four channels or single ones.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    unsafe fn packs(self, gpu: &Gpu, name: &str, words: &[Word]) -> Result<()> {
        let pack = if self.c.is_multiple_of(4) { 4 } else { 1 };
        let packs = self.values() / pack;
        let mut all = words.to_vec();
        all.extend(words![self.c, packs as u64]);
        // SAFETY: guaranteed by the caller.
        unsafe { gpu.each(&format!("{name}_{pack}"), packs, &all) }
    }
}

/// A norm's parameters and running statistics, held.
pub(super) struct Parameters {
    scale: Held,
    shift: Held,
    /// Mean and variance.
    running: [Held; 2],
    eps: f32,
}

impl Parameters {
    pub(super) fn hold(
        [scale, shift]: [&Tensor; 2],
        [running_mean, running_var]: [&Var; 2],
        eps: f64,
    ) -> Result<Self> {
        Ok(Self {
            scale: hold(scale)?,
            shift: hold(shift)?,
            running: [hold(running_mean)?, hold(running_var)?],
            eps: eps as f32,
        })
    }
}

/// Mean, 1 / √(variance + eps), gain and offset per channel.
pub(super) struct Coefficients(CudaSlice<f32>, usize);

impl Coefficients {
    fn at(&self, gpu: &Gpu) -> [u64; 4] {
        [0, 1, 2, 3].map(|i| gpu.at(&self.0) + (i * self.1 * size_of::<f32>()) as u64)
    }
}

/// Running statistics that are yet to move towards those of a batch.
pub(super) struct Seen {
    running: [Held; 2],
    /// Mean and variance, `(2, c)`.
    batch: CudaSlice<f64>,
    of: Rows,
}

/// The coefficients for y, and in training the statistics for [`move_statistics`].
///
/// # Safety
/// y has the rows.
pub(super) unsafe fn measure(
    gpu: &Gpu,
    of: Rows,
    y: u64,
    p: Parameters,
    mode: NormMode,
) -> Result<(Coefficients, Option<Seen>)> {
    let coefficients = Coefficients(gpu.floats(4 * of.c)?, of.c);
    let [mean, inverse, gain, offset] = coefficients.at(gpu);
    let (scale, shift) = (p.scale.at, p.shift.at);
    // SAFETY: guaranteed by the caller; coefficients and statistics have room for the channels.
    unsafe {
        if mode == NormMode::Eval {
            let [running_mean, running_var] = p.running.each_ref().map(|held| held.at);
            let words =
                words![scale, shift, running_mean, running_var, p.eps, mean, inverse, gain, offset, of.c];
            gpu.launch("fixed_norm", (of.c.div_ceil(128) as u32, 1, 1), 128, 0, words)?;
            return Ok((coefficients, None));
        }
        let batch = gpu.take::<f64>(2 * of.c)?;
        let words = words![y, scale, shift, mean, inverse, gain, offset, gpu.at(&batch), p.eps];
        gpu.column_sums("moments", (of.rows, of.c), words)?;
        Ok((coefficients, Some(Seen { running: p.running, batch, of })))
    }
}

/// Moves running statistics in training, in the order in which they are given. An operator calls it once nothing else can
/// fail, so that they are those of the batches that succeeded.
pub(super) fn move_statistics(gpu: &Gpu, seen: &[Seen], mode: NormMode) -> Result<()> {
    let NormMode::Train { momentum } = mode else { return Ok(()) };
    let mut rest = seen;
    while !rest.is_empty() {
        let mut table = Statistics::empty();
        let (mut count, mut most) = (0, 0);
        for (i, Seen { running: [mean, var], batch, of }) in rest.iter().take(NORMS).enumerate() {
            // Norms that share their statistics move them one after the other.
            if table.running_mean[..i].contains(&mean.at) || table.running_var[..i].contains(&var.at) {
                break;
            }
            (table.running_mean[i], table.running_var[i]) = (mean.at, var.at);
            table.batch[i] = gpu.at(batch);
            // The sums over the batch had these sizes.
            (table.c[i], table.count[i]) = (of.c as i32, of.rows as i32);
            (count, most) = (i + 1, most.max(of.c));
        }
        let mut momentum = momentum as f32;
        let mut arguments = [(&raw mut table).cast(), (&raw mut momentum).cast()];
        let grid = (most.div_ceil(128) as u32, count as u32, 1);
        // SAFETY: statistics have a value per channel, and batches two.
        unsafe { gpu.launch_raw("move_statistics", grid, 128, 0, &mut arguments)? };
        rest = &rest[count..];
    }
    Ok(())
}

/// z = max(norm(y) + residual, 0), without the maximum unless `relu`; `residual` may be null.
///
/// # Safety
/// y, residual and z have the rows.
pub(super) unsafe fn apply(
    gpu: &Gpu,
    of: Rows,
    y: u64,
    coefficients: &Coefficients,
    residual: u64,
    relu: bool,
    z: u64,
) -> Result<()> {
    let [_, _, gain, offset] = coefficients.at(gpu);
    // SAFETY: guaranteed by the caller.
    unsafe { of.packs(gpu, "norm_apply", words![y, gain, offset, residual, relu, z]) }
}

/// The backward pass: y is the norm's input, and z its output if it has a ReLU, else null. The residual's gradient is
/// written to `beside`, or with `join` added to it, unless it is null. Returns the gradients of scale and shift.
///
/// # Safety
/// All addresses have the rows.
pub(super) unsafe fn back(
    gpu: &Gpu,
    of: Rows,
    [grad, y, z]: [u64; 3],
    (scale, coefficients, mode): (&Tensor, &Coefficients, NormMode),
    dy: u64,
    (beside, join): (u64, bool),
) -> Result<[CudaSlice<f32>; 2]> {
    let [mean, inverse, ..] = coefficients.at(gpu);
    let scale = hold(scale)?;
    let parameters = [gpu.floats(of.c)?, gpu.floats(of.c)?];
    let [d_scale, d_shift] = parameters.each_ref().map(|grad| gpu.at(grad));
    let slopes = gpu.floats(3 * of.c)?;
    let [a, b, d] = [0, 1, 2].map(|i| gpu.at(&slopes) + (i * of.c * size_of::<f32>()) as u64);
    let train = mode != NormMode::Eval;
    // SAFETY: guaranteed by the caller.
    unsafe {
        let words = words![grad, y, z, scale.at, mean, inverse, d_scale, d_shift, a, b, d, train];
        gpu.column_sums("norm_grad", (of.rows, of.c), words)?;
        of.packs(gpu, "norm_back", words![grad, y, z, a, b, d, dy, beside, join])?;
    }
    Ok(parameters)
}

/// [`BatchNorm2d::forward`], checked.
pub(crate) fn batch_norm2d(x: &Tensor, norm: &BatchNorm2d) -> Result<Tensor> {
    let affine = [norm.scale, norm.shift];
    let op = Planes {
        affine: affine.map(Clone::clone),
        running: [norm.running_mean, norm.running_var].map(Clone::clone),
        eps: norm.eps,
        mode: norm.mode,
        relu: norm.relu,
        kept: Mutex::new(None),
    };
    let x = x.contiguous()?;
    match norm.residual {
        Some(residual) => x.apply_op2(&residual.contiguous()?, op),
        None => super::apply(&x, affine, op),
    }
}

struct Planes {
    affine: [Tensor; 2],
    running: [Var; 2],
    eps: f64,
    mode: NormMode,
    relu: bool,
    kept: Mutex<Option<Kept>>,
}

/// Input and output as rows.
struct Kept {
    y: CudaSlice<f32>,
    z: CudaSlice<f32>,
    coefficients: Coefficients,
}

/// Sizes of `(n, c, h, w)`: its rows, and the pixels of a plane.
fn rows((n, c, h, w): (usize, usize, usize, usize)) -> (Rows, usize) {
    (Rows { rows: n * h * w, c }, h * w)
}

impl Gpu {
    /// Brings planes into rows of channels.
    ///
    /// # Safety
    /// There are `(n, c, pixels)` values at `from`.
    pub(super) unsafe fn to_rows(&self, from: u64, (of, pixels): (Rows, usize)) -> Result<CudaSlice<f32>> {
        let to = self.floats(of.values())?;
        let words = words![from, self.at(&to), of.c, pixels, of.values() as u64];
        // SAFETY: guaranteed by the caller.
        unsafe { self.each("to_rows", of.values(), words)? };
        Ok(to)
    }

    /// Brings rows of channels into planes.
    pub(super) fn to_planes(
        &self,
        from: &CudaSlice<f32>,
        (of, pixels): (Rows, usize),
    ) -> Result<CudaSlice<f32>> {
        let to = self.floats(of.values())?;
        let words = words![self.at(from), self.at(&to), of.c, pixels, of.values() as u64];
        // SAFETY: both have a value per row and channel.
        unsafe { self.each("to_planes", of.values(), words)? };
        Ok(to)
    }
}

impl Planes {
    fn forward(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        residual: Option<u64>,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let sizes = rows(layout.shape().dims4()?);
        let of = sizes.0;
        let z = gpu.floats(of.values())?;
        let [scale, shift] = &self.affine;
        let [running_mean, running_var] = &self.running;
        let p = Parameters::hold([scale, shift], [running_mean, running_var], self.eps)?;
        // SAFETY: the shapes were checked.
        unsafe {
            let y = gpu.to_rows(address::<f32>(x, layout)?, sizes)?;
            let residual = residual.map(|residual| gpu.to_rows(residual, sizes)).transpose()?;
            let (coefficients, seen) = measure(&gpu, of, gpu.at(&y), p, self.mode)?;
            let beside = residual.as_ref().map_or(0, |residual| gpu.at(residual));
            apply(&gpu, of, gpu.at(&y), &coefficients, beside, self.relu, gpu.at(&z))?;
            let out = gpu.to_planes(&z, sizes)?;
            move_statistics(&gpu, seen.as_slice(), self.mode)?;
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { y, z, coefficients });
            Ok((gpu.storage(out), layout.shape().clone()))
        }
    }

    /// Gradients of x and of the residual.
    fn backward(&self, x: &Tensor, grad: &Tensor, residual: bool) -> Result<[Option<Tensor>; 2]> {
        let gpu = Gpu::of(x)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { bail!("batch_norm2d: backward before forward") };
        let sizes = rows(x.dims4()?);
        let of = sizes.0;
        let held = hold(grad)?;
        let dy = gpu.floats(of.values())?;
        let beside = residual.then(|| gpu.floats(of.values())).transpose()?;
        // SAFETY: the shapes are those of the forward pass.
        let grads = unsafe {
            let grad = gpu.to_rows(held.at, sizes)?;
            let z = if self.relu { gpu.at(&kept.z) } else { 0 };
            let to = beside.as_ref().map_or(0, |beside| gpu.at(beside));
            let norm = (&self.affine[0], &kept.coefficients, self.mode);
            back(&gpu, of, [gpu.at(&grad), gpu.at(&kept.y), z], norm, gpu.at(&dy), (to, false))?
        };
        for (of_parameter, grad) in self.affine.iter().zip(grads) {
            if of_parameter.track_op() {
                super::store_grad(of_parameter, gpu.tensor(grad, of.c))?;
            }
        }
        let planes = |rows: &CudaSlice<f32>| -> Result<Tensor> {
            Ok(gpu.tensor(gpu.to_planes(rows, sizes)?, x.shape()))
        };
        let dx = x.track_op().then(|| planes(&dy)).transpose()?;
        Ok([dx, beside.as_ref().map(planes).transpose()?])
    }
}

impl CustomOp1 for Planes {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("batch_norm2d: expected tensors on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, layout, None)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [dx, _] = self.backward(x, grad, false)?;
        Ok(dx)
    }
}

impl CustomOp2 for Planes {
    fn name(&self) -> &'static str {
        "batch_norm2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("batch_norm2d: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        residual: &CudaStorage,
        residual_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward(x, layout, Some(address::<f32>(residual, residual_layout)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, beside] = self.backward(x, grad, residual.track_op())?;
        Ok((dx, beside))
    }
}
