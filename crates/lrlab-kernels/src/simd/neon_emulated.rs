//! The intrinsics that `neon` uses, lane by lane as Arm's reference describes them (Arm Neon Intrinsics Reference,
//! 2021), for tests on other processors.

#![allow(unsafe_code, non_camel_case_types, reason = "the names and signatures of `std::arch::aarch64`")]
#![allow(clippy::missing_safety_doc, clippy::wildcard_imports, reason = "as there")]

pub(super) type float32x4_t = [f32; 4];
pub(super) type int32x4_t = [i32; 4];
pub(super) type uint32x4_t = [u32; 4];

fn each<A: Copy, B: Copy, C>(a: [A; 4], b: [B; 4], f: impl Fn(A, B) -> C) -> [C; 4] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

fn mask(yes: bool) -> u32 {
    if yes { u32::MAX } else { 0 }
}

pub(super) unsafe fn vdupq_n_f32(x: f32) -> float32x4_t {
    [x; 4]
}
pub(super) unsafe fn vdupq_n_s32(x: i32) -> int32x4_t {
    [x; 4]
}
pub(super) unsafe fn vdupq_n_u32(x: u32) -> uint32x4_t {
    [x; 4]
}
pub(super) unsafe fn vld1q_f32(p: *const f32) -> float32x4_t {
    // SAFETY: the caller guarantees four values.
    unsafe { p.cast::<float32x4_t>().read_unaligned() }
}
pub(super) unsafe fn vld1q_u32(p: *const u32) -> uint32x4_t {
    // SAFETY: as above.
    unsafe { p.cast::<uint32x4_t>().read_unaligned() }
}
pub(super) unsafe fn vst1q_f32(p: *mut f32, v: float32x4_t) {
    // SAFETY: as above.
    unsafe { p.cast::<float32x4_t>().write_unaligned(v) }
}
pub(super) unsafe fn vaddq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    each(a, b, |a, b| a + b)
}
pub(super) unsafe fn vsubq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    each(a, b, |a, b| a - b)
}
pub(super) unsafe fn vmulq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    each(a, b, |a, b| a * b)
}
pub(super) unsafe fn vdivq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    each(a, b, |a, b| a / b)
}
/// a + b c, rounded once.
pub(super) unsafe fn vfmaq_f32(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    std::array::from_fn(|i| b[i].mul_add(c[i], a[i]))
}
pub(super) unsafe fn vsqrtq_f32(a: float32x4_t) -> float32x4_t {
    a.map(f32::sqrt)
}
/// To the nearest integer, ties to even.
pub(super) unsafe fn vrndnq_f32(a: float32x4_t) -> float32x4_t {
    a.map(f32::round_ties_even)
}
/// Towards zero; a NaN becomes 0, what is too large the largest.
pub(super) unsafe fn vcvtq_s32_f32(a: float32x4_t) -> int32x4_t {
    a.map(|a| a as i32)
}
pub(super) unsafe fn vaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    each(a, b, i32::wrapping_add)
}
pub(super) unsafe fn vshlq_n_s32<const N: i32>(a: int32x4_t) -> int32x4_t {
    a.map(|a| a << N)
}
pub(super) unsafe fn vreinterpretq_f32_s32(a: int32x4_t) -> float32x4_t {
    a.map(|a| f32::from_bits(a as u32))
}
pub(super) unsafe fn vcgtq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t {
    each(a, b, |a, b| mask(a > b))
}
pub(super) unsafe fn vtstq_u32(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
    each(a, b, |a, b| mask(a & b != 0))
}
/// Bit by bit, from b where the mask is set, else from c.
pub(super) unsafe fn vbslq_f32(mask: uint32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    std::array::from_fn(|i| f32::from_bits(mask[i] & b[i].to_bits() | !mask[i] & c[i].to_bits()))
}
