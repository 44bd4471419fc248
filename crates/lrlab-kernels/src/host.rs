//! Access to tensors in the machine's own memory.

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, bail};

/// Whether the fast path applies: f32 on the CPU, all of them.
pub(crate) fn is_f32(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The elements of a contiguous f32 CPU tensor.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a contiguous tensor is wanted"),
    }
}
