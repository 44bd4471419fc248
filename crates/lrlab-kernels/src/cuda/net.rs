//! A whole network of convolutions as one operator.
//!
//! Pictures lie as rows of channels. A unit is a
//! convolution, a kernel for the moments of its output, and one that norms, adds the residual and rectifies; on the way
//! back a kernel for the sums, one for the gradient of the convolution's output, and the two convolutions.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda::cudarc::driver::CudaSlice;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, Var, bail};

use super::norm::{self, Coefficients, Parameters, Rows};
use super::{Gpu, Held, Word, address, hold, words};
use crate::NormMode;
use crate::arguments::{WEIGHTS, Weights, Window, int};
use crate::conv::geometry::{Geometry, Sizes};
use crate::net::{ConvNet, ConvNorm, Node};
use crate::tiles::{Way, values_fit};

/// [`ConvNet::forward`], checked.
pub(crate) fn conv_net(net: &ConvNet, sizes: Vec<Sizes>, x: &Tensor, mode: NormMode) -> Result<Tensor> {
    values_fit(&sizes)?;
    let op = Network { net: net.clone(), sizes, mode, kept: Mutex::new(None) };
    // The operator takes a parameter, so that candle runs its backward pass even if only parameters want gradients.
    let x = x.contiguous()?;
    match units(net).next() {
        Some(unit) => x.apply_op2(&unit.weight, op),
        None => crate::global_avg_pool2d(&x),
    }
}

fn units(net: &ConvNet) -> impl Iterator<Item = &ConvNorm> {
    net.nodes.iter().filter_map(|node| match node {
        Node::Unit { unit, .. } => Some(unit),
        Node::MaxPool { .. } | Node::Subsample { .. } => None,
    })
}

struct Network {
    net: ConvNet,
    sizes: Vec<Sizes>,
    mode: NormMode,
    /// In training.
    kept: Mutex<Option<Kept>>,
}

/// Intermediate results for the backward pass.
#[derive(Default)]
struct Kept {
    /// Every node's value; the first are the pictures. Without a backward pass only those that are still read.
    values: Vec<Option<CudaSlice<f32>>>,
    /// Of units.
    units: Vec<Option<Unit>>,
    /// Of max pools: where each value comes from.
    picks: Vec<Option<CudaSlice<i32>>>,
}

impl Kept {
    /// The address of a value.
    fn value(&self, gpu: &Gpu, i: usize) -> Result<u64> {
        match self.values.get(i) {
            Some(Some(value)) => Ok(gpu.at(value)),
            _ => bail!("conv_net: value {i} was not kept"),
        }
    }
}

struct Unit {
    /// As the convolution reads it.
    weight: CudaSlice<f32>,
    /// The convolution's output.
    y: CudaSlice<f32>,
    norm: Coefficients,
}

fn count(sizes: Sizes) -> usize {
    sizes.n * sizes.c * sizes.pixels()
}

fn room(gpu: &Gpu, sizes: Sizes) -> Result<CudaSlice<f32>> {
    gpu.floats(count(sizes))
}

fn rows_of(sizes: Sizes) -> Rows {
    Rows { rows: sizes.n * sizes.pixels(), c: sizes.c }
}

impl Network {
    fn geometry(from: Sizes, unit: &ConvNorm) -> Result<Geometry> {
        Geometry::new((from.n, from.c, from.h, from.w), unit.weight.dims4()?, unit.stride, unit.padding)
    }

    /// Brings weights `(o, c, kh, kw)` into rows of channels, or gradients back.
    ///
    /// # Safety
    /// Each of `rows` has room for its weight.
    unsafe fn weights(&self, gpu: &Gpu, name: &str, planes: &[u64], rows: &[u64]) -> Result<()> {
        let shapes = units(&self.net).map(|unit| unit.weight.dims4()).collect::<Result<Vec<_>>>()?;
        let all: Vec<_> = planes.iter().zip(rows).zip(shapes).collect();
        for part in all.chunks(WEIGHTS) {
            let mut table = Weights::empty();
            let mut most = 0;
            for (i, ((planes, rows), (o, c, kh, kw))) in part.iter().enumerate() {
                (table.planes[i], table.rows[i]) = (**planes, **rows);
                (table.c[i], table.k[i]) = (*c as i32, (kh * kw) as i32);
                let size = o * c * kh * kw;
                table.size[i] = int("conv_net", "values of a weight", size)?;
                most = most.max(size);
            }
            let grid = (most.div_ceil(1024).min(512) as u32, part.len() as u32, 1);
            let mut arguments = [(&raw mut table).cast()];
            // SAFETY: the caller guarantees the addresses.
            unsafe { gpu.launch_raw(name, grid, 256, 0, &mut arguments)? };
        }
        Ok(())
    }

    /// For each value the last node that reads it, or 0.
    fn last_readers(&self) -> Vec<usize> {
        let mut last = vec![0; self.sizes.len()];
        for (i, node) in self.net.nodes.iter().enumerate() {
            last[node.input()] = i;
            if let Node::Unit { residual: Some(value), .. } = node {
                last[*value] = i;
            }
        }
        last
    }

    /// The features, and with `keep` what a backward pass needs. In training the running statistics move after everything
    /// else.
    fn forward(&self, gpu: &Gpu, x: u64, keep: bool) -> Result<(CudaSlice<f32>, Kept)> {
        let weights = units(&self.net).map(|unit| hold(&unit.weight)).collect::<Result<Vec<Held>>>()?;
        let mut packed: Vec<CudaSlice<f32>> = Vec::new();
        for unit in units(&self.net) {
            packed.push(gpu.floats(unit.weight.elem_count())?);
        }
        let planes: Vec<u64> = weights.iter().map(|weight| weight.at).collect();
        let rows: Vec<u64> = packed.iter().map(|weight| gpu.at(weight)).collect();
        let mut packed = packed.into_iter();
        let pictures = room(gpu, self.sizes[0])?;
        let Sizes { c, .. } = self.sizes[0];
        let (n, pixels) = (count(self.sizes[0]), self.sizes[0].pixels());
        // SAFETY: values have the sizes that were checked, weights room for each weight.
        unsafe {
            self.weights(gpu, "weights_to_rows", &planes, &rows)?;
            gpu.each("to_rows", n, words![x, gpu.at(&pictures), c, pixels, n as u64])?;
        }
        let mut kept = Kept { values: vec![Some(pictures)], ..Kept::default() };
        let (mut all_seen, last_readers) = (Vec::new(), self.last_readers());
        for (i, node) in self.net.nodes.iter().enumerate() {
            let (from, to) = (self.sizes[node.input()], self.sizes[i + 1]);
            let out = room(gpu, to)?;
            let input = kept.value(gpu, node.input())?;
            let (mut of_unit, mut picks) = (None, None);
            // SAFETY: as above.
            unsafe {
                match node {
                    Node::Unit { unit, residual, relu, .. } => {
                        let Some(weight) = packed.next() else { bail!("conv_net: a unit without a weight") };
                        let residual = residual.map(|value| kept.value(gpu, value)).transpose()?;
                        let (unit, seen) = self.unit(gpu, unit, (from, to), input, weight)?;
                        let (y, z) = (gpu.at(&unit.y), gpu.at(&out));
                        norm::apply(gpu, rows_of(to), y, &unit.norm, residual.unwrap_or(0), *relu, z)?;
                        of_unit = Some(unit);
                        all_seen.extend(seen);
                    }
                    Node::MaxPool { kernel, stride, padding, .. } => {
                        let window = Window::new(from, to, *kernel, *stride, *padding);
                        let chosen = gpu.take::<i32>(count(to))?;
                        let words = words![input, gpu.at(&out), gpu.at(&chosen)];
                        Self::windowed(gpu, "max_pool", (words, window), words![to.c], count(to))?;
                        picks = Some(chosen);
                    }
                    Node::Subsample { stride, before, .. } => {
                        let window = Window::new(from, to, 1, *stride, 0);
                        let words = words![input, gpu.at(&out)];
                        Self::windowed(
                            gpu,
                            "subsample",
                            (words, window),
                            words![from.c, *before, to.c],
                            count(to),
                        )?;
                    }
                }
            }
            kept.values.push(Some(out));
            if keep {
                kept.units.push(of_unit);
                kept.picks.push(picks);
                continue;
            }
            for (value, last) in kept.values[..=i].iter_mut().zip(&last_readers) {
                if *last <= i {
                    *value = None;
                }
            }
        }
        let last = self.sizes[self.sizes.len() - 1];
        let features = gpu.floats(last.n * last.c)?;
        let value = kept.value(gpu, self.sizes.len() - 1)?;
        let words = words![value, gpu.at(&features), last.c, last.pixels(), last.n];
        let grid = ((last.n * last.c).div_ceil(128) as u32, 1, 1);
        // SAFETY: as above.
        unsafe { gpu.launch("average", grid, 128, 0, words)? };
        norm::move_statistics(gpu, &all_seen, self.mode)?;
        Ok((features, kept))
    }

    /// The convolution and its norm's coefficients, and in training the statistics of the batch.
    ///
    /// # Safety
    /// `input` has the sizes `from`.
    unsafe fn unit(
        &self,
        gpu: &Gpu,
        unit: &ConvNorm,
        (from, to): (Sizes, Sizes),
        input: u64,
        weight: CudaSlice<f32>,
    ) -> Result<(Unit, Option<norm::Seen>)> {
        let y = room(gpu, to)?;
        let (affine, running) = ([&unit.scale, &unit.shift], [&unit.running_mean, &unit.running_var]);
        let parameters = Parameters::hold(affine.map(Var::as_tensor), running, unit.eps)?;
        // SAFETY: guaranteed by the caller.
        let (norm, seen) = unsafe {
            let addresses = [input, gpu.at(&weight), gpu.at(&y)];
            gpu.convolve(Way::Forward, self.net.precision, &Self::geometry(from, unit)?, addresses, false)?;
            norm::measure(gpu, rows_of(to), gpu.at(&y), parameters, self.mode)?
        };
        Ok((Unit { weight, y, norm }, seen))
    }

    /// Starts a kernel over windows: the words before the window, those after it.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    unsafe fn windowed(
        gpu: &Gpu,
        name: &str,
        (before, window): (&[Word], Window),
        after: &[Word],
        n: usize,
    ) -> Result<()> {
        Word::check(name, before)?;
        Word::check(name, after)?;
        let address = |word: &Word| (&raw const word.bits).cast_mut().cast();
        let mut arguments: Vec<*mut std::ffi::c_void> = before.iter().map(address).collect();
        arguments.push((&raw const window).cast_mut().cast());
        arguments.extend(after.iter().map(address));
        let n_word = Word::from(n as u64);
        arguments.push(address(&n_word));
        // SAFETY: guaranteed by the caller.
        unsafe { gpu.launch_raw(name, (super::blocks(n), 1, 1), 256, 0, &mut arguments) }
    }

    /// Stores the parameters' gradients and returns that of the pictures if `wanted`.
    fn backward(&self, gpu: &Gpu, kept: &Kept, grad: u64, wanted: bool) -> Result<Option<CudaSlice<f32>>> {
        let last = self.sizes[self.sizes.len() - 1];
        let mut grads: Vec<Option<CudaSlice<f32>>> = (0..self.sizes.len()).map(|_| None).collect();
        let top = room(gpu, last)?;
        let words = words![grad, gpu.at(&top), last.c, last.pixels(), count(last) as u64];
        // SAFETY: values have the sizes of the forward pass, and so have their gradients.
        unsafe { gpu.each("spread", count(last), words)? };
        grads[self.sizes.len() - 1] = Some(top);
        let mut of_weights: Vec<CudaSlice<f32>> = Vec::new();
        for (i, node) in self.net.nodes.iter().enumerate().rev() {
            let (from, to) = (self.sizes[node.input()], self.sizes[i + 1]);
            let grad = match grads[i + 1].take() {
                Some(grad) => grad,
                // No node reads this one.
                None => gpu.zeros(count(to))?,
            };
            let g = gpu.at(&grad);
            let input = node.input();
            let further = input > 0 || wanted;
            // SAFETY: as above.
            unsafe {
                match node {
                    Node::Unit { unit, residual, relu, .. } => {
                        let Some(of_unit) = &kept.units[i] else {
                            bail!("conv_net: unit {i} has no intermediate results")
                        };
                        let y = gpu.at(&of_unit.y);
                        let z = if *relu { kept.value(gpu, i + 1)? } else { 0 };
                        let (beside, join) = match residual {
                            Some(value) if *value > 0 || wanted => {
                                let join = grads[*value].is_some();
                                if !join {
                                    grads[*value] = Some(room(gpu, to)?);
                                }
                                (grads[*value].as_ref().map_or(0, |grad| gpu.at(grad)), join)
                            }
                            _ => (0, false),
                        };
                        let dy = room(gpu, to)?;
                        let norm = (unit.scale.as_tensor(), &of_unit.norm, self.mode);
                        let (dy_at, rows) = (gpu.at(&dy), rows_of(to));
                        let parameters = norm::back(gpu, rows, [g, y, z], norm, dy_at, (beside, join))?;
                        for (var, grad) in [&unit.scale, &unit.shift].into_iter().zip(parameters) {
                            super::store_grad(var, gpu.tensor(grad, to.c))?;
                        }
                        let geometry = Self::geometry(from, unit)?;
                        let (x, dy) = (kept.value(gpu, input)?, gpu.at(&dy));
                        let dw = gpu.floats(unit.weight.elem_count())?;
                        gpu.convolve(
                            Way::Weight,
                            self.net.precision,
                            &geometry,
                            [x, gpu.at(&dw), dy],
                            false,
                        )?;
                        of_weights.push(dw);
                        if further {
                            let (dx, join) = Self::grad(gpu, &mut grads, input, from)?;
                            let addresses = [dx, gpu.at(&of_unit.weight), dy];
                            gpu.convolve(Way::Input, self.net.precision, &geometry, addresses, join)?;
                        }
                    }
                    Node::MaxPool { kernel, stride, padding, .. } if further => {
                        let Some(picks) = &kept.picks[i] else {
                            bail!("conv_net: pool {i} has no intermediate results")
                        };
                        let window = Window::new(from, to, *kernel, *stride, *padding);
                        let (dx, join) = Self::grad(gpu, &mut grads, input, from)?;
                        let words = words![g, gpu.at(picks), dx, join];
                        Self::windowed(gpu, "max_pool_back", (words, window), words![from.c], count(from))?;
                    }
                    Node::Subsample { stride, before, .. } if further => {
                        let window = Window::new(from, to, 1, *stride, 0);
                        let (dx, join) = Self::grad(gpu, &mut grads, input, from)?;
                        let after = words![from.c, *before, to.c];
                        Self::windowed(
                            gpu,
                            "subsample_back",
                            (words![g, dx, join], window),
                            after,
                            count(from),
                        )?;
                    }
                    Node::MaxPool { .. } | Node::Subsample { .. } => {}
                }
            }
        }
        self.store_weight_grads(gpu, of_weights)?;
        let Some(pictures) = grads[0].take().filter(|_| wanted) else { return Ok(None) };
        let Sizes { c, .. } = self.sizes[0];
        let (n, pixels) = (count(self.sizes[0]), self.sizes[0].pixels());
        let dx = gpu.floats(n)?;
        // SAFETY: as above.
        unsafe {
            let words = words![gpu.at(&pictures), gpu.at(&dx), c, pixels, n as u64];
            gpu.each("to_planes", n, words)?;
        }
        Ok(Some(dx))
    }

    /// The address of a value's gradient, and whether a new term is added to it.
    fn grad(
        gpu: &Gpu,
        grads: &mut [Option<CudaSlice<f32>>],
        value: usize,
        sizes: Sizes,
    ) -> Result<(u64, bool)> {
        let join = grads[value].is_some();
        if !join {
            grads[value] = Some(room(gpu, sizes)?);
        }
        Ok((grads[value].as_ref().map_or(0, |grad| gpu.at(grad)), join))
    }

    /// Stores the weights' gradients, given as rows from the last unit to the first.
    fn store_weight_grads(&self, gpu: &Gpu, mut of_weights: Vec<CudaSlice<f32>>) -> Result<()> {
        of_weights.reverse();
        let rows: Vec<u64> = of_weights.iter().map(|grad| gpu.at(grad)).collect();
        let mut planes = Vec::new();
        for unit in units(&self.net) {
            planes.push(gpu.floats(unit.weight.elem_count())?);
        }
        let addresses: Vec<u64> = planes.iter().map(|grad| gpu.at(grad)).collect();
        // SAFETY: each has room for its weight.
        unsafe { self.weights(gpu, "weights_to_planes", &addresses, &rows)? };
        for (unit, grad) in units(&self.net).zip(planes) {
            super::store_grad(&unit.weight, gpu.tensor(grad, unit.weight.shape()))?;
        }
        Ok(())
    }
}

impl CustomOp2 for Network {
    fn name(&self) -> &'static str {
        "conv_net"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("conv_net: expected tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let train = self.mode != NormMode::Eval;
        let (features, kept) = self.forward(&gpu, address::<f32>(x, lx)?, train)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = train.then_some(kept);
        let last = self.sizes[self.sizes.len() - 1];
        Ok((gpu.storage(features), Shape::from((last.n, last.c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let held = hold(grad)?;
        let again;
        let kept = match &*kept {
            Some(kept) => kept,
            None if self.mode == NormMode::Eval => {
                // Evaluation keeps no intermediate results: they are recomputed.
                again = self.forward(&gpu, hold(x)?.at, true)?.1;
                &again
            }
            None => bail!("conv_net: backward before forward"),
        };
        let dx = self.backward(&gpu, kept, held.at, x.track_op())?;
        Ok((dx.map(|dx| gpu.tensor(dx, x.shape())), None))
    }
}
