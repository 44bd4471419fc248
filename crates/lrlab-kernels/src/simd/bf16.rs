//! What AVX512-BF16 computes, for processors without it.
//!
//! `vdpbf16ps` adds the product of the upper halves, then that of the lower ones. Each addition is fused and rounded to
//! nearest even; subnormal numbers are read and written as zeros (Intel, Software Developer's Manual, volume 2).

/// The sign of an f32.
pub(super) const SIGN: u32 = 1 << 31;
/// The bits of the smallest normal f32.
pub(super) const NORMAL: u32 = 0x0080_0000;
/// Makes a NaN quiet.
pub(super) const QUIET: u32 = 0x0040_0000;

/// The bits of the bfloat16 nearest to x, ties to even. Subnormal numbers become 0, a NaN stays one.
#[inline(always)]
pub(crate) fn nearest_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = if x.is_nan() {
        bits | QUIET
    } else if bits & !SIGN < NORMAL {
        bits & SIGN
    } else {
        bits + 0x7fff + (bits >> 16 & 1)
    };
    (rounded >> 16) as u16
}

/// Two bfloat16 in the place of an f32.
#[inline(always)]
pub(super) fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(u32::from(nearest_bf16(low)) | u32::from(nearest_bf16(high)) << 16)
}

/// a₁ b₁ + sum, then a₀ b₀ more. In f64 a product of two bfloat16 is exact, and so is its sum with an f32 wherever the
/// last bits could decide the rounding.
#[inline(always)]
pub(super) fn dot(a: f32, b: f32, sum: f32) -> f32 {
    let (a, b) = (a.to_bits(), b.to_bits());
    let upper = |x: u32| f64::from(f32::from_bits(x & 0xffff_0000));
    let lower = |x: u32| f64::from(f32::from_bits(x << 16));
    let sum = flush((upper(a) * upper(b) + f64::from(sum)) as f32);
    flush((lower(a) * lower(b) + f64::from(sum)) as f32)
}

#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.to_bits() & !SIGN < NORMAL { f32::from_bits(x.to_bits() & SIGN) } else { x }
}
