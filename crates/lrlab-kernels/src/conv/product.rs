//! Products of small matrices in blocks of sixteen columns, the innermost loops of a convolution.

#![allow(unsafe_code, reason = "loads by address in the innermost loops; the callers guarantee the bounds")]

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
        let mut block = 0;
        // SAFETY: guaranteed by the caller.
        unsafe {
            while block < self.blocks {
                let (w, out) = (w.add(block * self.w_block), out.add(block * self.out_block));
                if S::TILE >= 16 && block + 2 <= self.blocks {
                    self.strip::<S, 2>(s, x, w, terms, out);
                    block += 2;
                } else {
                    self.strip::<S, 1>(s, x, w, terms, out);
                    block += 1;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn strip<S: Simd, const B: usize>(
        &self,
        s: S,
        x: *const f32,
        w: *const f32,
        terms: &[(usize, usize)],
        out: *mut f32,
    ) {
        let mut row = 0;
        while row < self.rows {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let (x, out) = (x.add(row * LANES), out.add(row * self.out_row));
                row += match self.rows - row {
                    16.. if B == 1 && S::TILE >= 16 => self.tile::<S, B, 16>(s, x, w, terms, out),
                    8.. if S::TILE >= 16 => self.tile::<S, B, 8>(s, x, w, terms, out),
                    4.. => self.tile::<S, B, 4>(s, x, w, terms, out),
                    2.. => self.tile::<S, B, 2>(s, x, w, terms, out),
                    _ => self.tile::<S, B, 1>(s, x, w, terms, out),
                };
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const B: usize, const P: usize>(
        &self,
        s: S,
        x: *const f32,
        w: *const f32,
        terms: &[(usize, usize)],
        out: *mut f32,
    ) -> usize {
        let mut sums = [[s.zero(); P]; B];
        // SAFETY: guaranteed by the caller.
        unsafe {
            for (x_at, w_at) in terms {
                let (mut x, mut w, mut left) = (x.add(*x_at), w.add(*w_at), self.depth);
                while left > 0 {
                    let count = left.min(LANES);
                    for k in 0..count {
                        let mut columns = [s.zero(); B];
                        for (b, column) in columns.iter_mut().enumerate() {
                            *column = s.load(w.add(b * self.w_block));
                        }
                        #[expect(clippy::needless_range_loop, reason = "two indices, unrolled in registers")]
                        for p in 0..P {
                            let value = s.splat(*x.add(p * LANES + k));
                            for b in 0..B {
                                sums[b][p] = s.fma(columns[b], value, sums[b][p]);
                            }
                        }
                        w = w.add(LANES);
                    }
                    left -= count;
                    x = x.wrapping_add(self.x_block);
                }
            }
            for (b, sums) in sums.iter().enumerate() {
                for (p, sum) in sums.iter().enumerate() {
                    s.store(out.add(b * self.out_block + p * self.out_row), *sum);
                }
            }
        }
        P
    }
}

/// `out[k][16] += Σ over rows of x[row][k] · y[row][16]` for the first `width` (at most sixteen) k; rows of both are
/// sixteen values apart.
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
    out: *mut f32,
) {
    let mut k = 0;
    // SAFETY: guaranteed by the caller.
    unsafe {
        while k < width {
            let (x, out) = (x.add(k), out.add(k * LANES));
            k += match width - k {
                16.. if S::TILE >= 16 => outer_tile::<S, 16>(s, x, y, rows, out),
                8.. if S::TILE >= 16 => outer_tile::<S, 8>(s, x, y, rows, out),
                4.. => outer_tile::<S, 4>(s, x, y, rows, out),
                2.. => outer_tile::<S, 2>(s, x, y, rows, out),
                _ => outer_tile::<S, 1>(s, x, y, rows, out),
            };
        }
    }
}

#[inline(always)]
unsafe fn outer_tile<S: Simd, const K: usize>(
    s: S,
    x: *const f32,
    y: *const f32,
    rows: usize,
    out: *mut f32,
) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [s.zero(); K];
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = s.load(out.add(k * LANES));
        }
        for row in 0..rows {
            let y = s.load(y.add(row * LANES));
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = s.fma(s.splat(*x.add(row * LANES + k)), y, *sum);
            }
        }
        for (k, sum) in sums.into_iter().enumerate() {
            s.store(out.add(k * LANES), sum);
        }
    }
    K
}
