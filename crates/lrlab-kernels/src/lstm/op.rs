//! The operator over (x or the embedding's table, the packed parameters).
//!
//! Sequences do not meet, so groups of sixteen are the tasks; the sums of their parameters' gradients are added up in
//! the groups' order. Hidden units are padded to whole vectors inside.

#![allow(unsafe_code, reason = "groups write their sequences' rows of shared outputs")]

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{backward, forward};
use crate::Precision;
use crate::buffer::Buffer;
use crate::gradient::give;
use crate::host::{self, Shared, Unwritten};
use crate::product::{PANEL, Right, pack, pack_transposed, packed_len};
use crate::simd::LANES;

/// Sequences per task.
const GROUP: usize = 16;
/// At most this many partial sums of the parameters' gradients.
const PARTS: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) l: usize,
    pub(super) inputs: usize,
    pub(super) h: usize,
}

impl Sizes {
    /// Hidden units, padded.
    pub(super) fn hp(&self) -> usize {
        self.h.next_multiple_of(LANES)
    }

    /// A row of what the gates see: the input, then the state before, padded.
    pub(super) fn seen(&self) -> usize {
        self.inputs + self.hp()
    }

    fn parameters(&self) -> usize {
        4 * self.h * (self.inputs + self.h + 2)
    }
}

/// What a group of sequences keeps for the backward pass.
pub(super) struct Kept {
    /// Gates after their functions, `(l, rows, 4 hp)`.
    pub(super) gates: Buffer,
    /// `(l, rows, hp)`
    pub(super) cells: Buffer,
    /// Input and state before, `(l, rows, seen)`.
    pub(super) seen: Buffer,
}

/// Which states are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// `(b, l, h)`
    Every,
    /// After the last token read, `(b, h)`.
    Last,
}

pub(super) struct Lstm {
    pub(super) sizes: Sizes,
    /// Per sequence and time: not padding.
    pub(super) real: Vec<bool>,
    pub(super) reverse: bool,
    pub(super) output: Output,
    /// `(b, l)` rows of the first argument; without them it is `(b, l, inputs)`.
    pub(super) ids: Option<Vec<u32>>,
    pub(super) precision: Precision,
    kept: Mutex<Option<Vec<Kept>>>,
}

/// A group's sequences.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// The parameters, gates padded to whole vectors.
pub(super) struct Weights {
    /// `(4 hp, inputs + h)`
    joined: Buffer,
    /// `(4 hp)`
    pub(super) bias: Buffer,
}

impl Weights {
    /// From `w_ih`, `w_hh`, `b_ih`, `b_hh`, one after the other.
    fn new(sizes: Sizes, packed: &[f32]) -> Self {
        let Sizes { inputs, h, .. } = sizes;
        let hp = sizes.hp();
        let (ih, rest) = packed.split_at(4 * h * inputs);
        let (hh, biases) = rest.split_at(4 * h * h);
        let mut joined = Buffer::zeros(4 * hp * (inputs + h));
        let mut bias = Buffer::zeros(4 * hp);
        for unit in 0..4 * h {
            let row = unit / h * hp + unit % h;
            let to = &mut joined[row * (inputs + h)..][..inputs + h];
            to[..inputs].copy_from_slice(&ih[unit * inputs..][..inputs]);
            to[inputs..].copy_from_slice(&hh[unit * h..][..h]);
            bias[row] = biases[unit] + biases[4 * h + unit];
        }
        Self { joined, bias }
    }

    /// From what the gates see to the gates.
    fn to_gates(&self, precision: Precision, Sizes { inputs, h, .. }: Sizes, hp: usize) -> Buffer {
        let k = inputs + h;
        let mut to = Buffer::take(packed_len(precision, k, 4 * hp, PANEL));
        pack_transposed(precision, &self.joined, k, k, 4 * hp, &mut to);
        to
    }

    /// From the gates to the state before (from `inputs`, `h` columns) or to the input (from 0, `inputs` columns).
    fn back(
        &self,
        precision: Precision,
        Sizes { inputs, h, .. }: Sizes,
        from: usize,
        columns: usize,
    ) -> Buffer {
        let hp = h.next_multiple_of(LANES);
        let mut to = Buffer::take(packed_len(precision, 4 * hp, columns, PANEL));
        pack::<PANEL>(precision, &self.joined[from..], inputs + h, 4 * hp, columns, &mut to);
        to
    }
}

/// What every group's backward pass reads.
pub(super) struct Back<'a> {
    pub(super) op: &'a Lstm,
    pub(super) grad: &'a [f32],
    pub(super) to_state: Right<'a>,
    pub(super) to_input: Right<'a>,
    /// `(b, l, inputs)`, each group its sequences' part.
    pub(super) dx: Shared,
}

impl Lstm {
    pub(super) fn new(
        sizes: Sizes,
        real: Vec<bool>,
        reverse: bool,
        output: Output,
        precision: Precision,
    ) -> Self {
        Self { sizes, real, reverse, output, ids: None, precision, kept: Mutex::new(None) }
    }

    pub(super) fn of_tokens(self, ids: Vec<u32>) -> Self {
        Self { ids: Some(ids), ..self }
    }

    /// The times in the order they are read.
    pub(super) fn time(&self, step: usize) -> usize {
        if self.reverse { self.sizes.l - 1 - step } else { step }
    }

    fn groups(&self) -> impl IndexedParallelIterator<Item = Group> {
        let b = self.sizes.b;
        (0..b.div_ceil(GROUP))
            .into_par_iter()
            .map(move |i| Group { first: i * GROUP, rows: GROUP.min(b - i * GROUP) })
    }

    fn shape(&self) -> Shape {
        let Sizes { b, l, h, .. } = self.sizes;
        match self.output {
            Output::Every => Shape::from((b, l, h)),
            Output::Last => Shape::from((b, h)),
        }
    }

    /// Writes the states to `y` where there is one.
    fn run(&self, x: &[f32], packed: &[f32], y: Option<Shared>) -> Vec<Kept> {
        let (sizes, precision) = (self.sizes, self.precision);
        let weights = Weights::new(sizes, packed);
        let to_gates = weights.to_gates(precision, sizes, sizes.hp());
        let right = Right { data: &to_gates, k: sizes.inputs + sizes.h, n: 4 * sizes.hp(), precision };
        self.groups().map(|group| forward::group(self, group, x, right, &weights.bias, y)).collect()
    }

    fn forward(&self, x: &[f32], packed: &[f32]) -> (CpuStorage, Shape) {
        let shape = self.shape();
        let mut y = Unwritten::new(shape.elem_count());
        let kept = self.run(x, packed, Some(Shared(y.room().as_mut_ptr().cast())));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        // SAFETY: the groups cover all sequences, and each wrote all of its states.
        (CpuStorage::F32(unsafe { y.written() }), shape)
    }

    /// Gradients of x, row after row (nothing where not wanted), and of the packed parameters.
    fn backward(&self, x: &[f32], packed: &[f32], grad: &[f32], want_x: bool) -> (Vec<f32>, Vec<f32>) {
        let sizes = self.sizes;
        let Sizes { b, l, inputs, h } = sizes;
        let hp = sizes.hp();
        // A second backward pass makes the states again: the first used up what was kept.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut kept = kept.unwrap_or_else(|| self.run(x, packed, None));
        let weights = Weights::new(sizes, packed);
        let precision = self.precision;
        let to_state = weights.back(precision, sizes, inputs, h);
        let to_input = weights.back(precision, sizes, 0, inputs);
        let mut dx = Unwritten::new(if want_x { b * l * inputs } else { 0 });
        let back = Back {
            op: self,
            grad,
            to_state: Right { data: &to_state, k: 4 * hp, n: hp, precision },
            to_input: Right { data: &to_input, k: 4 * hp, n: if want_x { inputs } else { 0 }, precision },
            dx: Shared(dx.room().as_mut_ptr().cast()),
        };
        let each = kept.len().div_ceil(PARTS);
        let groups: Vec<Group> = self.groups().collect();
        let parts: Vec<backward::Sums> = kept
            .par_chunks_mut(each)
            .zip(groups.par_chunks(each))
            .map(|(kept, groups)| {
                let mut sums = backward::Sums::zeros(sizes);
                for (kept, group) in kept.iter_mut().zip(groups) {
                    backward::group(&back, *group, kept, &mut sums);
                }
                sums
            })
            .collect();
        let grads = unpadded(sizes, &parts);
        // SAFETY: where it is wanted the groups wrote all of their sequences' rows.
        (unsafe { dx.written() }, grads)
    }
}

/// The parts' sum, in the order of the packed parameters.
fn unpadded(sizes: Sizes, parts: &[backward::Sums]) -> Vec<f32> {
    let Sizes { inputs, h, .. } = sizes;
    let (hp, pitch) = (sizes.hp(), backward::Sums::pitch(sizes));
    let mut grads = vec![0.0; sizes.parameters()];
    let (ih, rest) = grads.split_at_mut(4 * h * inputs);
    let (hh, biases) = rest.split_at_mut(4 * h * h);
    let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
    ih.par_chunks_mut(inputs).zip(hh.par_chunks_mut(h)).enumerate().for_each(|(unit, (ih, hh))| {
        let row = (unit / h * hp + unit % h) * pitch;
        for part in parts {
            add(ih, &part.weights[row..][..inputs]);
            add(hh, &part.weights[row + inputs..][..h]);
        }
    });
    for part in parts {
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
        lx: &Layout,
        packed: &CpuStorage,
        lp: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(host::slice(x, lx)?, host::slice(packed, lp)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let want_x = x.track_op();
        let (dx, dp) = host::with(x, |xs| {
            host::with(packed, |ps| host::with(grad, |gs| Ok(self.backward(xs, ps, gs, want_x))))
        })?;
        let dx = match (&self.ids, want_x) {
            (_, false) => None,
            (None, true) => Some(dx),
            (Some(ids), true) => Some(crate::embedding::table_grad(ids, &dx, x.dims2()?)),
        };
        let dx = dx.map(|dx| host::tensor(dx, x.shape())).transpose()?.and_then(|dx| give(x, dx));
        let dp = if packed.track_op() { Some(host::tensor(dp, packed.shape())?) } else { None };
        Ok((dx, dp))
    }
}
