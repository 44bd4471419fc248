//! Attention on the CPU, a head of a sequence at a time: the length × length matrix lives in scratch memory, and the
//! backward pass makes it again.

#![allow(unsafe_code, reason = "each head writes its own part of shared outputs, before they have a length")]

use rayon::prelude::*;

use crate::dropout::{Draws, Dropout};
use crate::host::{Scratch, Shared, Unwritten};
use crate::matmul::{Into, Matrix, matmul, matmul_to};
use crate::norm::{part, put};
use crate::simd::{Kernel, LANES, Simd, dispatch, exp};

pub(super) struct Attention {
    /// Batch, heads, length, width of a head.
    pub(super) dims: (usize, usize, usize, usize),
    /// `(batch, length)`: 0 at padding.
    pub(super) mask: Vec<f32>,
    pub(super) drop: Option<Dropout>,
}

impl Attention {
    pub(super) fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let (_, _, l, d) = self.dims;
        let mut y = Unwritten::new(q.len());
        y.room().par_chunks_mut(l * d).enumerate().for_each(|(head, y)| {
            let at = |x| Matrix::new(x_part(x, head, l * d), l, d);
            let mut scratch = Scratch::take(l * l);
            let weights = &mut scratch[..l * l];
            self.weights(head, at(q), at(k), weights);
            if let Some(drop) = self.drop {
                dispatch(Draws::new(drop, head * l * l, weights));
            }
            // SAFETY: the chunk has room for l · d values.
            unsafe { matmul_to(Matrix::new(weights, l, l), at(v), y.as_mut_ptr().cast(), Into::Replace) };
        });
        // SAFETY: every head wrote its chunk.
        unsafe { y.written() }
    }

    /// softmax(q kᵀ / √d) over the keys that count.
    fn weights(&self, head: usize, q: Matrix, k: Matrix, weights: &mut [f32]) {
        let (_, heads, l, d) = self.dims;
        matmul(q, k.t(), weights, Into::Replace);
        let mask = x_part(&self.mask, head / heads, l);
        dispatch(Softmax { weights, mask, scale: 1.0 / (d as f32).sqrt() });
    }

    pub(super) fn backward(&self, q: &[f32], k: &[f32], v: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let (b, heads, l, d) = self.dims;
        let mut outs = [(); 3].map(|()| Unwritten::new(q.len()));
        let to = outs.each_mut().map(|out| Shared(out.room().as_mut_ptr().cast()));
        (0..b * heads).into_par_iter().for_each(|head| {
            let at = |x| Matrix::new(x_part(x, head, l * d), l, d);
            // SAFETY: each output holds every head, and this task alone has this one.
            let out = |i: usize| unsafe { to[i].get().add(head * l * d) };
            let mut scratch = Scratch::take(3 * l * l);
            let (weights, rest) = scratch[..3 * l * l].split_at_mut(l * l);
            let (slopes, draws) = rest.split_at_mut(l * l);
            self.weights(head, at(q), at(k), weights);
            matmul(at(grad), at(v).t(), slopes, Into::Replace);
            // What v was multiplied by: the weights after dropout.
            draws.copy_from_slice(weights);
            if let Some(drop) = self.drop {
                dispatch(Draws::new(drop, head * l * l, draws));
                dispatch(Draws::new(drop, head * l * l, slopes));
            }
            // SAFETY: l · d values each.
            unsafe {
                matmul_to(Matrix::new(draws, l, l).t(), at(grad), out(2), Into::Replace);
                dispatch(SoftmaxGrad { weights, slopes, l, scale: 1.0 / (d as f32).sqrt() });
                matmul_to(Matrix::new(slopes, l, l), at(k), out(0), Into::Replace);
                matmul_to(Matrix::new(slopes, l, l).t(), at(q), out(1), Into::Replace);
            }
        });
        // SAFETY: every head wrote its part of all three.
        outs.map(|out| unsafe { out.written() })
    }
}

fn x_part(x: &[f32], index: usize, size: usize) -> &[f32] {
    &x[index * size..][..size]
}

struct Softmax<'a> {
    weights: &'a mut [f32],
    mask: &'a [f32],
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let l = self.mask.len();
        let scale = s.splat(self.scale);
        let lowest = s.splat(f32::MIN);
        for row in self.weights.chunks_mut(l) {
            let mut top = lowest;
            for at in (0..l).step_by(LANES) {
                let x = s.where_greater(
                    part(s, self.mask, at, 0.0),
                    s.zero(),
                    part(s, row, at, f32::MIN),
                    lowest,
                );
                top = s.max(top, x);
            }
            let top = s.splat(s.largest(top) * self.scale);
            let mut total = s.zero();
            let to = Shared(row.as_mut_ptr());
            for at in (0..l).step_by(LANES) {
                let e = exp(s, s.sub(s.mul(part(s, row, at, f32::MIN), scale), top));
                let e = s.where_greater(part(s, self.mask, at, 0.0), s.zero(), e, s.zero());
                total = s.add(total, e);
                // SAFETY: within the row, which this task alone has.
                unsafe { put(s, to, at, l - at, e) };
            }
            let total = s.sum(total);
            let gain = s.splat(if total > 0.0 { 1.0 / total } else { 0.0 });
            for at in (0..l).step_by(LANES) {
                let p = s.mul(part(s, row, at, 0.0), gain);
                // SAFETY: as above.
                unsafe { put(s, to, at, l - at, p) };
            }
        }
    }
}

/// slopes ← weights (slopes − Σ weights slopes) scale, row by row.
struct SoftmaxGrad<'a> {
    weights: &'a [f32],
    slopes: &'a mut [f32],
    l: usize,
    scale: f32,
}

impl Kernel for SoftmaxGrad<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scale = s.splat(self.scale);
        for (p, row) in self.weights.chunks(self.l).zip(self.slopes.chunks_mut(self.l)) {
            let mut total = s.zero();
            for at in (0..self.l).step_by(LANES) {
                total = s.fma(part(s, p, at, 0.0), part(s, row, at, 0.0), total);
            }
            let mean = s.splat(s.sum(total));
            let to = Shared(row.as_mut_ptr());
            for at in (0..self.l).step_by(LANES) {
                let p = s.mul(part(s, p, at, 0.0), scale);
                let ds = s.mul(p, s.sub(part(s, row, at, 0.0), mean));
                // SAFETY: within the row, which this task alone has.
                unsafe { put(s, to, at, self.l - at, ds) };
            }
        }
    }
}
