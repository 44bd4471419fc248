//! Back through time, for a group of sequences.

#![allow(unsafe_code, reason = "vector loads and stores by address; each block states its bounds")]

use super::op::{Kept, Lstm, Sizes, product};
use crate::matmul::{Into, Matrix, add_columns, matmul};
use crate::simd::{Kernel, LANES, Simd, dispatch, tanh};

/// Gradients of x, of the joined weights `(4 h, inputs + h)` and of the bias.
pub(super) struct Grads {
    pub(super) x: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

#[expect(clippy::too_many_arguments, reason = "everything of the group, each of its own kind")]
pub(super) fn group(
    op: &Lstm,
    x: &[f32],
    real: &[bool],
    y: &[f32],
    grad: &[f32],
    kept: &Kept,
    w_ih: Option<&[f32]>,
    recurrent: &[f32],
) -> Grads {
    let Sizes { l, inputs, h, .. } = op.sizes;
    let hp = op.sizes.hp();
    let count = real.len();
    let mut dz = vec![0.0; count * 4 * hp];
    dispatch(Steps { op, rows: count / l, recurrent, real, grad, kept, dz: &mut dz });
    let dz_t = Matrix::new(&dz, count, 4 * hp).t();
    let mut d_ih = vec![0.0; 4 * hp * inputs];
    matmul(dz_t, Matrix::new(x, count, inputs), &mut d_ih, Into::Replace);
    let mut d_hh = vec![0.0; 4 * hp * h];
    if l > 1 {
        // Each step's gates meet the state before: one place to the left, or to the right in reverse.
        for (dz, y) in dz.chunks(l * 4 * hp).zip(y.chunks(l * h)) {
            let (dz, before) = if op.reverse {
                (&dz[..(l - 1) * 4 * hp], &y[h..])
            } else {
                (&dz[4 * hp..], &y[..(l - 1) * h])
            };
            matmul(Matrix::new(dz, l - 1, 4 * hp).t(), Matrix::new(before, l - 1, h), &mut d_hh, Into::Add);
        }
    }
    let mut sums = vec![0.0; 4 * hp];
    add_columns(&dz, &mut sums);
    let mut dx = Vec::new();
    if let Some(w_ih) = w_ih {
        dx.resize(count * inputs, 0.0);
        matmul(Matrix::new(&dz, count, 4 * hp), Matrix::new(w_ih, 4 * hp, inputs), &mut dx, Into::Replace);
    }
    let mut weights = Vec::with_capacity(4 * h * (inputs + h));
    let mut bias = Vec::with_capacity(4 * h);
    for row in (0..4).flat_map(|gate| gate * hp..gate * hp + h) {
        weights.extend_from_slice(&d_ih[row * inputs..][..inputs]);
        weights.extend_from_slice(&d_hh[row * h..][..h]);
        bias.push(sums[row]);
    }
    Grads { x: dx, weights, bias }
}

struct Steps<'a> {
    op: &'a Lstm,
    rows: usize,
    recurrent: &'a [f32],
    real: &'a [bool],
    grad: &'a [f32],
    kept: &'a Kept,
    /// Zeros, to hold the gradients before the gates' functions.
    dz: &'a mut [f32],
}

impl Kernel for Steps<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sizes { l, h, .. } = self.op.sizes;
        let hp = self.op.sizes.hp();
        let mut d_state = vec![0.0; self.rows * hp];
        let mut d_cell = vec![0.0; self.rows * hp];
        let mut here = vec![0.0; self.rows * 4 * hp];
        let mut pulled = vec![0.0; self.rows * hp];
        let none = vec![0.0; hp];
        for step in (0..l).rev() {
            let t = self.op.time(step);
            for row in 0..self.rows {
                let at = row * l + t;
                let d_state = &mut d_state[row * hp..][..hp];
                for (d, g) in d_state.iter_mut().zip(&self.grad[at * h..][..h]) {
                    *d += g;
                }
                let here = &mut here[row * 4 * hp..][..4 * hp];
                if !self.real[at] {
                    continue;
                }
                let before = if step == 0 {
                    none.as_slice()
                } else {
                    &self.kept.cells[(row * l + self.op.time(step - 1)) * hp..][..hp]
                };
                let gates = &self.kept.gates[at * 4 * hp..][..4 * hp];
                let cell = &self.kept.cells[at * hp..][..hp];
                retreat(s, gates, (cell, before), d_state, &mut d_cell[row * hp..][..hp], here);
                self.dz[at * 4 * hp..][..4 * hp].copy_from_slice(here);
            }
            product(s, (&here, 4 * hp, 4 * hp), self.recurrent, hp, self.rows, &mut pulled);
            for row in 0..self.rows {
                // Padding carries the state, so its gradient stays as it is.
                if self.real[row * l + t] {
                    d_state[row * hp..][..hp].copy_from_slice(&pulled[row * hp..][..hp]);
                }
            }
        }
    }
}

/// Gradients below this in magnitude count as 0; its square is still a normal number.
const SMALLEST: f32 = 1e-18;

/// One time step of one sequence: from the gradients of state and cell to those before the gates' functions, and of
/// the cell before.
#[inline(always)]
fn retreat<S: Simd>(
    s: S,
    gates: &[f32],
    (cell, before): (&[f32], &[f32]),
    d_state: &[f32],
    d_cell: &mut [f32],
    dz: &mut [f32],
) {
    let hp = cell.len();
    assert!(hp.is_multiple_of(LANES) && gates.len() == 4 * hp && dz.len() == 4 * hp);
    assert!(before.len() == hp && d_state.len() == hp && d_cell.len() == hp);
    let one = s.splat(1.0);
    // Far back in time gradients vanish, and arithmetic on subnormal numbers is a hundred times slower.
    let flush = |v: S::V| s.where_greater(s.mul(v, v), s.splat(SMALLEST * SMALLEST), v, s.zero());
    for at in (0..hp).step_by(LANES) {
        // SAFETY: gate · hp + at + LANES <= 4 hp, asserted above.
        unsafe {
            let gate = |gate: usize| s.load(gates.as_ptr().add(gate * hp + at));
            let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
            let th = tanh(s, s.load(cell.as_ptr().add(at)));
            let dh = flush(s.load(d_state.as_ptr().add(at)));
            let through = s.mul(s.mul(dh, o), s.sub(one, s.mul(th, th)));
            let dc = flush(s.add(s.load(d_cell.as_ptr().add(at)), through));
            let slope = |y: S::V| s.mul(y, s.sub(one, y));
            let to = dz.as_mut_ptr().add(at);
            s.store(to, flush(s.mul(s.mul(dc, g), slope(i))));
            s.store(to.add(hp), flush(s.mul(s.mul(dc, s.load(before.as_ptr().add(at))), slope(f))));
            s.store(to.add(2 * hp), flush(s.mul(s.mul(dc, i), s.sub(one, s.mul(g, g)))));
            s.store(to.add(3 * hp), flush(s.mul(s.mul(dh, th), slope(o))));
            s.store(d_cell.as_mut_ptr().add(at), s.mul(dc, f));
        }
    }
}
