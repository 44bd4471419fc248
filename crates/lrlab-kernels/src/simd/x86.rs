//! AVX-512 and AVX2 with FMA.
//!
//! The intrinsics need features that a caller of these methods may not be compiled with; a value of the token types
//! exists only inside [`run_avx512`], [`run_avx512_bf16`] and [`run_avx2`], whose callers have checked the processor.

#![allow(unsafe_code, reason = "vector intrinsics")]

#[allow(clippy::wildcard_imports, reason = "fifty intrinsics, all prefixed")]
use std::arch::x86_64::*;

use super::philox;
use super::scalar::Scalar;
use super::vector::{Kernel, LANES, Simd};
use super::x86_bf16::{dot256, dot512, every_second512, pair256, pair512, sorted256};

/// With the instructions of AVX512-BF16 or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>(());

#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Out {
    kernel.run(Avx512::<false>(()))
}

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Out {
    kernel.run(Avx512::<true>(()))
}

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Out {
    kernel.run(Avx2(()))
}

// SAFETY (every block below): `self` is proof that the processor has the features; pointers are as the trait's
// contract says, guaranteed by the caller.
impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    const TILE: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn keep(self, bits: u16, a: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(bits, a) }
    }
    #[inline(always)]
    fn draws(self, first: u64, key: [u32; 2], threshold: u32) -> [u16; 4] {
        unsafe {
            let counters: [u64; LANES] = std::array::from_fn(|i| first + i as u64);
            let mut a = _mm512_loadu_si512(counters.map(|c| c as u32).as_ptr().cast());
            let mut b = _mm512_loadu_si512(counters.map(|c| (c >> 32) as u32).as_ptr().cast());
            let mut c = _mm512_setzero_si512();
            let mut d = c;
            let [m0, m1] = philox::MULTIPLIERS.map(|m| _mm512_set1_epi32(m as i32));
            let [mut k0, mut k1] = key;
            // High and low halves of the products of even and odd lanes.
            let wide = |x: __m512i, m: __m512i| {
                let even = _mm512_mul_epu32(x, m);
                let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), m);
                (
                    _mm512_mask_shuffle_epi32::<0xF5>(odd, 0x5555, even),
                    _mm512_mask_shuffle_epi32::<0xA0>(even, 0xAAAA, odd),
                )
            };
            for _ in 0..philox::ROUNDS {
                let (high0, low0) = wide(a, m0);
                let (high1, low1) = wide(c, m1);
                a = _mm512_ternarylogic_epi32::<0x96>(high1, b, _mm512_set1_epi32(k0 as i32));
                c = _mm512_ternarylogic_epi32::<0x96>(high0, d, _mm512_set1_epi32(k1 as i32));
                (b, d) = (low1, low0);
                k0 = k0.wrapping_add(philox::WEYL[0]);
                k1 = k1.wrapping_add(philox::WEYL[1]);
            }
            let least = _mm512_set1_epi32(threshold as i32);
            [a, b, c, d].map(|words| _mm512_cmpge_epu32_mask(words, least))
        }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn power_of_two(self, n: __m512) -> __m512 {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn where_greater(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    fn pair(self, low: __m512, high: __m512) -> __m512 {
        unsafe {
            if BF16 {
                let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                let places: [u16; 2 * LANES] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
                let places = _mm512_loadu_si512(places.as_ptr().cast());
                _mm512_castsi512_ps(_mm512_permutexvar_epi16(places, halves))
            } else {
                pair512(low, high)
            }
        }
    }
    #[inline(always)]
    fn pair_neighbours(self, first: __m512, second: __m512) -> __m512 {
        unsafe {
            if BF16 {
                return _mm512_castsi512_ps(std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                    second, first,
                )));
            }
            self.pair(every_second512::<0>(first, second), every_second512::<1>(first, second))
        }
    }
    #[inline(always)]
    fn dot_pairs(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        unsafe {
            if BF16 {
                let halves = |x: __m512| std::mem::transmute::<__m512, __m512bh>(x);
                return _mm512_dpbf16_ps(sum, halves(a), halves(b));
            }
            dot512(a, b, sum)
        }
    }
    #[inline(always)]
    fn transpose(self, r: [__m512; LANES]) -> [__m512; LANES] {
        unsafe {
            let mut pairs = r;
            for i in (0..LANES).step_by(2) {
                pairs[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
                pairs[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
            }
            // quads[4 g + j]: rows 4g … 4g+3 of columns ≡ j (mod 4)
            let mut quads = r;
            for i in (0..LANES).step_by(2) {
                let from = i / 4 * 4 + i % 4 / 2;
                let (a, b) = (_mm512_castps_pd(pairs[from]), _mm512_castps_pd(pairs[from + 2]));
                quads[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                quads[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
            let mut out = r;
            for j in 0..4 {
                let low = _mm512_shuffle_f32x4::<0x88>(quads[j], quads[4 + j]);
                let high = _mm512_shuffle_f32x4::<0x88>(quads[8 + j], quads[12 + j]);
                let low_odd = _mm512_shuffle_f32x4::<0xdd>(quads[j], quads[4 + j]);
                let high_odd = _mm512_shuffle_f32x4::<0xdd>(quads[8 + j], quads[12 + j]);
                out[j] = _mm512_shuffle_f32x4::<0x88>(low, high);
                out[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low, high);
                out[4 + j] = _mm512_shuffle_f32x4::<0x88>(low_odd, high_odd);
                out[12 + j] = _mm512_shuffle_f32x4::<0xdd>(low_odd, high_odd);
            }
            out
        }
    }
}

/// Two registers of eight lanes.
type Pair = [__m256; 2];

#[inline(always)]
fn pair(f: impl Fn(usize) -> __m256) -> Pair {
    [f(0), f(1)]
}

// SAFETY (every block below): as above.
impl Simd for Avx2 {
    type V = Pair;
    const TILE: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        pair(|_| unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Pair {
        pair(|i| unsafe { _mm256_loadu_ps(p.add(8 * i)) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Pair) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_add_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_sub_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_mul_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_div_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        pair(|i| unsafe { _mm256_fmadd_ps(a[i], b[i], c[i]) })
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_max_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        pair(|i| unsafe { _mm256_min_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn sqrt(self, a: Pair) -> Pair {
        pair(|i| unsafe { _mm256_sqrt_ps(a[i]) })
    }
    #[inline(always)]
    fn keep(self, bits: u16, a: Pair) -> Pair {
        pair(|i| unsafe {
            let each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let bits = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits >> (8 * i))), each);
            _mm256_and_ps(a[i], _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, each)))
        })
    }
    #[inline(always)]
    fn round(self, a: Pair) -> Pair {
        pair(|i| unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[i]) })
    }
    #[inline(always)]
    fn power_of_two(self, n: Pair) -> Pair {
        pair(|i| unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n[i]), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        })
    }
    #[inline(always)]
    fn where_greater(self, a: Pair, b: Pair, x: Pair, y: Pair) -> Pair {
        pair(|i| unsafe { _mm256_blendv_ps(y[i], x[i], _mm256_cmp_ps::<_CMP_GT_OQ>(a[i], b[i])) })
    }
    #[inline(always)]
    fn sum(self, a: Pair) -> f32 {
        Scalar.sum(lanes(a))
    }
    #[inline(always)]
    fn largest(self, a: Pair) -> f32 {
        Scalar.largest(lanes(a))
    }
    #[inline(always)]
    fn pair(self, low: Pair, high: Pair) -> Pair {
        unsafe { [pair256(low[0], high[0]), pair256(low[1], high[1])] }
    }
    #[inline(always)]
    fn pair_neighbours(self, first: Pair, second: Pair) -> Pair {
        unsafe {
            // Shuffles work within halves of a register.
            let even = |x: Pair| sorted256(_mm256_shuffle_ps::<0x88>(x[0], x[1]));
            let odd = |x: Pair| sorted256(_mm256_shuffle_ps::<0xdd>(x[0], x[1]));
            self.pair([even(first), even(second)], [odd(first), odd(second)])
        }
    }
    #[inline(always)]
    fn dot_pairs(self, a: Pair, b: Pair, sum: Pair) -> Pair {
        unsafe { [dot256(a[0], b[0], sum[0]), dot256(a[1], b[1], sum[1])] }
    }
    #[inline(always)]
    fn transpose(self, rows: [Pair; LANES]) -> [Pair; LANES] {
        let mut columns = rows;
        for rows_from in 0..2 {
            for columns_from in 0..2 {
                let mut square = [rows[0][0]; 8];
                for (row, to) in square.iter_mut().enumerate() {
                    *to = rows[8 * rows_from + row][columns_from];
                }
                for (column, of) in unsafe { transpose256(square) }.iter().enumerate() {
                    columns[8 * columns_from + column][rows_from] = *of;
                }
            }
        }
        columns
    }
}

/// Rows to columns.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn transpose256(r: [__m256; 8]) -> [__m256; 8] {
    let (mut pairs, mut quads, mut out) = (r, r, r);
    // SAFETY: guaranteed by the caller.
    unsafe {
        for i in (0..8).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
        }
        // quads[4 g + j]: rows 4g … 4g+3 of columns j and j + 4
        for i in (0..8).step_by(2) {
            let from = i / 4 * 4 + i % 4 / 2;
            quads[i] = _mm256_shuffle_ps::<0x44>(pairs[from], pairs[from + 2]);
            quads[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[from], pairs[from + 2]);
        }
        for j in 0..4 {
            out[j] = _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j]);
            out[4 + j] = _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j]);
        }
    }
    out
}

#[inline(always)]
fn lanes(v: Pair) -> [f32; LANES] {
    // SAFETY: two registers of eight f32 are sixteen f32.
    unsafe { std::mem::transmute(v) }
}
