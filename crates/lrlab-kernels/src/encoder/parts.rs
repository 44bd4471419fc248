//! The operations between a layer's products, on rows or on a product in registers.

use rayon::prelude::*;

use super::layer::Dims;
use crate::buffer::Buffer;
use crate::dropout::Bits;
use crate::product::{Finish, sums_len};
use crate::rows::{RowsMut, Slot, put};
use crate::simd::{Kernel, LANES, Simd, erf_parts, part, starts};

/// Sums of the parameters' gradients, rows padded to whole vectors.
pub(super) struct Sums {
    /// Weight and bias.
    pub(super) maps: [(Buffer, Buffer); 4],
    /// Scale and shift, one after the other.
    pub(super) norms: [Buffer; 2],
}

impl Sums {
    pub(super) fn zeros(dims: Dims) -> Self {
        let maps = dims.maps().map(|(out, inputs)| {
            let [weight, bias] = sums_len(out, inputs).map(Buffer::zeros);
            (weight, bias)
        });
        Self { maps, norms: [(); 2].map(|()| Buffer::zeros(2 * dims.w.next_multiple_of(LANES))) }
    }
}

/// The parts' sum, in the order of the packed parameters.
pub(super) fn total(dims: Dims, parts: &[Sums]) -> Vec<f32> {
    let len = dims.shapes().iter().map(|shape| shape.iter().product::<usize>()).sum();
    let mut grads = vec![0.0; len];
    let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
    let mut rest = grads.as_mut_slice();
    for (i, (out, inputs)) in dims.maps().into_iter().enumerate() {
        let (weight, after) = rest.split_at_mut(out * inputs);
        let (bias, after) = after.split_at_mut(out);
        rest = after;
        let pitch = inputs.next_multiple_of(LANES);
        weight.par_chunks_mut(inputs).enumerate().for_each(|(row, to)| {
            for part in parts {
                add(to, &part.maps[i].0[row * pitch..][..inputs]);
            }
        });
        for part in parts {
            add(bias, &part.maps[i].1[..out]);
        }
    }
    let padded = dims.w.next_multiple_of(LANES);
    for (i, to) in rest.chunks_mut(dims.w).enumerate() {
        for part in parts {
            add(to, &part.norms[i / 2][i % 2 * padded..][..dims.w]);
        }
    }
    grads
}

/// Writes the product, plus a bias, after dropout, plus what is at `base`.
pub(super) struct Residual<'a, T> {
    pub(super) to: RowsMut<'a, T>,
    pub(super) base: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    /// The draws, the first element's place among them, and the gain of kept elements.
    pub(super) bits: Option<(&'a Bits, usize, f32)>,
}

impl<T: Slot> Finish for Residual<'_, T> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let at = row * self.to.columns() + column;
        let mut v = v;
        if let Some(bias) = self.bias {
            v = s.add(v, part(s, bias, column, 0.0));
        }
        if let Some((bits, start, gain)) = self.bits {
            v = s.keep(bits.at(start + at), s.mul(v, s.splat(gain)));
        }
        v = s.add(v, part(s, self.base, at, 0.0));
        put(s, &mut self.to.row(row)[column..], v);
    }
}

/// Writes the product plus a bias, and its activation.
pub(super) struct Activated<'a> {
    pub(super) inner: &'a mut [f32],
    pub(super) to: &'a mut [f32],
    pub(super) columns: usize,
    pub(super) bias: &'a [f32],
    pub(super) gelu: bool,
}

impl Finish for Activated<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let v = s.add(v, part(s, self.bias, column, 0.0));
        let (at, left) = (row * self.columns + column, self.columns - column);
        put(s, &mut self.inner[at..][..left], v);
        put(s, &mut self.to[at..][..left], activation(s, self.gelu, v));
    }
}

#[inline(always)]
fn activation<S: Simd>(s: S, gelu: bool, x: S::V) -> S::V {
    if gelu { s.mul(x, erf_parts(s, x).0) } else { s.max(s.zero(), x) }
}

/// Writes the product times the activation's slope.
pub(super) struct Slope<'a> {
    pub(super) inner: &'a [f32],
    pub(super) to: &'a mut [f32],
    pub(super) columns: usize,
    pub(super) gelu: bool,
}

impl Finish for Slope<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let (at, left) = (row * self.columns + column, self.columns - column);
        let x = part(s, self.inner, at, 0.0);
        let v = if self.gelu {
            let (distribution, density) = erf_parts(s, x);
            s.mul(s.fma(x, density, distribution), v)
        } else {
            s.where_greater(x, s.zero(), v, s.zero())
        };
        put(s, &mut self.to[at..][..left], v);
    }
}

/// to ← activation of `inner`.
pub(super) struct Activate<'a> {
    pub(super) inner: &'a [f32],
    pub(super) gelu: bool,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.inner.len();
        let to = &mut self.to[..len];
        for at in starts(len) {
            let y = activation(s, self.gelu, part(s, self.inner, at, 0.0));
            put(s, &mut to[at..], y);
        }
    }
}

/// to ← grad times the gain where dropout keeps the element, else 0.
pub(super) struct Dropped<'a> {
    pub(super) grad: &'a [f32],
    pub(super) bits: &'a Bits,
    pub(super) start: usize,
    pub(super) gain: f32,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Dropped<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.grad.len();
        let to = &mut self.to[..len];
        let gain = s.splat(self.gain);
        for at in starts(len) {
            let y = s.keep(self.bits.at(self.start + at), s.mul(part(s, self.grad, at, 0.0), gain));
            put(s, &mut to[at..], y);
        }
    }
}

/// to ← normed · scale + shift.
pub(super) struct ScaleShift<'a> {
    pub(super) normed: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) to: &'a mut [f32],
}

impl Kernel for ScaleShift<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.scale.len();
        let shift = &self.shift[..d];
        for (i, row) in self.normed.chunks(d).enumerate() {
            let (row, to) = (&row[..d], &mut self.to[i * d..][..d]);
            for at in starts(d) {
                let y = s.fma(part(s, row, at, 0.0), part(s, self.scale, at, 0.0), part(s, shift, at, 0.0));
                put(s, &mut to[at..], y);
            }
        }
    }
}
