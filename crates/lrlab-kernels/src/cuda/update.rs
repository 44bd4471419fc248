//! Updates of many parameters at once, in place.

use std::ffi::c_void;

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{Result, Tensor};

use super::{BLOCK, Gpu, Held, hold, wrap};
use crate::arguments::{AdamRule, PARAMETERS, Parameters, SgdRule, int};
use crate::{AdamStep, SgdStep, Update};

/// [`crate::sgd_update`] of each; `step.weight_decay` is each one's own.
pub(crate) fn sgd(moved: &[Update], step: SgdStep) -> Result<()> {
    let mut rule = SgdRule::new(step);
    each("sgd_update", moved, |gpu, table, grid| {
        let mut arguments = [(&raw const *table).cast_mut().cast(), (&raw mut rule).cast::<c_void>()];
        // SAFETY: the table's addresses have room for its sizes.
        unsafe { gpu.launch_raw("sgd", grid, BLOCK, 0, &mut arguments) }
    })
}

/// [`crate::adam_update`] of each; `step.weight_decay` is each one's own.
pub(crate) fn adam(moved: &[Update], step: AdamStep) -> Result<()> {
    let mut rule = AdamRule::new(step);
    each("adam_update", moved, |gpu, table, grid| {
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
    let size = |x: &&Tensor| int("squared_norm", "values of a tensor", x.elem_count());
    let sizes = tensors.iter().map(size).collect::<Result<Vec<i32>>>()?;
    let all: Vec<(u64, i32)> = held.iter().map(|held| held.at).zip(sizes).collect();
    for (i, part) in all.chunks(PARAMETERS).enumerate() {
        let mut table = Parameters::empty();
        for (j, (at, size)) in part.iter().enumerate() {
            (table.grad[j], table.size[j]) = (*at, *size);
        }
        let mut to = gpu.at(&partial) + (i * PARAMETERS * SQUARES * size_of::<f64>()) as u64;
        let mut arguments = [(&raw mut table).cast::<c_void>(), (&raw mut to).cast()];
        // SAFETY: the table's addresses have its sizes, and there is room for the sums of each.
        unsafe {
            gpu.launch_raw("squares", (SQUARES as u32, part.len() as u32, 1), BLOCK, 0, &mut arguments)?;
        };
    }
    let sums = gpu.device.clone_dtoh(&partial)?;
    // The copy to the host is asynchronous.
    gpu.stream.synchronize().map_err(wrap)?;
    Ok(sums.iter().sum())
}

/// Blocks, and sums, per tensor.
const SQUARES: usize = 16;

/// Launches an update for as many parameters at a time as a table has. Nothing is launched before all tables are complete, so
/// that an error leaves all parameters as they were.
fn each(
    name: &str,
    moved: &[Update],
    mut launch: impl FnMut(&Gpu, &Parameters, (u32, u32, u32)) -> Result<()>,
) -> Result<()> {
    let Some(first) = moved.first() else { return Ok(()) };
    let gpu = Gpu::of(first.var)?;
    let mut held = Vec::with_capacity(4 * moved.len());
    let mut tables = Vec::new();
    for part in moved.chunks(PARAMETERS) {
        let mut table = Parameters::empty();
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
            table.size[i] = int(name, "values of a parameter", size)?;
            most = most.max(size);
        }
        let across = most.div_ceil(4 * BLOCK as usize).clamp(1, 528) as u32;
        tables.push((table, (across, part.len() as u32, 1)));
    }
    tables.iter().try_for_each(|(table, grid)| launch(&gpu, table, *grid))
}
