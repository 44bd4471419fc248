//! Mean and variance of each channel, merged over pictures (Chan et al., 1979).

#![allow(unsafe_code, reason = "vector loads by address")]

use crate::simd::{LANES, Simd};

/// Count, mean and sum of squared distances from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Moments {
    /// The moments of both samples together.
    pub(crate) fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let away = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + away * other.count / count,
            squares: self.squares + other.squares + away * away * self.count * other.count / count,
        }
    }
}

/// Merges one picture's plane of `pixels` pixels into the moments of its sixteen channels.
///
/// # Safety
/// The plane is readable.
#[inline(always)]
pub(crate) unsafe fn measure<S: Simd>(s: S, plane: *const f32, pixels: usize, into: &mut [Moments]) {
    assert!(into.len() == LANES && pixels > 0);
    let (mut sums, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    // SAFETY: guaranteed by the caller, and arrays of LANES values.
    unsafe {
        let (mut even, mut odd) = (s.zero(), s.zero());
        for x in 0..pixels / 2 {
            even = s.add(even, s.load(plane.add(2 * x * LANES)));
            odd = s.add(odd, s.load(plane.add((2 * x + 1) * LANES)));
        }
        if pixels % 2 == 1 {
            even = s.add(even, s.load(plane.add((pixels - 1) * LANES)));
        }
        let sum = s.add(even, odd);
        let mean = s.mul(sum, s.splat(1.0 / pixels as f32));
        s.store(sums.as_mut_ptr(), sum);
        let (mut even, mut odd) = (s.zero(), s.zero());
        for x in 0..pixels / 2 {
            let a = s.sub(s.load(plane.add(2 * x * LANES)), mean);
            let b = s.sub(s.load(plane.add((2 * x + 1) * LANES)), mean);
            even = s.fma(a, a, even);
            odd = s.fma(b, b, odd);
        }
        if pixels % 2 == 1 {
            let a = s.sub(s.load(plane.add((pixels - 1) * LANES)), mean);
            even = s.fma(a, a, even);
        }
        s.store(squares.as_mut_ptr(), s.add(even, odd));
    }
    let count = pixels as f64;
    for (lane, all) in into.iter_mut().enumerate() {
        let mean = f64::from(sums[lane]) / count;
        *all = all.merge(Moments { count, mean, squares: f64::from(squares[lane]) });
    }
}
