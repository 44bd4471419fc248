//! Vectors of sixteen f32 at the SIMD level of the processor, chosen at run time.
//!
//! A [`Kernel`] is generic over [`Simd`]; [`dispatch`] compiles it for each level and runs the best one that the
//! processor has. `LRLAB_SIMD=avx2` or `scalar` in the environment asks for a lower level. All levels give the same
//! bits.

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
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_bf16;

use std::sync::OnceLock;

pub(crate) use bf16::nearest_bf16;
pub(crate) use math::{erf_parts, exp, sigmoid, tanh};
pub(crate) use vector::{Kernel, LANES, Simd, part, starts, vectors};

/// Prefetches the values into the cache.
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

/// Runs the kernel at the best available level.
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

/// Like [`dispatch`], but uses AVX512-BF16 if available: for kernels that multiply or make pairs.
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
