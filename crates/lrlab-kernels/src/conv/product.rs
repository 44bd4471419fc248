//! Products of small matrices in blocks of sixteen columns, the innermost loops of a convolution.

#![allow(unsafe_code, reason = "loads by address in the innermost loops; the callers guarantee the bounds")]

use crate::microkernel::{Extent, Operands, Tiles, compute, strip};
use crate::simd::{LANES, Simd};

/// `out[block][row][16] = Σ over terms and k of x[row][k] · w[block][k][16]`, each term with its own offsets in x and
/// w.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Rows of x and out.
    pub(crate) rows: usize,
    /// Length of a term's sum.
    pub(crate) depth: usize,
    /// Blocks of sixteen columns of w and out.
    pub(crate) blocks: usize,
    /// Values between blocks of sixteen k of x, whose rows are sixteen values apart.
    pub(crate) x_block: usize,
    /// Values between blocks of w.
    pub(crate) w_block: usize,
    /// Values between blocks of out.
    pub(crate) out_block: usize,
    /// Values between rows of out.
    pub(crate) out_row: usize,
}

impl Product {
    /// # Safety
    /// Every address that the sizes and strides describe is valid.
    #[inline(always)]
    pub(crate) unsafe fn run<S: Simd>(
        &self,
        s: S,
        x: *const f32,
        w: *const f32,
        terms: &[(usize, usize)],
        out: *mut f32,
    ) {
        let extent = Extent { rows: self.rows, vectors: self.blocks, twelve: false };
        // SAFETY: guaranteed by the caller.
        unsafe { compute(s, &mut Sums { product: self, x, w, terms, out }, extent) };
    }
}

struct Sums<'a> {
    product: &'a Product,
    x: *const f32,
    w: *const f32,
    terms: &'a [(usize, usize)],
    out: *mut f32,
}

impl Tiles for Sums<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, row: usize, block: usize) {
        let Product { depth, x_block, w_block, out_block, out_row, .. } = *self.product;
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: guaranteed by the caller of `run`.
        unsafe {
            let (x, w) = (self.x.add(row * LANES), self.w.add(block * w_block));
            for (x_at, w_at) in self.terms {
                let mut operands = Operands {
                    left: x.add(*x_at),
                    row: LANES,
                    left_step: 1,
                    right: w.add(*w_at),
                    vector: w_block,
                    right_step: LANES,
                };
                let mut left = depth;
                while left > 0 {
                    let count = left.min(LANES);
                    operands.accumulate::<S, false, R, V>(s, count, &mut sums);
                    left -= count;
                    operands.left = operands.left.wrapping_add(x_block);
                    operands.right = operands.right.wrapping_add(count * LANES);
                }
            }
            let out = self.out.add(row * out_row + block * out_block);
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store(out.add(v * out_block + r * out_row), *sum);
                }
            }
        }
    }
}

/// `out[k][16] = Σ over rows of x[row][k] · y[row][16]` for the first `width` (at most sixteen) k, added to what is there
/// if `add`; rows of x and y are sixteen values apart.
///
/// # Safety
/// Every address that the sizes describe is valid.
#[inline(always)]
pub(crate) unsafe fn outer<S: Simd>(
    s: S,
    x: *const f32,
    y: *const f32,
    rows: usize,
    width: usize,
    add: bool,
    out: *mut f32,
) {
    let extent = Extent { rows: width, vectors: 1, twelve: false };
    // SAFETY: guaranteed by the caller.
    unsafe { strip::<S, _, 1>(s, &mut Outer { x, y, rows, add, out }, extent, 0) };
}

struct Outer {
    x: *const f32,
    y: *const f32,
    rows: usize,
    add: bool,
    out: *mut f32,
}

impl Tiles for Outer {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, k: usize, _: usize) {
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: guaranteed by the caller of `outer`.
        unsafe {
            let out = self.out.add(k * LANES);
            if self.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    sums[0] = s.load(out.add(r * LANES));
                }
            }
            let operands = Operands {
                left: self.x.add(k),
                row: 1,
                left_step: LANES,
                right: self.y,
                vector: 0,
                right_step: LANES,
            };
            operands.accumulate::<S, false, R, V>(s, self.rows, &mut sums);
            for (r, sums) in sums.iter().enumerate() {
                s.store(out.add(r * LANES), sums[0]);
            }
        }
    }
}
