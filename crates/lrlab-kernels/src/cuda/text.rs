//! Embeddings, dropout, layer norm and sums over positions.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};

use super::{Gpu, address, hold, hold_u32, words};
use crate::Dropout;
use crate::gradient::give;

/// Which elements a dropout keeps, on the device.
pub(super) struct Bits {
    words: CudaSlice<u64>,
    gain: f32,
}

impl Bits {
    /// Of `count` elements; the draws are the CPU's.
    pub(super) fn draw(gpu: &Gpu, drop: Dropout, count: usize) -> Result<Self> {
        let words = gpu.take(count.div_ceil(64))?;
        let [key0, key1] = drop.stream.key();
        // Sixteen threads per word.
        let threads = 16 * count.div_ceil(64);
        let grid = (threads.div_ceil(256) as u32, 1, 1);
        let arguments = words![gpu.at(&words), count.div_ceil(64) as u64, key0, key1, drop.threshold()];
        // SAFETY: there is a word for every 64 elements.
        unsafe { gpu.launch("draw_bits", grid, 256, 0, arguments)? };
        Ok(Self { words, gain: drop.gain() })
    }

    /// Address and gain; without a dropout a null address.
    pub(super) fn arguments(gpu: &Gpu, bits: Option<&Self>) -> (u64, f32) {
        bits.map_or((0, 1.0), |bits| (gpu.at(&bits.words), bits.gain))
    }
}

pub(crate) fn dropout(x: &Tensor, drop: Dropout) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Drop { drop, bits: Mutex::new(None) })
}

struct Drop {
    drop: Dropout,
    bits: Mutex<Option<Bits>>,
}

impl Drop {
    fn apply(gpu: &Gpu, x: u64, n: usize, bits: &Bits) -> Result<CudaSlice<f32>> {
        let y = gpu.floats(n)?;
        let (at, gain) = Bits::arguments(gpu, Some(bits));
        // SAFETY: both have n values, and there is a bit for each.
        unsafe { gpu.each("apply_bits", n, words![x, at, gain, gpu.at(&y), n as u64])? };
        Ok(y)
    }
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("dropout: a tensor on a GPU is wanted")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = layout.shape().elem_count();
        let bits = Bits::draw(&gpu, self.drop, n)?;
        let y = Self::apply(&gpu, address::<f32>(x, layout)?, n, &bits)?;
        *self.bits.lock().unwrap_or_else(PoisonError::into_inner) = Some(bits);
        Ok((gpu.storage(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(grad)?;
        let bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bits) = &*bits else { bail!("dropout: backward before forward") };
        let held = hold(grad)?;
        let dx = Self::apply(&gpu, held.at, grad.elem_count(), bits)?;
        Ok(give(x, gpu.tensor(dx, grad.shape())))
    }
}

pub(crate) fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let kept = Mutex::new(None);
    x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, LayerNorm { eps: eps as f32, kept })
}

/// The widest rows that [`row_norm`] takes.
pub(crate) const MOST_WIDE: usize = 1024;

/// What the way back through a norm needs.
pub(super) struct Normed {
    pub(super) rows: CudaSlice<f32>,
    pub(super) inverse: CudaSlice<f32>,
}

/// What goes into a row: x, and where they are given bias, dropout and residual.
pub(super) struct Row<'a> {
    pub(super) x: u64,
    pub(super) bias: Option<u64>,
    pub(super) bits: Option<&'a Bits>,
    pub(super) base: Option<u64>,
    /// Where the sum goes, if it is wanted.
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
    // SAFETY: the caller's word.
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
    // SAFETY: the caller's word.
    unsafe { gpu.rows("row_norm", rows, words) }
}

/// The way back through a norm: its input's gradient goes to, or with `join` joins, `dx`; gradients of scale and shift.
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
    // SAFETY: the caller's word.
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
        bail!("layer_norm: tensors on a GPU are wanted")
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
            if of.track_op() { give(of, gpu.tensor(data, of.shape())) } else { None }
        };
        let (d_scale, d_shift) = (parameter(scale, d_scale), parameter(shift, d_shift));
        Ok((x.track_op().then(|| gpu.tensor(dx, x.shape())), d_scale, d_shift))
    }
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
        bail!("embedding: tensors on a GPU are wanted")
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
        Ok(give(table, gpu.tensor(to, table.shape())))
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
        bail!("embedding_at_positions: tensors on a GPU are wanted")
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
            of_table = give(table, gpu.tensor(to, table.shape()));
        }
        if positions.track_op() {
            let to = gpu.floats(l * d)?;
            let (bits, keep) = Bits::arguments(&gpu, bits.as_ref());
            let words = words![held.at, bits, keep, gpu.at(&to), b, (l * d) as u64];
            // One thread per element: grids are not cut here.
            let grid = ((l * d).div_ceil(128) as u32, 1, 1);
            // SAFETY: the gradient has b times the l d values that are written.
            unsafe { gpu.launch("position_grad", grid, 128, 0, words)? };
            of_positions = give(positions, gpu.tensor(to, positions.shape()));
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
        bail!("weighted_sum: tensors on a GPU are wanted")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (b, l, d) = layout.shape().dims3()?;
        let (weights, y) = (hold(&self.weights)?, gpu.floats(b * d)?);
        let words = words![address::<f32>(x, layout)?, weights.at, gpu.at(&y), l, d, b * d];
        // SAFETY: a weight for each of the b l rows of d.
        unsafe { gpu.launch("weighted_sum", ((b * d).div_ceil(64) as u32, 1, 1), 64, 0, words)? };
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
        Ok(give(x, gpu.tensor(dx, x.shape())))
    }
}
