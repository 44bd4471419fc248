//! Packing of operands into panels, in f32 or in pairs of bf16.

use super::layout::{PANEL, Rows};
use crate::Precision;
use crate::precision::packed_rows;
use crate::rows::put;
use crate::simd::{Kernel, LANES, Simd, dispatch, dispatch_bf16, part, vectors};

/// Packs the matrix (k, n) with rows `stride` apart into panels of `W` columns, zeros beyond n. In bf16 two rows become
/// one, with zeros beyond k.
pub(crate) fn pack<const W: usize>(
    precision: Precision,
    from: &[f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &mut [f32],
) {
    match precision {
        Precision::F32 => dispatch(Pack::<W, false> { from, stride, k, n, to }),
        Precision::Bf16 => dispatch_bf16(Pack::<W, true> { from, stride, k, n, to }),
    }
}

struct Pack<'a, const W: usize, const PAIRS: bool> {
    from: &'a [f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &'a mut [f32],
}

impl<const W: usize, const PAIRS: bool> Kernel for Pack<'_, W, PAIRS> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, stride, k, n, to } = self;
        let depth = if PAIRS { packed_rows(Precision::Bf16, k) } else { k };
        for (panel, to) in to.chunks_mut(depth * W).take(n.div_ceil(W)).enumerate() {
            let column = panel * W;
            let count = W.min(n - column);
            for (row, to) in to.chunks_exact_mut(W).enumerate() {
                if PAIRS {
                    let first = &from[2 * row * stride + column..][..count];
                    let second =
                        if 2 * row + 1 < k { &from[(2 * row + 1) * stride + column..][..count] } else { &[] };
                    for (at, to) in to.chunks_exact_mut(LANES).enumerate() {
                        put(s, to, s.pair(sixteen(s, first, at * LANES), sixteen(s, second, at * LANES)));
                    }
                } else {
                    let from = &from[row * stride + column..][..count];
                    for (at, to) in to.chunks_exact_mut(LANES).enumerate() {
                        put(s, to, sixteen(s, from, at * LANES));
                    }
                }
            }
        }
    }
}

/// Sixteen values from x[at] on, zeros beyond the end.
#[inline(always)]
fn sixteen<S: Simd>(s: S, x: &[f32], at: usize) -> S::V {
    if at < x.len() { part(s, x, at, 0.0) } else { s.zero() }
}

/// Packs the transpose of the matrix (n, k) with rows `stride` apart into panels of [`PANEL`] columns, as [`pack`].
pub(crate) fn pack_transposed(
    precision: Precision,
    from: &[f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &mut [f32],
) {
    match precision {
        Precision::F32 => dispatch(PackTransposed::<false> { from, stride, k, n, to }),
        Precision::Bf16 => dispatch_bf16(PackTransposed::<true> { from, stride, k, n, to }),
    }
}

struct PackTransposed<'a, const PAIRS: bool> {
    from: &'a [f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &'a mut [f32],
}

impl<const PAIRS: bool> Kernel for PackTransposed<'_, PAIRS> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, stride, k, n, to } = self;
        let depth = if PAIRS { packed_rows(Precision::Bf16, k) } else { k };
        for column in (0..n.next_multiple_of(PANEL)).step_by(LANES) {
            let to = &mut to[column / PANEL * depth * PANEL + column % PANEL..];
            for row in (0..depth).step_by(LANES) {
                let count = (depth - row).min(LANES);
                let lines = vectors(s, |i| match column + i {
                    line if line >= n => s.zero(),
                    line if PAIRS => neighbours(s, &from[line * stride..][..k], 2 * row),
                    line => s.load_partial(&from[line * stride + row..][..count], 0.0),
                });
                for (i, v) in s.transpose(lines).into_iter().take(count).enumerate() {
                    let to = &mut to[(row + i) * PANEL..][..LANES];
                    put(s, to, v);
                }
            }
        }
    }
}

/// Sixteen pairs from x[at] on, zeros beyond the end.
#[inline(always)]
fn neighbours<S: Simd>(s: S, x: &[f32], at: usize) -> S::V {
    s.pair_neighbours(part(s, x, at, 0.0), sixteen(s, x, at + LANES))
}

/// Rows in pairs, each padded to whole vectors.
pub(super) fn pair_rows(from: Rows, rows: usize, to: &mut [f32]) {
    dispatch_bf16(PairRows { from, rows, to });
}

struct PairRows<'a> {
    from: Rows<'a>,
    rows: usize,
    to: &'a mut [f32],
}

impl Kernel for PairRows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { data, stride, columns } = self.from;
        let pitch = packed_rows(Precision::Bf16, columns).next_multiple_of(LANES);
        for (row, to) in self.to.chunks_exact_mut(pitch).take(self.rows).enumerate() {
            let from = &data[row * stride..][..columns];
            for (at, to) in to.chunks_exact_mut(LANES).enumerate() {
                put(s, to, neighbours(s, from, 2 * LANES * at));
            }
        }
    }
}
