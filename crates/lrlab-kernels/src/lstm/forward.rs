//! A group of sequences through time.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use super::op::{Group, Kept, Lstm, Output, Sizes};
use crate::buffer::Buffer;
use crate::host::Shared;
use crate::product::{Left, Right, Store, product};
use crate::simd::{Kernel, LANES, Simd, dispatch, sigmoid, tanh};

/// Writes the group's states to its part of `y`, where there is one.
pub(super) fn group(
    op: &Lstm,
    group: Group,
    x: &[f32],
    to_gates: Right,
    bias: &[f32],
    y: Option<Shared>,
) -> Kept {
    let Sizes { l, h, .. } = op.sizes;
    let (hp, width, rows) = (op.sizes.hp(), op.sizes.seen(), group.rows);
    let mut gates = Buffer::take(l * rows * 4 * hp);
    let mut cells = Buffer::take(l * rows * hp);
    let mut seen = Buffer::take(l * rows * width);
    let start = op.sizes.inputs;
    let mut state = Buffer::zeros(rows * hp);
    let mut cell = Buffer::zeros(rows * hp);
    for step in 0..l {
        let t = op.time(step);
        let now = &mut seen[t * rows * width..][..rows * width];
        for row in 0..rows {
            let now = &mut now[row * width..][..width];
            now[..start].copy_from_slice(input(op, x, group.first + row, t));
            now[start..].copy_from_slice(&state[row * hp..][..hp]);
        }
        let gates = &mut gates[t * rows * 4 * hp..][..rows * 4 * hp];
        // SAFETY: `rows` rows of 4 hp.
        let mut store = unsafe { Store::new(gates.as_mut_ptr(), 4 * hp, 4 * hp, Some(bias)) };
        product(rows, Left::rows(now, width), to_gates, &mut store);
        let real = |row: usize| op.real[(group.first + row) * l + t];
        for row in (0..rows).filter(|row| real(*row)) {
            let gates = &mut gates[row * 4 * hp..][..4 * hp];
            dispatch(Advance {
                gates,
                cell: &mut cell[row * hp..][..hp],
                state: &mut state[row * hp..][..hp],
            });
        }
        cells[t * rows * hp..][..rows * hp].copy_from_slice(&cell);
        if let (Some(y), Output::Every) = (y, op.output) {
            for row in 0..rows {
                write(y, ((group.first + row) * l + t) * h, &state[row * hp..][..h]);
            }
        }
    }
    if let (Some(y), Output::Last) = (y, op.output) {
        for row in 0..rows {
            write(y, (group.first + row) * h, &state[row * hp..][..h]);
        }
    }
    Kept { gates, cells, seen }
}

/// The input of a sequence at a time.
fn input<'a>(op: &Lstm, x: &'a [f32], sequence: usize, t: usize) -> &'a [f32] {
    let at = sequence * op.sizes.l + t;
    let row = op.ids.as_ref().map_or(at, |ids| ids[at] as usize);
    &x[row * op.sizes.inputs..][..op.sizes.inputs]
}

fn write(to: Shared, at: usize, from: &[f32]) {
    // SAFETY: a group writes the states of its own sequences, which the output has room for.
    unsafe { to.get().add(at).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
}

/// One time step of one sequence; `gates` come as sums and leave as σ(i), σ(f), tanh(g), σ(o).
struct Advance<'a> {
    gates: &'a mut [f32],
    cell: &'a mut [f32],
    state: &'a mut [f32],
}

impl Kernel for Advance<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gates, cell, state } = self;
        let hp = cell.len();
        assert!(hp.is_multiple_of(LANES) && gates.len() == 4 * hp && state.len() == hp);
        for at in (0..hp).step_by(LANES) {
            // SAFETY: gate · hp + at + LANES <= 4 hp, asserted above.
            unsafe {
                let gates = gates.as_mut_ptr().add(at);
                let z = |gate: usize| s.load(gates.add(gate * hp));
                let (i, f, g, o) = (sigmoid(s, z(0)), sigmoid(s, z(1)), tanh(s, z(2)), sigmoid(s, z(3)));
                let c = s.fma(f, s.load(cell.as_ptr().add(at)), s.mul(i, g));
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
