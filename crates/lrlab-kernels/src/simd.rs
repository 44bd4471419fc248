//! What the processor can do, found out at run time.

/// The SIMD level the kernels run at: `avx512`, `avx2` or `scalar`.
#[must_use]
pub fn simd_level() -> &'static str {
    "scalar"
}

/// What decides the bits of a result besides the program: SIMD level and the caches that matrix products block by.
#[must_use]
pub fn numerics_class() -> String {
    let caches: Vec<String> =
        gemm_caches().iter().map(|(bytes, ways)| format!("{}k{ways}", bytes >> 10)).collect();
    format!("{} {}", simd_level(), caches.join("/"))
}

fn gemm_caches() -> Vec<(usize, usize)> {
    Vec::new()
}
