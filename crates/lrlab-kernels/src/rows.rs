//! Disjoint parts of a slice, each written by one thread.

#![allow(
    unsafe_code,
    reason = "a view of separate columns is not a slice; its constructors check that parts do not overlap"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::simd::{LANES, Simd};

/// A place for an f32, written before or not.
///
/// # Safety
/// The type has the layout of f32, and every f32 is a value of it.
pub(crate) unsafe trait Slot: Copy + Send + Sync {
    /// The place with `x` in it.
    fn of(x: f32) -> Self;
}

// SAFETY: the type itself.
unsafe impl Slot for f32 {
    fn of(x: f32) -> Self {
        x
    }
}

// SAFETY: `MaybeUninit` has the layout of what it holds.
unsafe impl Slot for MaybeUninit<f32> {
    fn of(x: f32) -> Self {
        Self::new(x)
    }
}

/// Writes the first lanes of `v` to `to`, at most sixteen.
#[inline(always)]
pub(crate) fn put<S: Simd, T: Slot>(s: S, to: &mut [T], v: S::V) {
    let place = to.as_mut_ptr().cast::<f32>();
    if to.len() >= LANES {
        // SAFETY: there are LANES places.
        unsafe { s.store(place, v) };
    } else {
        let mut lanes = [0.0; LANES];
        // SAFETY: an array of LANES values, of which as many are copied as there are places.
        unsafe {
            s.store(lanes.as_mut_ptr(), v);
            place.copy_from_nonoverlapping(lanes.as_ptr(), to.len());
        }
    }
}

/// Mutable rows of `columns` values, `stride` apart. Splitting by rows or columns gives parts that do not overlap,
/// which threads may write at the same time.
pub(crate) struct RowsMut<'a, T> {
    first: *mut T,
    rows: usize,
    stride: usize,
    columns: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: as a mutable slice; no two parts hold the same value.
unsafe impl<T: Send> Send for RowsMut<'_, T> {}

impl<'a, T> RowsMut<'a, T> {
    /// Contiguous rows. Values after the last whole row belong to no row.
    #[inline]
    pub(crate) fn new(data: &'a mut [T], columns: usize) -> Self {
        Self::with_stride(data, columns, columns)
    }

    /// The first `columns` of as many rows as `data` has room for.
    ///
    /// # Panics
    /// Panics if a row is wider than the stride.
    #[inline]
    pub(crate) fn with_stride(data: &'a mut [T], stride: usize, columns: usize) -> Self {
        assert!(columns <= stride, "rows of {columns} values {stride} apart overlap");
        let rows = if columns == 0 || data.len() < columns { 0 } else { (data.len() - columns) / stride + 1 };
        Self { first: data.as_mut_ptr(), rows, stride, columns, of: PhantomData }
    }

    /// The number of rows.
    #[inline]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a row.
    #[inline]
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// A row.
    ///
    /// # Panics
    /// Panics if there is no such row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows);
        // SAFETY: the row lies in the slice that the view came from, and this part alone holds it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.columns) }
    }

    /// All rows, in order.
    #[inline(always)]
    pub(crate) fn into_rows(self) -> impl Iterator<Item = &'a mut [T]> {
        let Self { first, rows, stride, columns, .. } = self;
        (0..rows).map(move |row| {
            // SAFETY: the row lies in the slice that the view came from, the view is gone, and no two rows overlap.
            unsafe { std::slice::from_raw_parts_mut(first.add(row * stride), columns) }
        })
    }

    /// Borrows the rows for a shorter lifetime.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> RowsMut<'_, T> {
        let Self { first, rows, stride, columns, .. } = *self;
        RowsMut { first, rows, stride, columns, of: PhantomData }
    }

    /// The address of the first value and the distance between rows, for kernels that check their bounds themselves.
    #[inline(always)]
    pub(crate) fn as_mut_ptr(&mut self) -> (*mut T, usize) {
        (self.first, self.stride)
    }

    /// The rows from `row` on.
    ///
    /// # Panics
    /// There are fewer rows.
    #[inline]
    pub(crate) fn skip_rows(self, row: usize) -> Self {
        assert!(row <= self.rows);
        Self { first: self.first.wrapping_add(row * self.stride), rows: self.rows - row, ..self }
    }

    /// Parts of `columns` each, of all rows; the last may be narrower.
    pub(crate) fn split_columns(self, columns: usize) -> Vec<Self> {
        (0..self.columns)
            .step_by(columns.max(1))
            .map(|at| Self {
                first: self.first.wrapping_add(at),
                columns: columns.min(self.columns - at),
                ..self
            })
            .collect()
    }

    /// Parts of `rows` each; the last may have fewer.
    pub(crate) fn split_rows(self, rows: usize) -> Vec<Self> {
        (0..self.rows)
            .step_by(rows.max(1))
            .map(|at| Self {
                first: self.first.wrapping_add(at * self.stride),
                rows: rows.min(self.rows - at),
                ..self
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn parts_cover_every_value_once() {
        for (rows, columns, across, down) in [(1, 1, 1, 1), (5, 7, 3, 2), (4, 32, 16, 4), (9, 10, 11, 1)] {
            let mut data = vec![0.0_f32; rows * columns];
            let bands = RowsMut::new(&mut data, columns).split_rows(down);
            let mut parts: Vec<_> = bands.into_iter().flat_map(|band| band.split_columns(across)).collect();
            assert_eq!(parts.len(), rows.div_ceil(down) * columns.div_ceil(across));
            parts.par_iter_mut().enumerate().for_each(|(i, part)| {
                for row in 0..part.rows() {
                    part.row(row).iter_mut().for_each(|v| *v += (i + 1) as f32);
                }
            });
            for (at, v) in data.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                let part = row / down * columns.div_ceil(across) + column / across;
                assert_eq!(*v, (part + 1) as f32, "{rows}×{columns}: row {row}, column {column}");
            }
        }
    }

    #[test]
    fn gaps_between_rows_are_unchanged() {
        let mut data = [0.0_f32; 11];
        let mut rows = RowsMut::with_stride(&mut data, 4, 3);
        assert_eq!((rows.rows(), rows.columns()), (3, 3));
        (0..3).for_each(|row| rows.row(row).fill(1.0));
        assert_eq!(data, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        let mut later = RowsMut::with_stride(&mut data, 4, 2).skip_rows(2);
        later.row(0).fill(2.0);
        assert_eq!(data[7..], [0.0, 2.0, 2.0, 1.0]);
        RowsMut::with_stride(&mut data, 4, 1).into_rows().for_each(|row| row.fill(3.0));
        assert_eq!(data, [3.0, 1.0, 1.0, 0.0, 3.0, 1.0, 1.0, 0.0, 3.0, 2.0, 1.0]);
        assert_eq!(RowsMut::with_stride(&mut data, 4, 3).skip_rows(3).rows(), 0);
        assert_eq!(RowsMut::new(&mut data[..2], 3).rows(), 0);
    }

    #[test]
    #[should_panic(expected = "rows of 5 values 4 apart overlap")]
    fn overlapping_rows_panic() {
        RowsMut::with_stride(&mut [0.0_f32; 11], 4, 5);
    }

    #[test]
    #[should_panic(expected = "row < self.rows")]
    fn a_row_beyond_the_last_panics() {
        RowsMut::new(&mut [0.0_f32; 6], 3).row(2);
    }
}
