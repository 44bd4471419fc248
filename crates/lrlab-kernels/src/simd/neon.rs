//! NEON, which every aarch64 processor has.
//!
//! On other processors the tests compile this level over `neon_emulated` in place of the intrinsics and compare its
//! bits with the others'. It has not run on an aarch64 processor yet.

#![allow(unsafe_code, reason = "vector intrinsics")]

#[cfg(target_arch = "aarch64")]
#[allow(clippy::wildcard_imports, reason = "twenty intrinsics, all prefixed")]
use std::arch::aarch64::*;

#[cfg(not(target_arch = "aarch64"))]
#[allow(clippy::wildcard_imports, reason = "the same names")]
use super::neon_emulated::*;
use super::scalar::Scalar;
use super::vector::{LANES, Simd};

#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

type Four = [float32x4_t; 4];

#[inline(always)]
fn four(f: impl Fn(usize) -> float32x4_t) -> Four {
    [f(0), f(1), f(2), f(3)]
}

#[inline(always)]
fn lanes(v: Four) -> [f32; LANES] {
    // SAFETY: four registers of four f32 are sixteen f32.
    unsafe { std::mem::transmute(v) }
}

#[inline(always)]
fn registers(v: [f32; LANES]) -> Four {
    // SAFETY: as above.
    unsafe { std::mem::transmute(v) }
}

// SAFETY (every block below): the instructions are part of the architecture; pointers are as the trait's contract says,
// guaranteed by the caller.
impl Simd for Neon {
    type V = Four;
    const TILE: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Four {
        four(|_| unsafe { vdupq_n_f32(x) })
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Four {
        four(|i| unsafe { vld1q_f32(p.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Four) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { vst1q_f32(p.add(4 * i), v) };
        }
    }
    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        four(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Four, b: Four) -> Four {
        four(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        four(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Four, b: Four) -> Four {
        four(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma(self, a: Four, b: Four, c: Four) -> Four {
        four(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    // `vmaxq_f32` and `vminq_f32` give a NaN wherever there is one.
    #[inline(always)]
    fn max(self, a: Four, b: Four) -> Four {
        self.where_greater(a, b, a, b)
    }
    #[inline(always)]
    fn min(self, a: Four, b: Four) -> Four {
        self.where_greater(b, a, a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Four) -> Four {
        four(|i| unsafe { vsqrtq_f32(a[i]) })
    }
    #[inline(always)]
    fn round(self, a: Four) -> Four {
        four(|i| unsafe { vrndnq_f32(a[i]) })
    }
    #[inline(always)]
    fn power_of_two(self, n: Four) -> Four {
        four(|i| unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(n[i]), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }
    #[inline(always)]
    fn where_greater(self, a: Four, b: Four, x: Four, y: Four) -> Four {
        four(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), x[i], y[i]) })
    }
    #[inline(always)]
    fn sum(self, a: Four) -> f32 {
        // Lanes i and i + 8, then 4, 2 and 1, as the other levels.
        let halves = unsafe { [vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3])] };
        let mut quarter = [0.0; 4];
        unsafe { vst1q_f32(quarter.as_mut_ptr(), vaddq_f32(halves[0], halves[1])) };
        (quarter[0] + quarter[2]) + (quarter[1] + quarter[3])
    }
    #[inline(always)]
    fn largest(self, a: Four) -> f32 {
        Scalar.largest(lanes(a))
    }
    #[inline(always)]
    fn transpose(self, rows: [Four; LANES]) -> [Four; LANES] {
        Scalar.transpose(rows.map(lanes)).map(registers)
    }
    #[inline(always)]
    fn keep(self, bits: u16, a: Four) -> Four {
        four(|i| unsafe {
            let each = [1_u32, 2, 4, 8];
            let wanted = vdupq_n_u32(u32::from(bits >> (4 * i)));
            vbslq_f32(vtstq_u32(wanted, vld1q_u32(each.as_ptr())), a[i], vdupq_n_f32(0.0))
        })
    }
    #[inline(always)]
    fn pair(self, low: Four, high: Four) -> Four {
        registers(Scalar.pair(lanes(low), lanes(high)))
    }
    #[inline(always)]
    fn pair_neighbours(self, first: Four, second: Four) -> Four {
        registers(Scalar.pair_neighbours(lanes(first), lanes(second)))
    }
    #[inline(always)]
    fn dot_pairs(self, a: Four, b: Four, sum: Four) -> Four {
        registers(Scalar.dot_pairs(lanes(a), lanes(b), lanes(sum)))
    }
}
