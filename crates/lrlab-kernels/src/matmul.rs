//! Matrix products on one thread.

#![allow(unsafe_code, reason = "`gemm` takes addresses; the bounds are asserted here")]

use gemm::Parallelism;

/// A matrix in a slice: rows, columns, distance between rows and between columns.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row after row, without gaps.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, nothing moved.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// Whether a product replaces or joins what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Replace,
    Add,
}

/// out = a b or out += a b, `out` row after row without gaps.
pub(crate) fn matmul(a: Matrix, b: Matrix, out: &mut [f32], into: Into) {
    assert!(out.len() == a.rows * b.columns);
    // SAFETY: the room is asserted; with `Add` the values are there.
    unsafe { matmul_to(a, b, out.as_mut_ptr(), into) }
}

/// # Safety
/// `out` has room for `a.rows * b.columns` values, which are there already with [`Into::Add`].
pub(crate) unsafe fn matmul_to(a: Matrix, b: Matrix, out: *mut f32, into: Into) {
    assert!(a.columns == b.rows && a.fits() && b.fits());
    let n = b.columns;
    // SAFETY: both operands lie in their slices, asserted above; the caller vouches for the output.
    unsafe {
        gemm::gemm(
            a.rows,
            n,
            a.columns,
            out,
            1,
            n as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Adds the columns' sums of `x (rows, out.len())` to `out`.
pub(crate) fn add_columns(x: &[f32], out: &mut [f32]) {
    for row in x.chunks(out.len()) {
        for (o, v) in out.iter_mut().zip(row) {
            *o += v;
        }
    }
}
