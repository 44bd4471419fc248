//! The fused product for targets without the instruction, where `f32::mul_add` is a call for each lane.

/// a b + c, rounded once.
///
/// The product of two f32 is exact in f64. The sum is rounded to odd there, which keeps what a second rounding to f32
/// needs to know (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
/// to odd", 2008).
#[inline(always)]
pub(super) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        return a.mul_add(b, c);
    }
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    let rest = sum - product;
    // What the sum lost: NaN where it is not finite.
    let lost = (product - (sum - rest)) + (c - rest);
    // Without branches, so that the compiler vectorises it: one step towards what was lost, if the last bit is even.
    let bits = sum.to_bits();
    let step = 1_u64.wrapping_sub(2 * ((lost.to_bits() ^ bits) >> 63));
    let even = (bits & 1).wrapping_sub(1);
    let inexact = if lost.abs() > 0.0 { u64::MAX } else { 0 };
    f64::from_bits(bits.wrapping_add(step & even & inexact)) as f32
}
