//! The forward pass through time of a group of sequences.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use std::mem::MaybeUninit;

use super::layer::{Group, Kept, Layer, Sizes};
use crate::buffer::Buffer;
use crate::product::{Finish, Left, Right, product};
use crate::rows::put;
use crate::simd::{Kernel, LANES, Simd, dispatch, part, prefetch, sigmoid, tanh};

/// What a layer multiplies and starts from.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// The input's share of the gates, bias included, `(rows read, 4 hp)`.
    pub(super) projected: &'a [f32],
    /// The recurrent weights.
    pub(super) to_gates: Right<'a>,
    /// The states and the cells before the first time, `(b, h)` each.
    pub(super) initial: Option<[&'a [f32]; 2]>,
}

/// Writes the group's states to `y`, where it is given.
pub(super) fn group(
    layer: &Layer,
    group: Group,
    inputs: Inputs,
    mut y: Option<&mut [MaybeUninit<f32>]>,
) -> Kept {
    let Inputs { projected, to_gates, initial } = inputs;
    let Sizes { l, h, .. } = layer.sizes;
    let (hp, width, rows, columns) = (layer.sizes.hp(), layer.sizes.gates(), group.rows, layer.columns());
    let mut gates = Buffer::take(l * rows * width);
    let mut cells = Buffer::take((l + 1) * rows * hp);
    let mut states = Buffer::take((l + 1) * rows * hp);
    for (i, of) in [&mut states, &mut cells].into_iter().enumerate() {
        let first = &mut of[layer.before(layer.time(0)) * rows * hp..][..rows * hp];
        first.fill(0.0);
        if let Some(initial) = initial {
            let from = initial[i][group.first * h..].chunks(h);
            first.chunks_mut(hp).zip(from).for_each(|(to, from)| to[..h].copy_from_slice(from));
        }
    }
    let share = |row: usize, t: usize| {
        let place = (group.first + row) * l + t;
        layer.real[place].then(|| &projected[layer.readers.slot(place) * width..][..width])
    };
    let mut from: Vec<_> = (0..rows).map(|row| share(row, layer.time(0))).collect();
    let mut next = from.clone();
    for step in 0..l {
        let t = layer.time(step);
        if step + 1 < l {
            // The rows are scattered in memory; the next product hides the time of loading them.
            for (row, next) in next.iter_mut().enumerate() {
                *next = share(row, layer.time(step + 1));
                prefetch(next.unwrap_or_default());
            }
        }
        let gates = &mut gates[t * rows * width..][..rows * width];
        let (cell, next_cell) = pair(&mut cells, rows * hp, layer.before(t), layer.after(t));
        let (state, next_state) = pair(&mut states, rows * hp, layer.before(t), layer.after(t));
        product(rows, Left::rows(state, hp), to_gates, &mut Sum { from: &from, to: gates, width });
        for (row, from) in from.iter().enumerate() {
            let at = row * hp..(row + 1) * hp;
            if from.is_none() {
                next_cell[at.clone()].copy_from_slice(&cell[at.clone()]);
                next_state[at.clone()].copy_from_slice(&state[at]);
                continue;
            }
            dispatch(Advance {
                gates: &mut gates[row * width..][..width],
                before: &cell[at.clone()],
                cell: &mut next_cell[at.clone()],
                state: &mut next_state[at],
            });
        }
        if let (Some(y), true) = (&mut y, layer.output.every) {
            for row in 0..rows {
                let [state, cell] = [&next_state, &next_cell].map(|of| &of[row * hp..][..h]);
                write(&mut y[(row * l + t) * columns..][..columns], state, cell);
            }
        }
        std::mem::swap(&mut from, &mut next);
    }
    if let (Some(y), false) = (y, layer.output.every) {
        let last = layer.after(layer.time(l - 1)) * rows;
        for (row, y) in y.chunks_mut(columns).enumerate() {
            let [state, cell] = [&states, &cells].map(|of| &of[(last + row) * hp..][..h]);
            write(y, state, cell);
        }
    }
    Kept { gates, cells, states }
}

/// Writes a state, and its cells if `to` has columns for them.
fn write(to: &mut [MaybeUninit<f32>], state: &[f32], cell: &[f32]) {
    let (to, to_cell) = to.split_at_mut(state.len());
    to.write_copy_of_slice(state);
    to_cell.write_copy_of_slice(&cell[..to_cell.len()]);
}

/// The parts `from` and `to`, neighbours, of parts of `len` values each.
fn pair(of: &mut [f32], len: usize, from: usize, to: usize) -> (&[f32], &mut [f32]) {
    let (low, high) = of[from.min(to) * len..][..2 * len].split_at_mut(len);
    if from < to { (low, high) } else { (high, low) }
}

/// The product plus the input's share, where there is an input.
struct Sum<'a> {
    from: &'a [Option<&'a [f32]>],
    to: &'a mut [f32],
    width: usize,
}

impl Finish for Sum<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        if let Some(from) = self.from[row] {
            let from = &from[column..][..LANES];
            let to = &mut self.to[row * self.width + column..][..LANES];
            put(s, to, s.add(v, part(s, from, 0, 0.0)));
        }
    }
}

/// One time step of one sequence; `gates` come as sums and leave as σ(i), σ(f), tanh(g), σ(o).
struct Advance<'a> {
    gates: &'a mut [f32],
    before: &'a [f32],
    cell: &'a mut [f32],
    state: &'a mut [f32],
}

impl Kernel for Advance<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gates, before, cell, state } = self;
        let hp = cell.len();
        assert!(hp.is_multiple_of(LANES) && gates.len() == 4 * hp && before.len() == hp && state.len() == hp);
        for at in (0..hp).step_by(LANES) {
            // SAFETY: gate · hp + at + LANES <= 4 hp, asserted above.
            unsafe {
                let gates = gates.as_mut_ptr().add(at);
                let z = |gate: usize| s.load(gates.add(gate * hp));
                let (i, f, g, o) = (sigmoid(s, z(0)), sigmoid(s, z(1)), tanh(s, z(2)), sigmoid(s, z(3)));
                let c = s.fma(f, s.load(before.as_ptr().add(at)), s.mul(i, g));
                s.store(cell.as_mut_ptr().add(at), c);
                s.store(state.as_mut_ptr().add(at), s.mul(o, tanh(s, c)));
                s.store(gates, i);
                s.store(gates.add(hp), f);
                s.store(gates.add(2 * hp), g);
                s.store(gates.add(3 * hp), o);
            }
        }
    }
}
