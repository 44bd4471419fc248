//! The level without intrinsics. The compiler vectorises it as far as the target's baseline goes.

use super::bf16;
use super::vector::{LANES, Simd};

#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

type V = [f32; LANES];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type V = V;
    const TILE: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        // SAFETY: the caller guarantees LANES readable values.
        unsafe { p.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: V) {
        // SAFETY: the caller guarantees LANES writable values.
        unsafe { p.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| super::fused::mul_add(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn power_of_two(self, n: V) -> V {
        n.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn where_greater(self, a: V, b: V, x: V, y: V) -> V {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn sum(self, a: V) -> f32 {
        let mut half = a;
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                half[i] += half[i + width];
            }
        }
        half[0]
    }
    #[inline(always)]
    fn largest(self, a: V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn transpose(self, rows: [V; LANES]) -> [V; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
    #[inline(always)]
    fn keep(self, bits: u16, a: V) -> V {
        std::array::from_fn(|i| if bits >> i & 1 == 1 { a[i] } else { 0.0 })
    }
    #[inline(always)]
    fn pair(self, low: V, high: V) -> V {
        zip(low, high, bf16::pair)
    }
    #[inline(always)]
    fn pair_neighbours(self, first: V, second: V) -> V {
        let at = |i: usize| if i < LANES { first[i] } else { second[i - LANES] };
        std::array::from_fn(|i| bf16::pair(at(2 * i), at(2 * i + 1)))
    }
    #[inline(always)]
    fn dot_pairs(self, a: V, b: V, sum: V) -> V {
        std::array::from_fn(|i| bf16::dot(a[i], b[i], sum[i]))
    }
}
