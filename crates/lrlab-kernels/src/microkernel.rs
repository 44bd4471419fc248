//! The micro-kernel of every matrix product on the CPU: a tile of rows of the left operand times vectors of sixteen columns
//! of the right one, whose sums stay in registers. Each sum is taken in the order of k.

#![allow(unsafe_code, reason = "loads by address in the innermost loop; the callers guarantee the bounds")]

use crate::simd::{Simd, vectors};

/// The operands of a product: element (row, k) of the left one, and sixteen columns of row k of the right one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) left: *const f32,
    /// Values between rows of the left operand.
    pub(crate) row: usize,
    /// Values between columns of the left operand.
    pub(crate) left_step: usize,
    pub(crate) right: *const f32,
    /// Values between vectors of sixteen columns of the right operand.
    pub(crate) vector: usize,
    /// Values between rows of the right operand.
    pub(crate) right_step: usize,
}

impl Operands {
    /// Adds the first `depth` products of R rows and V vectors to `sums`. With `PAIRS` each value is a pair of bf16, and
    /// each product the sum of two.
    ///
    /// # Safety
    /// Every address that the strides describe is valid.
    #[inline(always)]
    pub(crate) unsafe fn accumulate<S: Simd, const PAIRS: bool, const R: usize, const V: usize>(
        self,
        s: S,
        depth: usize,
        sums: &mut [[S::V; V]; R],
    ) {
        let (mut left, mut right) = (self.left, self.right);
        for _ in 0..depth {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let columns: [S::V; V] = vectors(s, |v| s.load(right.add(v * self.vector)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = s.splat(*left.add(r * self.row));
                    for (sum, columns) in sums.iter_mut().zip(columns) {
                        *sum = if PAIRS {
                            s.dot_pairs(value, columns, *sum)
                        } else {
                            s.fma(value, columns, *sum)
                        };
                    }
                }
            }
            left = left.wrapping_add(self.left_step);
            right = right.wrapping_add(self.right_step);
        }
    }
}

/// A product that is computed tile by tile.
pub(crate) trait Tiles {
    /// Computes R rows from `row` on of V vectors from `vector` on.
    ///
    /// # Safety
    /// The product has these rows and vectors.
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, row: usize, vector: usize);
}

/// The rows and vectors of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) vectors: usize,
    /// Whether a tile may have twelve rows. If not, a tile lies within sixteen rows that begin at a multiple of sixteen.
    pub(crate) twelve: bool,
}

/// Computes all tiles, as large as the registers of the SIMD level allow, two vectors after another.
///
/// # Safety
/// The product has the rows and vectors of `extent`.
#[inline(always)]
pub(crate) unsafe fn compute<S: Simd, T: Tiles>(s: S, product: &mut T, extent: Extent) {
    let mut vector = 0;
    while vector < extent.vectors {
        // SAFETY: the tiles lie within the extent.
        unsafe {
            if S::TILE >= 16 && vector + 2 <= extent.vectors {
                strip::<S, T, 2>(s, product, extent, vector);
                vector += 2;
            } else {
                strip::<S, T, 1>(s, product, extent, vector);
                vector += 1;
            }
        }
    }
}

/// Computes all rows of V vectors.
///
/// # Safety
/// As for [`compute`].
#[inline(always)]
pub(crate) unsafe fn strip<S: Simd, T: Tiles, const V: usize>(
    s: S,
    product: &mut T,
    extent: Extent,
    vector: usize,
) {
    let mut row = 0;
    while row < extent.rows {
        let left = extent.rows - row;
        // SAFETY: a tile has at most the rows that are left.
        unsafe {
            row += match left {
                16.. if V == 1 && S::TILE >= 16 => tile::<S, T, 16, V>(s, product, row, vector),
                12.. if V == 2 && extent.twelve && left != 16 => tile::<S, T, 12, V>(s, product, row, vector),
                8.. if S::TILE >= 16 => tile::<S, T, 8, V>(s, product, row, vector),
                4.. => tile::<S, T, 4, V>(s, product, row, vector),
                2.. => tile::<S, T, 2, V>(s, product, row, vector),
                _ => tile::<S, T, 1, V>(s, product, row, vector),
            };
        }
    }
}

/// Computes a tile and returns its number of rows.
#[inline(always)]
unsafe fn tile<S: Simd, T: Tiles, const R: usize, const V: usize>(
    s: S,
    product: &mut T,
    row: usize,
    vector: usize,
) -> usize {
    // SAFETY: guaranteed by the caller.
    unsafe { product.tile::<S, R, V>(s, row, vector) };
    R
}
