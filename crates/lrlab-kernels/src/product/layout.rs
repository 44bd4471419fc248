//! The memory layout of operands.

use crate::Precision;
use crate::precision::packed_rows;
use crate::simd::LANES;

/// Columns of a panel of the right-hand matrix.
pub(crate) const PANEL: usize = 2 * LANES;

/// Room for a matrix (k, n) in panels of `width` columns.
pub(crate) fn packed_len(precision: Precision, k: usize, n: usize, width: usize) -> usize {
    n.div_ceil(width) * packed_rows(precision, k) * width
}

/// Rows `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) columns: usize,
}

impl<'a> Rows<'a> {
    /// Without gaps.
    pub(crate) fn new(data: &'a [f32], columns: usize) -> Self {
        Self { data, stride: columns, columns }
    }
}
