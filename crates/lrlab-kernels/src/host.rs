//! Access to tensors in the machine's own memory.

#![allow(
    unsafe_code,
    reason = "outputs are written before they are given a length, to save a pass over them"
)]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

/// Returns whether this crate's kernels apply: all tensors are f32 on the CPU, and the environment does not ask for
/// candle's operators.
pub(crate) fn is_f32(tensors: &[&Tensor]) -> bool {
    crate::environment::own_kernels()
        && tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The elements of a contiguous f32 CPU tensor's storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("expected a contiguous tensor"),
    }
}

/// Calls `f` with the elements of an f32 CPU tensor.
pub(crate) fn with<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("expected a tensor on the CPU"),
    }
}

/// A tensor without history from its elements.
pub(crate) fn tensor(data: Vec<f32>, shape: &Shape) -> Result<Tensor> {
    Tensor::from_vec(data, shape, &candle_core::Device::Cpu)
}

/// Memory for `len` values that are yet to be written.
pub(crate) struct Unwritten(Vec<f32>, usize);

impl Unwritten {
    pub(crate) fn new(len: usize) -> Self {
        Self(Vec::with_capacity(len), len)
    }

    /// The room, to be written.
    pub(crate) fn room(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.0.spare_capacity_mut()[..self.1]
    }

    /// # Safety
    /// Every element of the room was written.
    pub(crate) unsafe fn written(mut self) -> Vec<f32> {
        // SAFETY: the capacity was reserved, and the caller guarantees the contents.
        unsafe { self.0.set_len(self.1) };
        self.0
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// This thread's scratch memory, reused between calls, with unspecified contents. It is a guard rather than a function
/// that takes a closure because a closure would be compiled without the target features of its kernel.
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    pub(crate) fn take(len: usize) -> Self {
        let mut buffer = SCRATCH.take();
        if buffer.len() < len {
            buffer = vec![0.0; len];
        }
        Self(buffer)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.replace(std::mem::take(&mut self.0));
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl std::ops::DerefMut for Scratch {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Adds up partial results of equal length in their order, into the first.
pub(crate) fn add_up(mut parts: Vec<Vec<f32>>) -> Vec<f32> {
    let rest = parts.split_off(1.min(parts.len()));
    let mut total = parts.pop().unwrap_or_default();
    for part in rest {
        for (t, p) in total.iter_mut().zip(part) {
            *t += p;
        }
    }
    total
}
