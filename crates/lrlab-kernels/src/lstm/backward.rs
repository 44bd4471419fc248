//! The backward pass through time of a group of sequences.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use super::layer::{Group, Kept, Layer, Sizes};
use crate::buffer::Buffer;
use crate::product::{Finish, Left, Right, Rows, accumulate, product};
use crate::rows::put;
use crate::simd::{Kernel, LANES, Simd, dispatch, tanh};

/// Rows whose share of the recurrent weight's gradient is added up at once, while they are in the cache.
const ROWS: usize = 128;

/// Adds the group's share of the recurrent weight's gradient to `sums`, and returns the gradients of the states and the
/// cells before the first time, `(rows, hp)` each, which are complete if these are parameters. Uses up what was kept: the
/// gates become their gradients.
pub(super) fn group(
    layer: &Layer,
    group: Group,
    grad: &[f32],
    to_state: Right,
    kept: &mut Kept,
    sums: &mut [f32],
) -> [Buffer; 2] {
    let Sizes { l, h, .. } = layer.sizes;
    let columns = layer.columns();
    let (hp, width, rows) = (layer.sizes.hp(), layer.sizes.gates(), group.rows);
    let mut d_state = Buffer::zeros(rows * hp);
    let mut d_cell = Buffer::zeros(rows * hp);
    let mut real = vec![false; rows];
    let add = |time: usize, d_state: &mut [f32], d_cell: &mut [f32]| {
        let times = if layer.output.every { l } else { 1 };
        let rows = d_state.chunks_mut(hp).zip(d_cell.chunks_mut(hp)).enumerate();
        for (row, (d_state, d_cell)) in rows {
            let grad = &grad[((group.first + row) * times + time) * columns..][..columns];
            d_state.iter_mut().zip(&grad[..h]).for_each(|(t, f)| *t += f);
            d_cell.iter_mut().zip(&grad[h..]).for_each(|(t, f)| *t += f);
        }
    };
    if !layer.output.every {
        add(0, &mut d_state, &mut d_cell);
    }
    let at_once = (ROWS / rows).max(1);
    for step in (0..l).rev() {
        let t = layer.time(step);
        if layer.output.every {
            add(t, &mut d_state, &mut d_cell);
        }
        for (row, real) in real.iter_mut().enumerate() {
            *real = layer.real[(group.first + row) * l + t];
        }
        let gates = &mut kept.gates[t * rows * width..][..rows * width];
        for (row, gates) in gates.chunks_mut(width).enumerate() {
            if !real[row] {
                gates.fill(0.0);
                continue;
            }
            let cell = |slot: usize| &kept.cells[(slot * rows + row) * hp..][..hp];
            dispatch(Retreat {
                gates,
                cell: cell(layer.after(t)),
                before: cell(layer.before(t)),
                d_state: &d_state[row * hp..][..hp],
                d_cell: &mut d_cell[row * hp..][..hp],
            });
        }
        if step > 0 || layer.initial {
            let mut pull = Pull { real: &real, d_state: &mut d_state, hp };
            product(rows, Left::rows(gates, width), to_state, &mut pull);
        }
        let done = l - step;
        if done.is_multiple_of(at_once) || step == 0 {
            let count = (done - 1) % at_once + 1;
            let first = if layer.reverse { t + 1 - count } else { t };
            let dz = &kept.gates[first * rows * width..][..count * rows * width];
            let states = &kept.states[layer.before(first) * rows * hp..][..count * rows * hp];
            let states = Rows { data: states, stride: hp, columns: h };
            accumulate(layer.precision, count * rows, Rows::new(dz, width), states, sums, None);
        }
    }
    [d_state, d_cell]
}

/// The gradients of the states before, at tokens. At padding the state was carried, and its gradient is unchanged.
struct Pull<'a> {
    real: &'a [bool],
    d_state: &'a mut [f32],
    hp: usize,
}

impl Finish for Pull<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        if self.real[row] {
            let to = &mut self.d_state[row * self.hp + column..][..LANES];
            put(s, to, v);
        }
    }
}

/// Gradients below this in magnitude count as 0; its square is still a normal number.
const SMALLEST: f32 = 1e-18;

/// Far back in time gradients vanish, and arithmetic on subnormal numbers is a hundred times slower. A NaN is kept.
#[inline(always)]
fn flush<S: Simd>(s: S, v: S::V) -> S::V {
    const BOUND: f32 = (SMALLEST * SMALLEST).next_up();
    s.where_greater(s.splat(BOUND), s.mul(v, v), s.zero(), v)
}

/// The sigmoid's derivative from its value.
#[inline(always)]
fn slope<S: Simd>(s: S, y: S::V) -> S::V {
    s.mul(y, s.sub(s.splat(1.0), y))
}

/// One time step of one sequence: from the gradients of state and cell to those before the gates' functions, which
/// replace the gates, and of the cell before.
struct Retreat<'a> {
    gates: &'a mut [f32],
    cell: &'a [f32],
    before: &'a [f32],
    d_state: &'a [f32],
    d_cell: &'a mut [f32],
}

impl Kernel for Retreat<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { gates, cell, before, d_state, d_cell } = self;
        let hp = cell.len();
        assert!(hp.is_multiple_of(LANES) && gates.len() == 4 * hp);
        assert!(before.len() == hp && d_state.len() == hp && d_cell.len() == hp);
        let one = s.splat(1.0);
        for at in (0..hp).step_by(LANES) {
            // SAFETY: gate · hp + at + LANES <= 4 hp, asserted above.
            unsafe {
                let gates = gates.as_mut_ptr().add(at);
                let gate = |gate: usize| s.load(gates.add(gate * hp));
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                let th = tanh(s, s.load(cell.as_ptr().add(at)));
                let dh = flush(s, s.load(d_state.as_ptr().add(at)));
                let through = s.mul(s.mul(dh, o), s.sub(one, s.mul(th, th)));
                let dc = flush(s, s.add(s.load(d_cell.as_ptr().add(at)), through));
                let di = flush(s, s.mul(s.mul(dc, g), slope(s, i)));
                let df = flush(s, s.mul(s.mul(dc, s.load(before.as_ptr().add(at))), slope(s, f)));
                let dg = flush(s, s.mul(s.mul(dc, i), s.sub(one, s.mul(g, g))));
                let d_out = flush(s, s.mul(s.mul(dh, th), slope(s, o)));
                s.store(gates, di);
                s.store(gates.add(hp), df);
                s.store(gates.add(2 * hp), dg);
                s.store(gates.add(3 * hp), d_out);
                s.store(d_cell.as_mut_ptr().add(at), s.mul(dc, f));
            }
        }
    }
}
