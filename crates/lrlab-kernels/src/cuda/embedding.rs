//! From tokens to vectors, and from the vectors of a sequence to one.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, bail,
};

use super::dropout::Bits;
use super::{Gpu, address, hold, hold_i64, hold_u32, words};
use crate::Dropout;
use crate::arguments::int;
use crate::gradient::store_grad;

/// Indices as u32. An i64 that is not below `count` becomes a u32 that is not, rather than its lower half.
pub(crate) fn known_indices(indices: &Tensor, count: usize) -> Result<Tensor> {
    if indices.dtype() != DType::I64 {
        return indices.to_dtype(DType::U32);
    }
    let (gpu, n) = (Gpu::of(indices)?, indices.elem_count());
    let (from, to) = (hold_i64(indices)?, gpu.take::<u32>(n)?);
    // SAFETY: both have n values.
    unsafe { gpu.each("known_indices", n, words![from.at, gpu.at(&to), count as u64, n as u64])? };
    let to = Storage::Cuda(CudaStorage::wrap_cuda_slice(to, gpu.device.clone()));
    Ok(Tensor::from_storage(to, indices.shape(), BackpropOp::none(), false))
}

/// [`crate::embedding`], checked. An id that is not in the table reads NaN.
pub(crate) fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (b, l) = ids.dims2()?;
    let op = Embedding { ids: ids.clone(), shape: (b, l, table.dim(1)?) };
    table.contiguous()?.apply_op1(op)
}

struct Embedding {
    ids: Tensor,
    shape: (usize, usize, usize),
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("embedding: expected tensors on a GPU")
    }

    fn cuda_fwd(&self, table: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&table.device)?;
        let (v, d) = layout.shape().dims2()?;
        let from = (address::<f32>(table, layout)?, v, d);
        let y = gather(&gpu, &self.ids, from, 1.0, None, None)?;
        Ok((gpu.storage(y), Shape::from(self.shape)))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(table)?;
        let held = hold(grad)?;
        let to = table_grad(&gpu, &self.ids, held.at, 1.0, None, table.dims2()?)?;
        Ok(store_grad(table, gpu.tensor(to, table.shape())))
    }
}

/// Rows of the table `(address, v, d)`, times `gain`, plus positions, after dropout: `(b l, d)`.
pub(super) fn gather(
    gpu: &Gpu,
    ids: &Tensor,
    (table, v, d): (u64, usize, usize),
    gain: f32,
    positions: Option<u64>,
    bits: Option<&Bits>,
) -> Result<CudaSlice<f32>> {
    let (n, l) = (ids.elem_count() * d, ids.dim(1)?);
    let (ids, y) = (hold_u32(ids)?, gpu.floats(n)?);
    let (bits, keep) = Bits::arguments(gpu, bits);
    let positions = positions.unwrap_or(0);
    let words = words![ids.at, table, gain, positions, bits, keep, gpu.at(&y), v, d, l, n as u64];
    // SAFETY: y has a row of d for each id; the kernel reads no row beyond the table's v.
    unsafe { gpu.each("gather_rows", n, words)? };
    Ok(y)
}

/// Sorted places of one run.
const RUN: usize = 32;

/// The gradient of a table `(v, d)` from that of its rows at `ids`, each row's added up in their order.
pub(super) fn table_grad(
    gpu: &Gpu,
    ids: &Tensor,
    grad: u64,
    gain: f32,
    bits: Option<&Bits>,
    (v, d): (usize, usize),
) -> Result<CudaSlice<f32>> {
    let n = ids.elem_count();
    int("embedding", "ids", n)?;
    let held = hold_u32(ids)?;
    let table = gpu.zeros(v * d)?;
    let sorted = gpu.take::<u32>(n)?;
    let runs = n.div_ceil(RUN);
    let edges = gpu.floats(2 * runs * d)?;
    let (bits, keep) = Bits::arguments(gpu, bits);
    let (ids, places, edges, to) = (held.at, gpu.at(&sorted), gpu.at(&edges), gpu.at(&table));
    let grid = (runs as u32, 1, 1);
    let threads = d.next_multiple_of(32).min(256) as u32;
    // SAFETY: there is a place for each of the n ids, two edges of d for each run, and rows beyond v are not written.
    unsafe {
        gpu.launch("sort_places", (n.div_ceil(64) as u32, 1, 1), 64, 0, words![ids, places, n])?;
        let words = words![ids, places, grad, bits, keep, gain, to, edges, v, d, RUN, n];
        gpu.launch("table_runs", grid, threads, 0, words)?;
        let words = words![ids, places, edges, gain, to, v, d, RUN, n];
        gpu.launch("table_edges", grid, threads, 0, words)?;
    }
    Ok(table)
}

/// [`crate::embedding_at_positions`], checked.
pub(crate) fn at_positions(
    ids: &Tensor,
    table: &Tensor,
    gain: f64,
    positions: &Tensor,
    drop: Option<Dropout>,
) -> Result<Tensor> {
    let (b, l) = ids.dims2()?;
    let op = AtPositions {
        ids: ids.clone(),
        shape: (b, l, table.dim(1)?),
        gain: gain as f32,
        drop: drop.filter(|drop| drop.p > 0.0),
        bits: Mutex::new(None),
    };
    table.contiguous()?.apply_op2(&positions.contiguous()?, op)
}

struct AtPositions {
    ids: Tensor,
    shape: (usize, usize, usize),
    gain: f32,
    drop: Option<Dropout>,
    bits: Mutex<Option<Bits>>,
}

impl CustomOp2 for AtPositions {
    fn name(&self) -> &'static str {
        "embedding_at_positions"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("embedding_at_positions: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        table: &CudaStorage,
        lt: &Layout,
        positions: &CudaStorage,
        lp: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&table.device)?;
        let (b, l, d) = self.shape;
        let bits = self.drop.map(|drop| Bits::draw(&gpu, drop, b * l * d)).transpose()?;
        let from = (address::<f32>(table, lt)?, lt.shape().dims2()?.0, d);
        let y =
            gather(&gpu, &self.ids, from, self.gain, Some(address::<f32>(positions, lp)?), bits.as_ref())?;
        *self.bits.lock().unwrap_or_else(PoisonError::into_inner) = bits;
        Ok((gpu.storage(y), Shape::from(self.shape)))
    }

    fn bwd(
        &self,
        table: &Tensor,
        positions: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(table)?;
        let (b, l, d) = self.shape;
        let held = hold(grad)?;
        let bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut of_table, mut of_positions) = (None, None);
        if table.track_op() {
            let to = table_grad(&gpu, &self.ids, held.at, self.gain, bits.as_ref(), table.dims2()?)?;
            of_table = store_grad(table, gpu.tensor(to, table.shape()));
        }
        if positions.track_op() {
            let to = gpu.floats(l * d)?;
            let (bits, keep) = Bits::arguments(&gpu, bits.as_ref());
            let words = words![held.at, bits, keep, gpu.at(&to), b, (l * d) as u64];
            // One thread per element: grids are not cut here.
            let blocks = int("embedding_at_positions", "blocks", (l * d).div_ceil(128))?;
            let grid = (blocks as u32, 1, 1);
            // SAFETY: the gradient has b times the l d values that are written.
            unsafe { gpu.launch("position_grad", grid, 128, 0, words)? };
            of_positions = store_grad(positions, gpu.tensor(to, positions.shape()));
        }
        Ok((of_table, of_positions))
    }
}

/// [`crate::weighted_sum`], checked. The weights have no gradient.
pub(crate) fn weighted_sum(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(WeightedSum { weights: weights.detach() })
}

struct WeightedSum {
    weights: Tensor,
}

impl CustomOp1 for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("weighted_sum: expected tensors on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (b, l, d) = layout.shape().dims3()?;
        let (weights, y) = (hold(&self.weights)?, gpu.floats(b * d)?);
        let words = words![address::<f32>(x, layout)?, weights.at, gpu.at(&y), l, d, (b * d) as u64];
        let blocks = int("weighted_sum", "blocks", (b * d).div_ceil(64))?;
        // SAFETY: a weight for each of the b l rows of d.
        unsafe { gpu.launch("weighted_sum", (blocks as u32, 1, 1), 64, 0, words)? };
        Ok((gpu.storage(y), Shape::from((b, d))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x)?;
        let (_, l, d) = x.dims3()?;
        let n = x.elem_count();
        let (weights, grad, dx) = (hold(&self.weights)?, hold(grad)?, gpu.floats(n)?);
        // SAFETY: as above.
        unsafe {
            gpu.each("weighted_sum_back", n, words![grad.at, weights.at, gpu.at(&dx), l, d, n as u64])?;
        }
        Ok(store_grad(x, gpu.tensor(dx, x.shape())))
    }
}
