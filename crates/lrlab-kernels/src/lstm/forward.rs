//! A group of sequences through time.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use super::op::{Kept, Lstm, Sizes, product};
use crate::matmul::{Into, Matrix, matmul};
use crate::simd::{Kernel, LANES, Simd, dispatch, sigmoid, tanh};

/// Writes the states of the group's sequences to `y (rows, l, h)`.
pub(super) fn group(
    op: &Lstm,
    x: &[f32],
    w_ih: &[f32],
    recurrent: &[f32],
    bias: &[f32],
    real: &[bool],
    y: &mut [f32],
) -> Kept {
    let Sizes { l, inputs, h, .. } = op.sizes;
    let hp = op.sizes.hp();
    let count = real.len();
    let mut gates = vec![0.0; count * 4 * hp];
    let mut padded = vec![0.0; 4 * hp];
    for (padded, bias) in padded.chunks_mut(hp).zip(bias.chunks(h)) {
        padded[..h].copy_from_slice(bias);
    }
    let weights = Matrix::new(w_ih, 4 * hp, inputs).t();
    matmul(Matrix::new(x, count, inputs), weights, &mut gates, Into::Replace);
    let mut cells = vec![0.0; count * hp];
    let rows = count / l;
    dispatch(Steps { op, rows, recurrent, bias: &padded, real, gates: &mut gates, cells: &mut cells, y });
    Kept { gates, cells }
}

struct Steps<'a> {
    op: &'a Lstm,
    rows: usize,
    recurrent: &'a [f32],
    bias: &'a [f32],
    real: &'a [bool],
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    y: &'a mut [f32],
}

impl Kernel for Steps<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sizes { l, h, .. } = self.op.sizes;
        let hp = self.op.sizes.hp();
        let mut states = vec![0.0; self.rows * hp];
        let mut now = vec![0.0; self.rows * hp];
        let mut pushed = vec![0.0; self.rows * 4 * hp];
        for step in 0..l {
            let t = self.op.time(step);
            product(s, (&states, hp, h), self.recurrent, 4 * hp, self.rows, &mut pushed);
            for row in 0..self.rows {
                let at = row * l + t;
                let cell = &mut now[row * hp..][..hp];
                let state = &mut states[row * hp..][..hp];
                if self.real[at] {
                    let gates = &mut self.gates[at * 4 * hp..][..4 * hp];
                    advance(s, gates, &pushed[row * 4 * hp..][..4 * hp], self.bias, cell, state);
                }
                self.cells[at * hp..][..hp].copy_from_slice(cell);
                self.y[at * h..][..h].copy_from_slice(&state[..h]);
            }
        }
    }
}

/// One time step of one sequence; `gates` come as x's share and leave as σ(i), σ(f), tanh(g), σ(o).
#[inline(always)]
fn advance<S: Simd>(
    s: S,
    gates: &mut [f32],
    pushed: &[f32],
    bias: &[f32],
    cell: &mut [f32],
    state: &mut [f32],
) {
    let hp = cell.len();
    assert!(
        hp.is_multiple_of(LANES) && gates.len() == 4 * hp && pushed.len() == 4 * hp && bias.len() == 4 * hp
    );
    assert!(state.len() == hp);
    for at in (0..hp).step_by(LANES) {
        // SAFETY: gate · hp + at + LANES <= 4 hp, asserted above.
        unsafe {
            let z = |gate: usize| {
                let i = gate * hp + at;
                let own = s.add(s.load(gates.as_ptr().add(i)), s.load(pushed.as_ptr().add(i)));
                s.add(own, s.load(bias.as_ptr().add(i)))
            };
            let (i, f, g, o) = (sigmoid(s, z(0)), sigmoid(s, z(1)), tanh(s, z(2)), sigmoid(s, z(3)));
            let c = s.fma(f, s.load(cell.as_ptr().add(at)), s.mul(i, g));
            s.store(cell.as_mut_ptr().add(at), c);
            s.store(state.as_mut_ptr().add(at), s.mul(o, tanh(s, c)));
            s.store(gates.as_mut_ptr().add(at), i);
            s.store(gates.as_mut_ptr().add(hp + at), f);
            s.store(gates.as_mut_ptr().add(2 * hp + at), g);
            s.store(gates.as_mut_ptr().add(3 * hp + at), o);
        }
    }
}
