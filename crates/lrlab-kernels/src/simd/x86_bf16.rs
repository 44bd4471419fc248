//! Pairs of bfloat16 in vectors, for processors without AVX512-BF16: what [`super::bf16`] says, sixteen or eight lanes
//! at a time.
//!
//! These are functions rather than closures, because a closure is compiled without the target features, so that every
//! intrinsic in it becomes a call.

#![allow(unsafe_code, reason = "vector intrinsics")]

#[allow(clippy::wildcard_imports, reason = "thirty intrinsics, all prefixed")]
use std::arch::x86_64::*;

use super::bf16;
use super::vector::LANES;

/// Sixteen pairs of the nearest bfloat16, `low` in the lower halves.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn pair512(low: __m512, high: __m512) -> __m512 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = _mm512_srli_epi32::<16>(nearest512(low));
        let upper = _mm512_set1_epi32(!0xffff);
        _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_and_si512(nearest512(high), upper)))
    }
}

/// As [`pair512`].
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn pair256(low: __m256, high: __m256) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = _mm256_srli_epi32::<16>(nearest256(low));
        let upper = _mm256_set1_epi32(!0xffff);
        _mm256_castsi256_ps(_mm256_or_si256(low, _mm256_and_si256(nearest256(high), upper)))
    }
}

/// Every second lane of both, from `FROM` on.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn every_second512<const FROM: i32>(first: __m512, second: __m512) -> __m512 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let places: [i32; LANES] = std::array::from_fn(|i| 2 * i as i32 + FROM);
        _mm512_permutex2var_ps(first, _mm512_loadu_si512(places.as_ptr().cast()), second)
    }
}

/// Puts the lanes of a shuffle within halves of a register in their order.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn sorted256(v: __m256) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v))) }
}

/// The upper halves' product and the sum, then the lower halves' product more (see [`bf16::dot`]).
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn dot512(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
        let mask = _mm512_set1_epi32(!0xffff);
        let upper = [_mm512_and_si512(a, mask), _mm512_and_si512(b, mask)];
        let lower = [_mm512_slli_epi32::<16>(a), _mm512_slli_epi32::<16>(b)];
        let sum = _mm512_fmadd_ps(_mm512_castsi512_ps(upper[0]), _mm512_castsi512_ps(upper[1]), sum);
        let (low_a, low_b) = (_mm512_castsi512_ps(lower[0]), _mm512_castsi512_ps(lower[1]));
        flush512(_mm512_fmadd_ps(low_a, low_b, flush512(sum)))
    }
}

/// As [`dot512`].
///
/// # Safety
/// The processor has the features.
#[inline(always)]
pub(super) unsafe fn dot256(a: __m256, b: __m256, sum: __m256) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
        let mask = _mm256_set1_epi32(!0xffff);
        let upper = [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)];
        let lower = [_mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b)];
        let sum = _mm256_fmadd_ps(_mm256_castsi256_ps(upper[0]), _mm256_castsi256_ps(upper[1]), sum);
        let (low_a, low_b) = (_mm256_castsi256_ps(lower[0]), _mm256_castsi256_ps(lower[1]));
        flush256(_mm256_fmadd_ps(low_a, low_b, flush256(sum)))
    }
}

/// The nearest bfloat16 in the upper halves; the lower ones are anything.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn nearest512(x: __m512) -> __m512i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(bf16::QUIET as i32));
        let rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), quiet);
        let sign = _mm512_set1_epi32(bf16::SIGN as i32);
        _mm512_mask_and_epi32(rounded, subnormal512(bits), bits, sign)
    }
}

///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn subnormal512(bits: __m512i) -> __mmask16 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let magnitude = _mm512_andnot_si512(_mm512_set1_epi32(bf16::SIGN as i32), bits);
        _mm512_cmplt_epu32_mask(magnitude, _mm512_set1_epi32(bf16::NORMAL as i32))
    }
}

/// Subnormal numbers as zeros.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn flush512(x: __m512) -> __m512 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let sign = _mm512_set1_epi32(bf16::SIGN as i32);
        _mm512_castsi512_ps(_mm512_mask_and_epi32(bits, subnormal512(bits), bits, sign))
    }
}

/// As [`nearest512`].
///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn nearest256(x: __m256) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(bf16::QUIET as i32));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        let rounded = _mm256_blendv_epi8(rounded, quiet, nan);
        _mm256_and_si256(rounded, kept256(bits))
    }
}

/// All bits of normal numbers, the sign of others.
///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn kept256(bits: __m256i) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let sign = _mm256_set1_epi32(bf16::SIGN as i32);
        let magnitude = _mm256_andnot_si256(sign, bits);
        let normal = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(bf16::NORMAL as i32 - 1));
        _mm256_or_si256(normal, sign)
    }
}

/// As [`flush512`].
///
/// # Safety
/// The processor has the features.
#[inline(always)]
unsafe fn flush256(x: __m256) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_and_ps(x, _mm256_castsi256_ps(kept256(_mm256_castps_si256(x)))) }
}
