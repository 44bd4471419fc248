//! The operator over (x or the embedding's table, the chain of its parameters).
//!
//! The input's share of the gates depends only on the row that is read, so it is computed once per distinct row: a
//! token that occurs ten times in a batch is one row of the product, forward and backward. The recurrence runs over
//! time for independent groups of sixteen sequences. Gradients are summed in a fixed number of parts, which are added
//! up in order. Internally, hidden units are padded to whole vectors.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::layer::{GROUP, Group, Kept, Layer, Sizes};
use super::{backward, forward, input};
use crate::Precision;
use crate::buffer::Buffer;
use crate::gradient::store_grad;
use crate::host::{self, Unwritten};
use crate::parameter_chain::{Grads, chain_grad};
use crate::product::{PANEL, Right, pack, pack_transposed, packed_len, sums_len};
use crate::simd::LANES;

/// At most this many partial sums of the parameters' gradients.
const PARTS: usize = 8;

/// The operator.
pub(super) struct Lstm {
    pub(super) layer: Layer,
    /// `w_ih`, `w_hh`, `b_ih`, `b_hh` and, if they are parameters, the initial states and cells, one after the other.
    pub(super) packed: Buffer,
    /// The gradients of the parameters.
    pub(super) grads: Grads,
    pub(super) kept: Mutex<Option<Vec<Kept>>>,
}

/// The parameters, gates padded to whole vectors.
struct Weights {
    /// `(4 hp, inputs)`
    ih: Buffer,
    /// `(4 hp, h)`
    hh: Buffer,
    /// `(4 hp)`
    bias: Buffer,
}

impl Weights {
    /// From `w_ih`, `w_hh`, `b_ih`, `b_hh`, one after the other; what follows them is not read.
    fn new(sizes: Sizes, packed: &[f32]) -> Self {
        let Sizes { inputs, h, .. } = sizes;
        let hp = sizes.hp();
        let (ih, rest) = packed.split_at(4 * h * inputs);
        let (hh, biases) = rest.split_at(4 * h * h);
        let padded = |from: &[f32], columns: usize| {
            let mut to = Buffer::zeros(4 * hp * columns);
            for (to, from) in to.chunks_mut(hp * columns).zip(from.chunks(h * columns)) {
                to[..from.len()].copy_from_slice(from);
            }
            to
        };
        let mut bias = padded(&biases[..4 * h], 1);
        for (to, from) in bias.chunks_mut(hp).zip(biases[4 * h..].chunks(h)) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        }
        Self { ih: padded(ih, inputs), hh: padded(hh, h), bias }
    }
}

/// To the gates, from `k` columns of `weight (4 hp, k)`.
fn to_gates(precision: Precision, weight: &[f32], k: usize, gates: usize) -> Buffer {
    let mut to = Buffer::take(packed_len(precision, k, gates, PANEL));
    pack_transposed(precision, weight, k, k, gates, &mut to);
    to
}

/// The transpose of [`to_gates`]: from the gates to `n` columns.
fn from_gates(precision: Precision, weight: &[f32], n: usize, gates: usize) -> Buffer {
    let mut to = Buffer::take(packed_len(precision, gates, n, PANEL));
    pack::<PANEL>(precision, weight, n, gates, n, &mut to);
    to
}

impl Lstm {
    /// The number of initial states, and of initial cells, that are parameters.
    fn initial_len(&self) -> usize {
        if self.layer.initial { self.layer.sizes.b * self.layer.sizes.h } else { 0 }
    }

    /// Writes the states to `y` where there is one.
    fn run(&self, x: &[f32], y: Option<&mut [MaybeUninit<f32>]>) -> Vec<Kept> {
        let (sizes, precision) = (self.layer.sizes, self.layer.precision);
        let Sizes { inputs, h, .. } = sizes;
        let (weights, gates) = (Weights::new(sizes, &self.packed), sizes.gates());
        let ih = to_gates(precision, &weights.ih, inputs, gates);
        let ih = Right { data: &ih, k: inputs, n: gates, precision };
        let projected = input::project(&self.layer, x, ih, &weights.bias);
        let hh = to_gates(precision, &weights.hh, h, gates);
        let hh = Right { data: &hh, k: h, n: gates, precision };
        let (states, cells) = self.packed[sizes.parameters()..].split_at(self.initial_len());
        let initial = self.layer.initial.then_some([states, cells]);
        let inputs = forward::Inputs { projected: &projected, to_gates: hh, initial };
        let group = |group, y| forward::group(&self.layer, group, inputs, y);
        let groups = self.layer.groups();
        match y {
            Some(y) => {
                let size = y.len() / sizes.b * GROUP;
                groups.zip(y.par_chunks_mut(size)).map(|(of, y)| group(of, Some(y))).collect()
            }
            None => groups.map(|of| group(of, None)).collect(),
        }
    }

    fn forward(&self, x: &[f32]) -> (CpuStorage, Shape) {
        let shape = self.layer.shape();
        let mut y = Unwritten::new(shape.elem_count());
        let kept = self.run(x, Some(y.room()));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        // SAFETY: the groups cover all sequences, and each wrote all of its states.
        (CpuStorage::F32(unsafe { y.written() }), shape)
    }

    /// Gradients of x (empty without `want_x`) and of the packed parameters.
    fn backward(&self, x: &[f32], grad: &[f32], want_x: bool) -> (Vec<f32>, Vec<f32>) {
        let (sizes, precision) = (self.layer.sizes, self.layer.precision);
        let Sizes { inputs, h, .. } = sizes;
        // The first backward pass consumes the intermediate results; a second one recomputes them.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut kept = kept.unwrap_or_else(|| self.run(x, None));
        let (weights, gates) = (Weights::new(sizes, &self.packed), sizes.gates());
        let hh = from_gates(precision, &weights.hh, h, gates);
        let hh = Right { data: &hh, k: gates, n: sizes.hp(), precision };
        let each = kept.len().div_ceil(PARTS);
        let groups: Vec<Group> = self.layer.groups().collect();
        let parts: Vec<(Buffer, Vec<[Buffer; 2]>)> = kept
            .par_chunks_mut(each)
            .zip(groups.par_chunks(each))
            .map(|(kept, groups)| {
                let mut sums = Buffer::zeros(sums_len(gates, h)[0]);
                let of = kept.iter_mut().zip(groups);
                let initial = of
                    .map(|(kept, group)| backward::group(&self.layer, *group, grad, hh, kept, &mut sums))
                    .collect();
                (sums, initial)
            })
            .collect();
        let (recurrent, initial): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let ih = from_gates(precision, &weights.ih, inputs, gates);
        let ih = Right { data: &ih, k: gates, n: if want_x { inputs } else { 0 }, precision };
        let (dx, input) = input::gradients(&self.layer, x, &kept, ih, PARTS);
        let mut grads = unpadded(sizes, &recurrent, &input);
        if self.layer.initial {
            for i in 0..2 {
                let rows = initial.iter().flatten().flat_map(|of| of[i].chunks(sizes.hp()));
                rows.for_each(|row| grads.extend(&row[..h]));
            }
        }
        (dx, grads)
    }
}

/// The parts' sums, in the order of the packed parameters.
fn unpadded(sizes: Sizes, recurrent: &[Buffer], input: &[input::Sums]) -> Vec<f32> {
    let Sizes { inputs, h, .. } = sizes;
    let hp = sizes.hp();
    let mut grads = vec![0.0; sizes.parameters()];
    let (ih, rest) = grads.split_at_mut(4 * h * inputs);
    let (hh, biases) = rest.split_at_mut(4 * h * h);
    let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
    ih.par_chunks_mut(inputs).zip(hh.par_chunks_mut(h)).enumerate().for_each(|(unit, (ih, hh))| {
        let row = unit / h * hp + unit % h;
        for part in input {
            add(ih, &part.weight[row * inputs.next_multiple_of(LANES)..][..inputs]);
        }
        for part in recurrent {
            add(hh, &part[row * hp..][..h]);
        }
    });
    for part in input {
        for gate in 0..4 {
            add(&mut biases[gate * h..][..h], &part.bias[gate * hp..][..h]);
        }
    }
    biases.copy_within(..4 * h, 4 * h);
    grads
}

impl CustomOp2 for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, layout)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        chain: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let want_x = x.track_op();
        let (dx, parameters) =
            host::with(x, |x| host::with(grad, |grad| Ok(self.backward(x, grad, want_x))))?;
        let Sizes { b, inputs, h, .. } = self.layer.sizes;
        let mut shapes = vec![
            Shape::from((4 * h, inputs)),
            Shape::from((4 * h, h)),
            Shape::from(4 * h),
            Shape::from(4 * h),
        ];
        if self.layer.initial {
            shapes.extend([Shape::from((b, h)), Shape::from((b, h))]);
        }
        self.grads.set_packed(&parameters, &shapes)?;
        let dx = if want_x { store_grad(x, host::tensor(dx, x.shape())?) } else { None };
        Ok((dx, chain_grad(chain)?))
    }
}
