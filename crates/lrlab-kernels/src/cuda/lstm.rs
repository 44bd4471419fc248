//! The long short-term memory layer.
//!
//! The input's share of the gates is one product for all times. Then layers of up to 128 units go through time in one
//! kernel: sequences do not meet, so each has a block, which holds the recurrent weights in registers and shared memory
//! and never waits for another. Wider layers take two kernels a step.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::{CudaSlice, sys};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::product::Operand;
use super::{Gpu, Held, address, embedding, hold, words, wrap};
use crate::Precision;
use crate::arguments::int;
use crate::tiles::Resident;

/// What [`crate::LstmLayer`] was given, checked.
pub(crate) struct Layer<'a> {
    /// `w_ih`, `w_hh`, `b_ih`, `b_hh`.
    pub(crate) parameters: [&'a Tensor; 4],
    pub(crate) mask: &'a Tensor,
    /// Where the source is a table.
    pub(crate) ids: Option<&'a Tensor>,
    pub(crate) reverse: bool,
    pub(crate) last: bool,
    pub(crate) precision: Precision,
}

/// The states, or the last ones, of `source`: `(b, l, in)`, or a table.
pub(crate) fn lstm(source: &Tensor, layer: &Layer) -> Result<Tensor> {
    let (b, l) = layer.mask.dims2()?;
    let (gates, inputs) = layer.parameters[0].dims2()?;
    // The device code counts these in 32 bits.
    int("lstm", "places of a batch", b * l)?;
    int("lstm", "units of a batch", b * gates / 4)?;
    let op = Lstm {
        sizes: Sizes { b, l, inputs, h: gates / 4 },
        parameters: layer.parameters.map(Clone::clone),
        mask: layer.mask.to_dtype(candle_core::DType::F32)?.contiguous()?,
        ids: layer.ids.cloned(),
        reverse: layer.reverse,
        last: layer.last,
        precision: layer.precision,
        kept: Mutex::new(None),
    };
    super::apply(&source.contiguous()?, layer.parameters, op)
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    b: usize,
    l: usize,
    inputs: usize,
    h: usize,
}

struct Lstm {
    sizes: Sizes,
    parameters: [Tensor; 4],
    mask: Tensor,
    ids: Option<Tensor>,
    reverse: bool,
    last: bool,
    precision: Precision,
    kept: Mutex<Option<Kept>>,
}

/// Intermediate results for the backward pass; rows are sequences and times.
struct Kept {
    /// What was read, 0 at padding: `(b l, in)`.
    x: CudaSlice<f32>,
    /// After their functions, `(b l, 4h)`.
    gates: CudaSlice<f32>,
    /// `(b l, h)`
    cells: CudaSlice<f32>,
    /// The states before each time as they were multiplied, `(b l, h)`.
    before: CudaSlice<f32>,
}

impl Gpu {
    /// A kernel that may take more shared memory than others by default.
    fn resident(&self, name: &str, shared: usize) -> Result<()> {
        let function = self.function(name)?;
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is loaded as long as the device.
        unsafe { sys::cuFuncSetAttribute(function, attribute, shared as i32) }.result().map_err(wrap)
    }
}

impl Lstm {
    fn rows(&self) -> usize {
        self.sizes.b * self.sizes.l
    }

    fn bf(&self) -> bool {
        self.precision == Precision::Bf16
    }

    fn held(&self) -> Result<[Held; 4]> {
        let [a, b, c, d] = &self.parameters;
        Ok([hold(a)?, hold(b)?, hold(c)?, hold(d)?])
    }

    fn forward(&self, gpu: &Gpu, source: u64, source_rows: usize) -> Result<(CudaSlice<f32>, Kept)> {
        let Sizes { b, l, inputs, h } = self.sizes;
        let rows = self.rows();
        let x = match &self.ids {
            Some(ids) => embedding::gather(gpu, ids, (source, source_rows, inputs), 1.0, None, None)?,
            None => gpu.floats(rows * inputs)?,
        };
        let [w_ih, w_hh, b_ih, b_hh] = self.held()?;
        let mask = hold(&self.mask)?;
        let (from, n) = (if self.ids.is_some() { gpu.at(&x) } else { source }, rows * inputs);
        // SAFETY: x has a row for each value of the mask, and so has what it is read from.
        unsafe { gpu.each("mask_rows", n, words![from, mask.at, gpu.at(&x), inputs, n as u64])? };
        let projected = gpu.floats(rows * 4 * h)?;
        let kept = Kept {
            x,
            gates: gpu.floats(rows * 4 * h)?,
            cells: gpu.floats(rows * h)?,
            before: gpu.floats(rows * h)?,
        };
        let every = !self.last || Resident::of(h).is_none();
        let states = gpu.floats(if every { rows * h } else { 1 })?;
        let last = gpu.zeros(b * h)?;
        let (gates, cells, before) = (gpu.at(&kept.gates), gpu.at(&kept.cells), gpu.at(&kept.before));
        let to = gpu.at(&projected);
        // SAFETY: shapes were checked; buffers are made for them here.
        unsafe {
            let x = Operand::new(gpu.at(&kept.x), rows, inputs);
            gpu.product(self.precision, x, Operand::new(w_ih.at, 4 * h, inputs).t(), to)?;
            let n = rows * 4 * h;
            gpu.each("add_bias", n, words![to, b_ih.at, 4 * h, n as u64])?;
            gpu.each("add_bias", n, words![to, b_hh.at, 4 * h, n as u64])?;
            if let Some(kernel) = Resident::of(h) {
                let name = format!("lstm_forward_{}", kernel.units);
                gpu.resident(&name, kernel.shared())?;
                let states = if every { gpu.at(&states) } else { 0 };
                let words = words![
                    to,
                    w_hh.at,
                    mask.at,
                    self.reverse,
                    self.bf(),
                    h,
                    l,
                    gates,
                    cells,
                    states,
                    before,
                    gpu.at(&last)
                ];
                gpu.launch(&name, (b as u32, 1, 1), 4 * kernel.units as u32, kernel.shared() as u32, words)?;
            } else {
                let (cell, recurrent) = (gpu.zeros(b * h)?, gpu.floats(b * 4 * h)?);
                for step in 0..l {
                    let state = Operand::new(gpu.at(&last), b, h);
                    let w = Operand::new(w_hh.at, 4 * h, h);
                    gpu.product(self.precision, state, w.t(), gpu.at(&recurrent))?;
                    let words = words![
                        to,
                        gpu.at(&recurrent),
                        mask.at,
                        self.reverse,
                        step,
                        self.bf(),
                        h,
                        l,
                        b,
                        gates,
                        cells,
                        gpu.at(&states),
                        before,
                        gpu.at(&last),
                        gpu.at(&cell)
                    ];
                    gpu.launch("lstm_step", ((b * h).div_ceil(128) as u32, 1, 1), 128, 0, words)?;
                }
            }
        }
        Ok((if self.last { last } else { states }, kept))
    }

    /// The gradient of the gates before their functions, `(b l, 4h)`.
    fn through_time(&self, gpu: &Gpu, kept: &Kept, grad: u64) -> Result<CudaSlice<f32>> {
        let Sizes { b, l, h, .. } = self.sizes;
        let d_gates = gpu.floats(self.rows() * 4 * h)?;
        let w_hh = hold(&self.parameters[1])?;
        let mask = hold(&self.mask)?;
        let (d_states, d_last) = if self.last { (0, grad) } else { (grad, 0) };
        let (gates, cells) = (gpu.at(&kept.gates), gpu.at(&kept.cells));
        // SAFETY: buffers are made for these sizes here and in the forward pass.
        unsafe {
            if let Some(kernel) = Resident::of(h) {
                let name = format!("lstm_backward_{}", kernel.units);
                gpu.resident(&name, kernel.shared())?;
                let words = words![
                    d_states,
                    d_last,
                    w_hh.at,
                    mask.at,
                    self.reverse,
                    self.bf(),
                    h,
                    l,
                    gates,
                    cells,
                    gpu.at(&d_gates)
                ];
                gpu.launch(&name, (b as u32, 1, 1), 4 * kernel.units as u32, kernel.shared() as u32, words)?;
                return Ok(d_gates);
            }
            let (dh, dc, carried) = (gpu.zeros(b * h)?, gpu.zeros(b * h)?, gpu.zeros(b * h)?);
            let of_step = gpu.floats(b * 4 * h)?;
            if self.last {
                let n = b * h;
                gpu.each("join", n, words![gpu.at(&dh), d_last, n as u64])?;
            }
            for step in (0..l).rev() {
                let words = words![
                    d_states,
                    mask.at,
                    self.reverse,
                    step,
                    h,
                    l,
                    b,
                    gates,
                    cells,
                    gpu.at(&carried),
                    gpu.at(&dh),
                    gpu.at(&dc),
                    gpu.at(&d_gates),
                    gpu.at(&of_step)
                ];
                gpu.launch("lstm_step_back", ((b * h).div_ceil(128) as u32, 1, 1), 128, 0, words)?;
                let slopes = Operand::new(gpu.at(&of_step), b, 4 * h);
                gpu.product(self.precision, slopes, Operand::new(w_hh.at, 4 * h, h), gpu.at(&carried))?;
            }
        }
        Ok(d_gates)
    }
}

impl CustomOp1 for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("lstm: expected tensors on a GPU")
    }

    fn cuda_fwd(&self, source: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&source.device)?;
        let Sizes { b, l, h, .. } = self.sizes;
        let (y, kept) = self.forward(&gpu, address::<f32>(source, layout)?, layout.dims()[0])?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let shape = if self.last { Shape::from((b, h)) } else { Shape::from((b, l, h)) };
        Ok((gpu.storage(y), shape))
    }

    fn bwd(&self, source: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(source)?;
        let Sizes { inputs, h, .. } = self.sizes;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { bail!("lstm: backward before forward") };
        let (rows, grad) = (self.rows(), hold(grad)?);
        let d_gates = self.through_time(&gpu, kept, grad.at)?;
        let slopes = Operand::new(gpu.at(&d_gates), rows, 4 * h);
        let x = Operand::new(gpu.at(&kept.x), rows, inputs);
        let [w_ih, w_hh, b_ih, b_hh] = &self.parameters;
        // SAFETY: as above.
        unsafe {
            if w_ih.track_op() {
                let d = gpu.floats(w_ih.elem_count())?;
                gpu.product(self.precision, slopes.t(), x, gpu.at(&d))?;
                super::store_grad(w_ih, gpu.tensor(d, w_ih.shape()))?;
            }
            if w_hh.track_op() {
                let d = gpu.floats(w_hh.elem_count())?;
                let before = Operand::new(gpu.at(&kept.before), rows, h);
                gpu.product(self.precision, slopes.t(), before, gpu.at(&d))?;
                super::store_grad(w_hh, gpu.tensor(d, w_hh.shape()))?;
            }
            if b_ih.track_op() || b_hh.track_op() {
                let [sums, _] = gpu.columns(slopes.at, None, (rows, 4 * h))?;
                let sums = gpu.tensor(sums, 4 * h);
                for bias in [b_ih, b_hh].into_iter().filter(|bias| bias.track_op()) {
                    super::store_grad(bias, sums.clone())?;
                }
            }
            if !source.track_op() {
                return Ok(None);
            }
            let w_ih = hold(w_ih)?;
            let dx = gpu.floats(rows * inputs)?;
            gpu.product(self.precision, slopes, Operand::new(w_ih.at, 4 * h, inputs), gpu.at(&dx))?;
            match &self.ids {
                None => Ok(Some(gpu.tensor(dx, source.shape()))),
                Some(ids) => {
                    let to = embedding::table_grad(&gpu, ids, gpu.at(&dx), 1.0, None, source.dims2()?)?;
                    Ok(crate::gradient::store_grad(source, gpu.tensor(to, source.shape())))
                }
            }
        }
    }
}
