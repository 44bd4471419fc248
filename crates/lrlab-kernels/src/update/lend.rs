//! Borrowing the values of several variables at once.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var, bail};

/// The address of a tensor's storage, which identifies the storage.
pub(super) fn place(x: &Tensor) -> usize {
    let (storage, _) = x.storage_and_layout();
    std::ptr::from_ref(&*storage).addr()
}

struct Lend<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Lend<F> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (storage, layout.contiguous_offsets(), self.0.take()) {
            (CpuStorage::F32(data), Some((start, end)), Some(f)) => f(&mut data[start..end]),
            _ => bail!("expected a contiguous f32 variable on the CPU"),
        }
    }
}

fn try_lend(var: &Var, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    var.inplace_op1(&Lend(Cell::new(Some(f))))
}

pub(super) fn lend(a: &Var, f: impl FnOnce(&mut [f32])) -> Result<()> {
    try_lend(a, |a| {
        f(a);
        Ok(())
    })
}

pub(super) fn lend2(a: &Var, b: &Var, f: impl FnOnce(&mut [f32], &mut [f32])) -> Result<()> {
    try_lend(a, |a| lend(b, |b| f(a, b)))
}

pub(super) fn lend3(
    a: &Var,
    b: &Var,
    c: &Var,
    f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32]),
) -> Result<()> {
    try_lend(a, |a| lend2(b, c, |b, c| f(a, b, c)))
}
