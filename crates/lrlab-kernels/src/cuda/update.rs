//! Updates of many parameters at once, in place.

use std::ffi::c_void;

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{Result, Tensor};

use super::{BLOCK, Gpu, Held, hold, wrap};
use crate::{AdamStep, SgdStep, Update};

/// Parameters of one launch, as the device code declares it.
const AT_ONCE: usize = 40;

#[repr(C)]
struct Table {
    var: [u64; AT_ONCE],
    grad: [u64; AT_ONCE],
    first: [u64; AT_ONCE],
    second: [u64; AT_ONCE],
    decay: [f32; AT_ONCE],
    size: [i32; AT_ONCE],
}

#[repr(C)]
struct SgdRule {
    lr: f32,
    momentum: f32,
    keep: f32,
    nesterov: i32,
}

#[repr(C)]
struct AdamRule {
    keep: [f32; 2],
    take: [f32; 2],
    rate: f32,
    root: f32,
    eps: f32,
    lr: f32,
    decoupled: i32,
}

/// [`crate::sgd_update`] of each; `step.weight_decay` is each one's own.
pub(crate) fn sgd(moved: &[Update], step: SgdStep) -> Result<()> {
    let mut rule = SgdRule {
        lr: step.lr as f32,
        momentum: step.momentum as f32,
        keep: if step.first { 0.0 } else { step.momentum as f32 },
        nesterov: i32::from(step.nesterov),
    };
    each(moved, |gpu, table, grid| {
        let mut arguments = [(&raw const *table).cast_mut().cast(), (&raw mut rule).cast::<c_void>()];
        // SAFETY: the table's addresses have room for its sizes.
        unsafe { gpu.launch_raw("sgd", grid, BLOCK, 0, &mut arguments) }
    })
}

/// [`crate::adam_update`] of each; `step.weight_decay` is each one's own.
pub(crate) fn adam(moved: &[Update], step: AdamStep) -> Result<()> {
    let AdamStep { lr, beta1, beta2, eps, decoupled, step, .. } = step;
    let mut rule = AdamRule {
        keep: [beta1 as f32, beta2 as f32],
        take: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
        rate: (lr / (1.0 - beta1.powf(step as f64))) as f32,
        root: (1.0 / (1.0 - beta2.powf(step as f64)).sqrt()) as f32,
        eps: eps as f32,
        lr: lr as f32,
        decoupled: i32::from(decoupled),
    };
    each(moved, |gpu, table, grid| {
        let mut arguments = [(&raw const *table).cast_mut().cast(), (&raw mut rule).cast::<c_void>()];
        // SAFETY: as above.
        unsafe { gpu.launch_raw("adam", grid, BLOCK, 0, &mut arguments) }
    })
}

/// The sum of the squares of all values of `tensors`, in f64. It waits for the device.
pub(crate) fn squared_norm(tensors: &[&Tensor]) -> Result<f64> {
    let Some(first) = tensors.first() else { return Ok(0.0) };
    let gpu = Gpu::of(first)?;
    let held = tensors.iter().map(|x| hold(x)).collect::<Result<Vec<Held>>>()?;
    // The number of blocks does not depend on the tensors, so that sums have one order.
    let partial: CudaSlice<f64> = gpu.take(tensors.len() * SQUARES)?;
    let all: Vec<(u64, usize)> = held.iter().zip(tensors).map(|(h, x)| (h.at, x.elem_count())).collect();
    for (i, part) in all.chunks(AT_ONCE).enumerate() {
        let mut table = Table::empty();
        for (j, (at, size)) in part.iter().enumerate() {
            table.grad[j] = *at;
            table.size[j] = i32::try_from(*size).map_err(wrap)?;
        }
        let mut to = gpu.at(&partial) + (i * AT_ONCE * SQUARES * size_of::<f64>()) as u64;
        let mut arguments = [(&raw mut table).cast::<c_void>(), (&raw mut to).cast()];
        // SAFETY: the table's addresses have its sizes, and there is room for the sums of each.
        unsafe {
            gpu.launch_raw("squares", (SQUARES as u32, part.len() as u32, 1), BLOCK, 0, &mut arguments)?;
        };
    }
    Ok(gpu.device.clone_dtoh(&partial)?.iter().sum())
}

/// Blocks, and sums, per tensor.
const SQUARES: usize = 16;

impl Table {
    fn empty() -> Self {
        Self {
            var: [0; AT_ONCE],
            grad: [0; AT_ONCE],
            first: [0; AT_ONCE],
            second: [0; AT_ONCE],
            decay: [0.0; AT_ONCE],
            size: [0; AT_ONCE],
        }
    }
}

fn each(moved: &[Update], mut launch: impl FnMut(&Gpu, &Table, (u32, u32, u32)) -> Result<()>) -> Result<()> {
    for part in moved.chunks(AT_ONCE) {
        let gpu = Gpu::of(part[0].var)?;
        let mut table = Table::empty();
        let mut held = Vec::with_capacity(4 * part.len());
        let mut keep = |x: &Tensor| -> Result<u64> {
            let x = hold(x)?;
            let at = x.at;
            held.push(x);
            Ok(at)
        };
        let mut most = 0;
        for (i, of) in part.iter().enumerate() {
            table.var[i] = keep(of.var)?;
            table.grad[i] = keep(of.grad)?;
            if let Some(first) = of.moments.first() {
                table.first[i] = keep(first)?;
            }
            if let Some(second) = of.moments.get(1) {
                table.second[i] = keep(second)?;
            }
            table.decay[i] = of.weight_decay as f32;
            let size = of.var.elem_count();
            table.size[i] = i32::try_from(size).map_err(wrap)?;
            most = most.max(size);
        }
        let across = most.div_ceil(4 * BLOCK as usize).clamp(1, 528) as u32;
        launch(&gpu, &table, (across, part.len() as u32, 1))?;
    }
    Ok(())
}
