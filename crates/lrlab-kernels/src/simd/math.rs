//! Elementary functions over vectors, to about two units in the last place (Cephes' expansions, Moshier 1992).

use super::vector::Simd;

/// eˣ; 0 below −87.3, capped above 88.02.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // This order of arguments propagates a NaN.
    let clamped = s.min(s.splat(88.02), s.max(s.splat(-87.336_54), x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-0.693_359_4), clamped);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.fma(p, r, s.splat(c));
    }
    let value = s.mul(s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0)), s.power_of_two(n));
    s.where_greater(s.splat(-87.336_54), x, s.zero(), value)
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

/// tanh x
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let z = s.mul(x, x);
    let mut p = s.splat(-5.704_988e-3);
    for c in [2.063_908_8e-2, -5.373_971_5e-2, 1.333_144_2e-1, -0.333_332_8] {
        p = s.fma(p, z, s.splat(c));
    }
    let small = s.fma(s.mul(p, z), x, x);
    let two = s.splat(2.0);
    let large = s.sub(s.splat(1.0), s.div(two, s.add(exp(s, s.mul(two, x)), s.splat(1.0))));
    s.where_greater(z, s.splat(0.390_625), large, small)
}

/// (Φ(x), φ(x)): distribution function and density of the standard normal, to 1.5e-7 (Abramowitz and Stegun,
/// 7.1.26).
#[inline(always)]
pub(crate) fn erf_parts<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let magnitude = s.max(x, s.sub(s.zero(), x));
    let e = exp(s, s.mul(s.mul(x, x), s.splat(-0.5)));
    let t = s.div(one, s.fma(magnitude, s.splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2), one));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = s.fma(p, t, s.splat(c));
    }
    let tail = s.mul(s.mul(s.mul(p, t), e), s.splat(0.5));
    let phi = s.where_greater(x, s.zero(), s.sub(one, tail), tail);
    (phi, s.mul(e, s.splat(0.398_942_3)))
}
