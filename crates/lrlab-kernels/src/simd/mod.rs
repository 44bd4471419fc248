//! Sixteen f32 lanes on whatever the processor has, chosen at run time.
//!
//! A [`Kernel`] is written once over [`Simd`]; [`dispatch`] compiles it for each level and runs the best one that is
//! there. `LRLAB_SIMD=avx2` or `scalar` in the environment asks for a lower level. Every level gives the same bits.

#![allow(unsafe_code, reason = "vector intrinsics and raw loads; each use states why it is sound")]

mod bf16;
mod fused;
mod math;
#[cfg(any(target_arch = "aarch64", test))]
mod neon;
#[cfg(all(not(target_arch = "aarch64"), test))]
mod neon_emulated;
mod philox;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_bf16;

use std::sync::OnceLock;

pub(crate) use bf16::nearest_bf16;
pub(crate) use math::{erf_parts, exp, sigmoid, tanh};

/// Number of lanes at every level.
pub(crate) const LANES: usize = 16;

/// Arithmetic on vectors of [`LANES`] f32. A value of the type is the proof that the processor has the level.
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
    /// b where either is NaN: a NaN is handed on only as the second.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// b where either is NaN, as in [`Simd::max`].
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
        philox::blocks(first, key).map(|words| {
            words.iter().enumerate().fold(0, |bits, (i, word)| bits | u16::from(*word >= threshold) << i)
        })
    }

    /// Lane by lane two bfloat16 in the place of an f32, each the nearest (see [`nearest_bf16`]).
    fn pair(self, low: Self::V, high: Self::V) -> Self::V;
    /// Thirty-two consecutive values as sixteen pairs of neighbours.
    fn pair_neighbours(self, first: Self::V, second: Self::V) -> Self::V;
    /// sum + the products of the pairs' upper halves, then + those of the lower ones, to the bit as `vdpbf16ps`. No half
    /// is subnormal.
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

/// Asks for the values to be brought into the cache while something else is done.
#[inline]
pub(crate) fn prefetch(x: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in x.chunks(LANES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing; part of every processor of the architecture.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = x;
}

/// A computation written over any level. `run` must be `#[inline(always)]`, so that it is compiled for the level.
pub(crate) trait Kernel {
    type Out;
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Scalar,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let best = detected();
        match std::env::var("LRLAB_SIMD").as_deref() {
            Ok("scalar") => Level::Scalar,
            #[cfg(target_arch = "x86_64")]
            Ok("avx2") => best.min(Level::Avx2),
            _ => best,
        }
    })
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Level {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
        Level::Avx512
    } else if avx2 {
        Level::Avx2
    } else {
        Level::Scalar
    }
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Level {
    Level::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Level {
    Level::Scalar
}

/// Runs the kernel at the best level there is.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Out {
    match level() {
        // SAFETY: the level was detected on this processor.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run(neon::Neon),
        Level::Scalar => kernel.run(scalar::Scalar),
    }
}

/// As [`dispatch`], with AVX512-BF16 where it is there: for kernels that multiply or make pairs.
#[inline]
pub(crate) fn dispatch_bf16<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 && std::arch::is_x86_feature_detected!("avx512bf16") {
        // SAFETY: detected.
        return unsafe { x86::run_avx512_bf16(kernel) };
    }
    dispatch(kernel)
}

/// At every level that this processor has, by name.
#[cfg(test)]
pub(crate) fn every_level<K: Kernel>(kernel: impl Fn() -> K) -> Vec<(&'static str, K::Out)> {
    let mut outs = vec![("scalar", kernel().run(scalar::Scalar)), ("neon", kernel().run(neon::Neon))];
    // SAFETY: each level is detected before it runs.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        if detected() >= Level::Avx2 {
            outs.push(("avx2", x86::run_avx2(kernel())));
        }
        if detected() >= Level::Avx512 {
            outs.push(("avx512", x86::run_avx512(kernel())));
            if std::arch::is_x86_feature_detected!("avx512bf16") {
                outs.push(("avx512 with bf16", x86::run_avx512_bf16(kernel())));
            }
        }
    }
    outs
}

/// The SIMD level the kernels run at: `avx512`, `avx2`, `neon` or `scalar`.
#[must_use]
pub fn simd_level() -> &'static str {
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => "avx512",
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => "avx2",
        #[cfg(target_arch = "aarch64")]
        Level::Neon => "neon",
        Level::Scalar => "scalar",
    }
}

#[cfg(test)]
mod tests;
