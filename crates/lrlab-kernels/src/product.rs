//! Matrix products over packed operands, on one thread, with what is done to the result while it is in registers.
//!
//! The order of every sum is that of k, whatever the sizes: bits depend on the SIMD level alone.

#![allow(
    unsafe_code,
    reason = "loads by address in the innermost loop; bounds are asserted once per product"
)]

use crate::buffer::Buffer;
use crate::host::Shared;
use crate::norm::{part, put};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Columns of a panel of the right-hand matrix.
pub(crate) const PANEL: usize = 2 * LANES;

/// A left-hand matrix: element (r, k) is at (r / 16) `block` + (r mod 16) `row` + k `step`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    data: &'a [f32],
    block: usize,
    row: usize,
    step: usize,
}

impl<'a> Left<'a> {
    /// Row after row, `stride` apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, block: LANES * stride, row: stride, step: 1 }
    }

    /// The transpose of a matrix (k, rows) in panels of sixteen columns (see [`pack`]).
    pub(crate) fn transposed(data: &'a [f32], k: usize) -> Self {
        Self { data, block: LANES * k, row: 1, step: LANES }
    }

    #[inline(always)]
    fn at(&self, row: usize) -> usize {
        row / LANES * self.block + row % LANES * self.row
    }
}

/// A right-hand matrix (k, n) in panels of [`PANEL`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) k: usize,
    pub(crate) n: usize,
}

/// Room for a matrix (k, n) in panels of `width` columns.
pub(crate) fn packed_len(k: usize, n: usize, width: usize) -> usize {
    n.div_ceil(width) * k * width
}

/// What becomes of the product.
pub(crate) trait Finish {
    /// Takes sixteen columns of a row, `column` a multiple of sixteen. Those beyond the matrix are to be left out.
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V);
}

/// left (rows, k) · right (k, n), handed to `finish` sixteen columns at a time.
pub(crate) fn product<F: Finish>(rows: usize, left: Left, right: Right, finish: &mut F) {
    if rows == 0 || right.k == 0 || right.n == 0 {
        return;
    }
    assert!(packed_len(right.k, right.n, PANEL) <= right.data.len());
    assert!(left.at(rows - 1) + (right.k - 1) * left.step < left.data.len());
    dispatch(Product { rows, left, right, finish });
}

struct Product<'a, F> {
    rows: usize,
    left: Left<'a>,
    right: Right<'a>,
    finish: &'a mut F,
}

impl<F: Finish> Kernel for Product<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Right { data, k, n } = self.right;
        for panel in 0..n.div_ceil(PANEL) {
            let column = panel * PANEL;
            let vectors = if n - column > LANES { 2 } else { 1 };
            // SAFETY: the panel lies in the packed matrix, as `product` asserted.
            unsafe {
                let b = data.as_ptr().add(panel * k * PANEL);
                if S::TILE >= 16 && vectors == 2 {
                    self.panel::<S, 2>(s, b, column);
                } else {
                    for v in 0..vectors {
                        self.panel::<S, 1>(s, b.add(v * LANES), column + v * LANES);
                    }
                }
            }
        }
    }
}

impl<F: Finish> Product<'_, F> {
    /// # Safety
    /// `b` points at a panel of k rows.
    #[inline(always)]
    unsafe fn panel<S: Simd, const V: usize>(&mut self, s: S, b: *const f32, column: usize) {
        // A tile of a transposed matrix must not cross its panels of sixteen.
        let twelve = S::TILE >= 16 && self.left.step == 1;
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            // SAFETY: as the caller says; the tile's rows are there.
            unsafe {
                row += match left {
                    12.. if twelve && left != 16 => self.tile::<S, 12, V>(s, b, row, column),
                    8.. if S::TILE >= 16 => self.tile::<S, 8, V>(s, b, row, column),
                    4.. => self.tile::<S, 4, V>(s, b, row, column),
                    2.. => self.tile::<S, 2, V>(s, b, row, column),
                    _ => self.tile::<S, 1, V>(s, b, row, column),
                };
            }
        }
    }

    /// R rows times V vectors of columns.
    ///
    /// # Safety
    /// `b` points at k rows of a panel; the rows are within the left-hand matrix.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        s: S,
        b: *const f32,
        row: usize,
        column: usize,
    ) -> usize {
        let Left { data, row: stride, step, .. } = self.left;
        let mut sums = [[s.zero(); V]; R];
        // SAFETY: `product` asserted the bounds of both operands.
        unsafe {
            let mut a = data.as_ptr().add(self.left.at(row));
            let mut b = b;
            for _ in 0..self.right.k {
                let right: [S::V; V] = std::array::from_fn(|v| s.load(b.add(v * LANES)));
                #[expect(clippy::needless_range_loop, reason = "two indices, unrolled in registers")]
                for r in 0..R {
                    let x = s.splat(*a.add(r * stride));
                    for v in 0..V {
                        sums[r][v] = s.fma(x, right[v], sums[r][v]);
                    }
                }
                a = a.wrapping_add(step);
                b = b.wrapping_add(PANEL);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                self.finish.put(s, row + r, column + v * LANES, *sum);
            }
        }
        R
    }
}

/// Writes the product, plus a bias where there is one, to rows `stride` apart of `columns` columns.
pub(crate) struct Store<'a> {
    to: Shared,
    stride: usize,
    columns: usize,
    bias: Option<&'a [f32]>,
}

impl<'a> Store<'a> {
    /// # Safety
    /// `to` has room for every row of the product to come, and nobody else writes there meanwhile.
    pub(crate) unsafe fn new(to: *mut f32, stride: usize, columns: usize, bias: Option<&'a [f32]>) -> Self {
        Self { to: Shared(to), stride, columns, bias }
    }
}

impl Finish for Store<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, row: usize, column: usize, v: S::V) {
        let v = match self.bias {
            Some(bias) => s.add(v, part(s, bias, column, 0.0)),
            None => v,
        };
        // SAFETY: `new`'s caller vouched for the rows.
        unsafe { put(s, self.to, row * self.stride + column, self.columns - column, v) };
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
        // SAFETY: sixteen values.
        unsafe { s.store(to.as_mut_ptr(), s.add(s.load(to.as_ptr()), v)) };
    }
}

/// Packs the matrix (k, n) with rows `stride` apart into panels of `W` columns, zeros beyond n.
pub(crate) fn pack<const W: usize>(from: &[f32], stride: usize, k: usize, n: usize, to: &mut [f32]) {
    dispatch(Pack::<W> { from, stride, k, n, to });
}

struct Pack<'a, const W: usize> {
    from: &'a [f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &'a mut [f32],
}

impl<const W: usize> Kernel for Pack<'_, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let panels = self.to.chunks_mut(self.k * W).take(self.n.div_ceil(W)).enumerate();
        for (panel, to) in panels {
            let column = panel * W;
            let count = W.min(self.n - column);
            for (k, to) in to.chunks_mut(W).enumerate() {
                let from = &self.from[k * self.stride + column..][..count];
                if count == W {
                    for at in (0..W).step_by(LANES) {
                        // SAFETY: both have W values, a multiple of sixteen.
                        unsafe { s.store(to.as_mut_ptr().add(at), s.load(from.as_ptr().add(at))) };
                    }
                } else {
                    to[..count].copy_from_slice(from);
                    to[count..].fill(0.0);
                }
            }
        }
    }
}

/// Packs the transpose of the matrix (n, k) with rows `stride` apart into panels of [`PANEL`] columns.
pub(crate) fn pack_transposed(from: &[f32], stride: usize, k: usize, n: usize, to: &mut [f32]) {
    dispatch(PackTransposed { from, stride, k, n, to });
}

struct PackTransposed<'a> {
    from: &'a [f32],
    stride: usize,
    k: usize,
    n: usize,
    to: &'a mut [f32],
}

impl Kernel for PackTransposed<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, stride, k, n, to } = self;
        for column in (0..n.next_multiple_of(PANEL)).step_by(LANES) {
            let to = &mut to[column / PANEL * k * PANEL + column % PANEL..];
            for row in (0..k).step_by(LANES) {
                let count = (k - row).min(LANES);
                let lines = std::array::from_fn(|i| match column + i {
                    line if line < n => s.load_partial(&from[line * stride + row..][..count], 0.0),
                    _ => s.zero(),
                });
                for (i, v) in s.transpose(lines).into_iter().take(count).enumerate() {
                    let to = &mut to[(row + i) * PANEL..][..LANES];
                    // SAFETY: sixteen values.
                    unsafe { s.store(to.as_mut_ptr(), v) };
                }
            }
        }
    }
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

/// Room for the sums of [`accumulate`]: of the weight's gradient, and of the bias's.
pub(crate) fn sums_len(outputs: usize, inputs: usize) -> [usize; 2] {
    [outputs * inputs.next_multiple_of(LANES), outputs.next_multiple_of(LANES)]
}

/// Adds the gradients of an affine map from `k` rows: dyᵀ x to `weight`, rows padded to a multiple of sixteen, and the
/// columns' sums of dy to `bias`, padded likewise.
pub(crate) fn accumulate(k: usize, dy: Rows, x: Rows, weight: &mut [f32], bias: &mut [f32]) {
    let mut left = Buffer::take(packed_len(k, dy.columns, LANES));
    pack::<LANES>(dy.data, dy.stride, k, dy.columns, &mut left);
    let mut right = Buffer::take(packed_len(k, x.columns, PANEL));
    pack::<PANEL>(x.data, x.stride, k, x.columns, &mut right);
    let right = Right { data: &right, k, n: x.columns };
    let pitch = x.columns.next_multiple_of(LANES);
    product(dy.columns, Left::transposed(&left, k), right, &mut Add::new(weight, pitch));
    dispatch(AddColumns { panels: &left, k, to: bias });
}

/// Adds the columns' sums of a matrix in panels of sixteen columns of `k` rows.
struct AddColumns<'a> {
    panels: &'a [f32],
    k: usize,
    to: &'a mut [f32],
}

impl Kernel for AddColumns<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (panel, to) in self.panels.chunks_exact(self.k * LANES).zip(self.to.chunks_exact_mut(LANES)) {
            let mut total = s.zero();
            // SAFETY: rows of sixteen values each.
            unsafe {
                for row in panel.chunks_exact(LANES) {
                    total = s.add(total, s.load(row.as_ptr()));
                }
                s.store(to.as_mut_ptr(), s.add(s.load(to.as_ptr()), total));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Result;

    use super::*;
    use crate::testing::{assert_close, draw, values};

    /// Every way to pack, against f64.
    fn check(m: usize, n: usize, k: usize) -> Result<()> {
        let (a, b) = (draw((m, k), "a"), draw((k, n), "b"));
        let exact = |t: &candle_core::Tensor| t.to_dtype(candle_core::DType::F64);
        let expected = values(&exact(&a)?.matmul(&exact(&b)?)?);
        let flat = |t: &candle_core::Tensor| t.contiguous()?.flatten_all()?.to_vec1::<f32>();
        let (rows, columns) = (flat(&a)?, flat(&a.t()?)?);
        let (by_k, by_n) = (flat(&b)?, flat(&b.t()?)?);
        let mut left = vec![f32::NAN; packed_len(k, m, LANES)];
        pack::<LANES>(&columns, m, k, m, &mut left);
        for transposed in [false, true] {
            let mut right = vec![f32::NAN; packed_len(k, n, PANEL)];
            if transposed {
                pack_transposed(&by_n, k, k, n, &mut right);
            } else {
                pack::<PANEL>(&by_k, n, k, n, &mut right);
            }
            let right = Right { data: &right, k, n };
            let mut out = vec![f32::NAN; m * n];
            // SAFETY: m rows of n values.
            let mut store = unsafe { Store::new(out.as_mut_ptr(), n, n, None) };
            product(m, Left::rows(&rows, k), right, &mut store);
            let found = candle_core::Tensor::from_vec(out, (m, n), a.device())?;
            assert_close(&found, &expected, 2e-6);
            let pitch = n.next_multiple_of(LANES);
            let mut sums = vec![1.0; m * pitch];
            product(m, Left::transposed(&left, k), right, &mut Add::new(&mut sums, pitch));
            let found: Vec<f32> =
                sums.chunks(pitch).flat_map(|row| row[..n].iter().map(|v| v - 1.0)).collect();
            assert_close(&candle_core::Tensor::from_vec(found, (m, n), a.device())?, &expected, 2e-6);
        }
        Ok(())
    }

    #[test]
    fn products_against_f64() -> Result<()> {
        for (m, n, k) in [(1, 1, 1), (16, 32, 16), (29, 33, 17), (12, 16, 5), (40, 80, 3), (7, 49, 64)] {
            check(m, n, k)?;
        }
        Ok(())
    }
}
