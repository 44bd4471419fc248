//! Vectors of sixteen f32, and computations over them.

#![allow(unsafe_code, reason = "raw loads and stores")]

use super::philox;

/// Number of lanes at every level.
pub(crate) const LANES: usize = 16;

/// Arithmetic on vectors of [`LANES`] f32. A value of the type proves that the processor has the level.
pub(crate) trait Simd: Copy + Send + Sync {
    /// A vector.
    type V: Copy;
    /// How many vectors a tile may accumulate in without leaving the registers.
    const TILE: usize;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` points at [`LANES`] readable values.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` points at [`LANES`] writable values.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a b + c
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// b if either is NaN: only a NaN in b is propagated.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// b if either is NaN, as in [`Simd::max`].
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    /// To the nearest integer.
    fn round(self, a: Self::V) -> Self::V;
    /// 2ⁿ for integral n in −126 … 127.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// Per lane: a > b ? x : y.
    fn where_greater(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Sum of the lanes, pairwise.
    fn sum(self, a: Self::V) -> f32;
    /// Largest lane.
    fn largest(self, a: Self::V) -> f32;
    /// Rows to columns.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Lanes whose bit is set; 0 in the others.
    fn keep(self, bits: u16, a: Self::V) -> Self::V;
    /// Word w of Philox's blocks `first` … `first` + 15 against `threshold`: bit i of entry w is set where block i's
    /// word is not below it. The key is that of a stream.
    #[inline(always)]
    fn draws(self, first: u64, key: [u32; 2], threshold: u32) -> [u16; 4] {
        philox::blocks::<LANES>(first, key).map(|words| {
            words.iter().enumerate().fold(0, |bits, (i, word)| bits | u16::from(*word >= threshold) << i)
        })
    }

    /// Lane by lane two bfloat16 in the place of an f32, each the nearest (see [`super::nearest_bf16`]).
    fn pair(self, low: Self::V, high: Self::V) -> Self::V;
    /// Thirty-two consecutive values as sixteen pairs of neighbours.
    fn pair_neighbours(self, first: Self::V, second: Self::V) -> Self::V;
    /// sum + the products of the pairs' upper halves, then + those of the lower ones, to the bit as `vdpbf16ps`. No
    /// half is subnormal.
    fn dot_pairs(self, a: Self::V, b: Self::V, sum: Self::V) -> Self::V;

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
    /// The first values of `x`, then `rest`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], rest: f32) -> Self::V {
        let mut lanes = [rest; LANES];
        let n = x.len().min(LANES);
        lanes[..n].copy_from_slice(&x[..n]);
        // SAFETY: an array of LANES values.
        unsafe { self.load(lanes.as_ptr()) }
    }
    /// The first lanes into `out`.
    #[cfg(test)]
    #[inline(always)]
    fn store_partial(self, out: &mut [f32], v: Self::V) {
        let mut lanes = [0.0; LANES];
        // SAFETY: an array of LANES values.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        let n = out.len().min(LANES);
        out[..n].copy_from_slice(&lanes[..n]);
    }
}

/// A computation that is generic over the level. `run` must be `#[inline(always)]`, so that it is compiled for the
/// level.
pub(crate) trait Kernel {
    type Out;
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// 0, 16, 32, … below `len`: the starts of the vectors that cover `len` values.
///
/// Where every slice that a loop reads and writes has `len` values, the compiler sees that [`part`] and
/// [`put`](crate::rows::put) are whole vectors until the last one.
#[inline(always)]
pub(crate) fn starts(len: usize) -> Starts {
    Starts { at: 0, len }
}

/// See [`starts`].
pub(crate) struct Starts {
    at: usize,
    len: usize,
}

impl Iterator for Starts {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let at = self.at;
        if at < self.len {
            self.at = at + LANES;
            Some(at)
        } else {
            None
        }
    }
}

/// `[f(0), …, f(N − 1)]`. [`std::array::from_fn`] is not always inlined; a vector operation that it calls is then a
/// call without the level's registers.
#[inline(always)]
pub(crate) fn vectors<S: Simd, const N: usize>(s: S, mut f: impl FnMut(usize) -> S::V) -> [S::V; N] {
    let mut all = [s.zero(); N];
    for (i, vector) in all.iter_mut().enumerate() {
        *vector = f(i);
    }
    all
}

/// Loads sixteen values from `at` on, padded with `rest`.
#[inline(always)]
pub(crate) fn part<S: Simd>(s: S, x: &[f32], at: usize, rest: f32) -> S::V {
    let x = &x[at..];
    if x.len() >= LANES {
        // SAFETY: there are LANES values.
        unsafe { s.load(x.as_ptr()) }
    } else {
        s.load_partial(x, rest)
    }
}
