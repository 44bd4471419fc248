//! Single-threaded matrix products of packed operands, with an operation on the result while it is in registers.
//!
//! The order of every sum is that of k, for all sizes and SIMD levels. In bf16 two neighbours in k are stored in the
//! place of one f32, so that the same loops run over half as many places.

#![allow(
    unsafe_code,
    reason = "loads by address in the innermost loop; bounds are asserted once per product"
)]

mod layout;
mod pack;

use crate::Precision;
use crate::buffer::Buffer;
use crate::microkernel::{Extent, Operands, Tiles, compute};
use crate::precision::packed_rows;
use crate::rows::{RowsMut, Slot, put};
use crate::simd::{Kernel, LANES, Simd, dispatch, dispatch_bf16, part};
pub(crate) use layout::{PANEL, Rows, packed_len};
pub(crate) use pack::{pack, pack_transposed};

/// A left-hand matrix: element (r, k) is at (r / 16) `block` + (r mod 16) `row` + k `step`; where it is paired,
/// elements (r, 2k) and (r, 2k + 1).
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    data: &'a [f32],
    block: usize,
    row: usize,
    step: usize,
    paired: bool,
}

impl<'a> Left<'a> {
    /// Row after row, `stride` apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, block: LANES * stride, row: stride, step: 1, paired: false }
    }

    /// The transpose of a matrix (k, rows) in panels of sixteen columns (see [`pack()`]).
    pub(crate) fn transposed(data: &'a [f32], precision: Precision, k: usize) -> Self {
        let (block, paired) = (LANES * packed_rows(precision, k), precision == Precision::Bf16);
        Self { data, block, row: 1, step: LANES, paired }
    }

    #[inline(always)]
    fn at(&self, row: usize) -> usize {
        row / LANES * self.block + row % LANES * self.row
    }

    /// In pairs, in `to`, where it is not already.
    fn pair(self, rows: usize, k: usize, to: &'a mut Option<Buffer>) -> Self {
        if self.paired {
            return self;
        }
        let depth = packed_rows(Precision::Bf16, k);
        if self.step == 1 {
            let pitch = depth.next_multiple_of(LANES);
            let to = to.insert(Buffer::take(rows * pitch));
            pack::pair_rows(Rows { data: self.data, stride: self.row, columns: k }, rows, to);
            return Self { paired: true, ..Self::rows(to, pitch) };
        }
        let to = to.insert(Buffer::take(packed_len(Precision::Bf16, k, rows, LANES)));
        for (from, to) in self.data.chunks(self.block).zip(to.chunks_mut(LANES * depth)) {
            pack::<LANES>(Precision::Bf16, from, LANES, k, LANES, to);
        }
        Self::transposed(to, Precision::Bf16, k)
    }
}

/// A right-hand matrix (k, n) in panels of [`PANEL`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) precision: Precision,
}

/// An operation on the product.
pub(crate) trait Finish {
    /// Receives sixteen columns of a row; `column` is a multiple of sixteen. The implementation ignores columns beyond
    /// the matrix.
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V);
}

/// Computes left (rows, k) · right (k, n) and passes it to `finish` sixteen columns at a time. The left-hand matrix is
/// converted to the precision of the right-hand one.
pub(crate) fn product<F: Finish>(rows: usize, left: Left, right: Right, finish: &mut F) {
    if rows == 0 || right.k == 0 || right.n == 0 {
        return;
    }
    let (precision, k) = (right.precision, right.k);
    let mut pairs = None;
    let left = if precision == Precision::Bf16 { left.pair(rows, k, &mut pairs) } else { left };
    let depth = packed_rows(precision, k);
    assert!(left.paired == (precision == Precision::Bf16));
    assert!(packed_len(precision, k, right.n, PANEL) <= right.data.len());
    assert!(left.at(rows - 1) + (depth - 1) * left.step < left.data.len());
    match precision {
        Precision::F32 => dispatch(Product::<_, false> { rows, left, right, depth, finish }),
        Precision::Bf16 => dispatch_bf16(Product::<_, true> { rows, left, right, depth, finish }),
    }
}

struct Product<'a, F, const PAIRS: bool> {
    rows: usize,
    left: Left<'a>,
    right: Right<'a>,
    /// Length of the sums, in values or pairs.
    depth: usize,
    finish: &'a mut F,
}

impl<F: Finish, const PAIRS: bool> Kernel for Product<'_, F, PAIRS> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        // A tile of a transposed matrix must not cross its panels of sixteen.
        let twelve = self.left.step == 1;
        let extent = Extent { rows: self.rows, vectors: self.right.n.div_ceil(LANES), twelve };
        // SAFETY: `product` asserted the bounds of both operands.
        unsafe { compute(s, &mut self, extent) };
    }
}

impl<F: Finish, const PAIRS: bool> Tiles for Product<'_, F, PAIRS> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(&mut self, s: S, row: usize, vector: usize) {
        let Left { data, row: stride, step, .. } = self.left;
        let column = vector * LANES;
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: the rows and the panel lie in the operands.
        unsafe {
            let operands = Operands {
                left: data.as_ptr().add(self.left.at(row)),
                row: stride,
                left_step: step,
                right: self.right.data.as_ptr().add(column / PANEL * PANEL * self.depth + column % PANEL),
                vector: LANES,
                right_step: PANEL,
            };
            operands.accumulate::<S, PAIRS, R, V>(s, self.depth, &mut sums);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                self.finish.put(s, row + r, column + v * LANES, *sum);
            }
        }
    }
}

/// Writes the product, plus a bias where there is one.
pub(crate) struct Store<'a, T> {
    to: RowsMut<'a, T>,
    bias: Option<&'a [f32]>,
}

impl<'a, T: Slot> Store<'a, T> {
    /// `to` has the rows and columns of the product.
    pub(crate) fn new(to: RowsMut<'a, T>, bias: Option<&'a [f32]>) -> Self {
        Self { to, bias }
    }
}

impl<T: Slot> Finish for Store<'_, T> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let v = match self.bias {
            Some(bias) => s.add(v, part(s, bias, column, 0.0)),
            None => v,
        };
        put(s, &mut self.to.row(row)[column..], v);
    }
}

/// Adds the product to rows of a multiple of sixteen values.
pub(crate) struct Add<'a> {
    to: &'a mut [f32],
    stride: usize,
}

impl<'a> Add<'a> {
    /// Rows `stride` apart.
    pub(crate) fn new(to: &'a mut [f32], stride: usize) -> Self {
        Self { to, stride }
    }
}

impl Finish for Add<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let to = &mut self.to[row * self.stride + column..][..LANES];
        put(s, to, s.add(part(s, to, 0, 0.0), v));
    }
}

/// Room for the sums of [`accumulate`]: of the weight's gradient, and of the bias's.
pub(crate) fn sums_len(outputs: usize, inputs: usize) -> [usize; 2] {
    [outputs * inputs.next_multiple_of(LANES), outputs.next_multiple_of(LANES)]
}

/// Adds the gradients of an affine map from `k` rows: dyᵀ x to `weight`, rows padded to a multiple of sixteen, and the
/// columns' sums of dy to `bias` where there is one, padded likewise.
pub(crate) fn accumulate(
    precision: Precision,
    k: usize,
    dy: Rows,
    x: Rows,
    weight: &mut [f32],
    bias: Option<&mut [f32]>,
) {
    let mut left = Buffer::take(packed_len(precision, k, dy.columns, LANES));
    pack::<LANES>(precision, dy.data, dy.stride, k, dy.columns, &mut left);
    let mut right = Buffer::take(packed_len(precision, k, x.columns, PANEL));
    pack::<PANEL>(precision, x.data, x.stride, k, x.columns, &mut right);
    let right = Right { data: &right, k, n: x.columns, precision };
    let pitch = x.columns.next_multiple_of(LANES);
    let left = Left::transposed(&left, precision, k);
    product(dy.columns, left, right, &mut Add::new(weight, pitch));
    if let Some(to) = bias {
        dispatch(AddColumns { rows: dy, k, to });
    }
}

/// Adds the columns' sums of `k` rows.
struct AddColumns<'a> {
    rows: Rows<'a>,
    k: usize,
    to: &'a mut [f32],
}

impl Kernel for AddColumns<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { data, stride, columns } = self.rows;
        for (at, to) in (0..columns).step_by(LANES).zip(self.to.chunks_exact_mut(LANES)) {
            let count = (columns - at).min(LANES);
            let mut total = s.zero();
            for row in 0..self.k {
                total = s.add(total, part(s, &data[row * stride + at..][..count], 0, 0.0));
            }
            put(s, to, s.add(part(s, to, 0, 0.0), total));
        }
    }
}

#[cfg(test)]
mod tests;
