//! The environment variables `LRLAB_KERNELS`, `LRLAB_SIMD`, `LRLAB_CUDA_TF32` and `LRLAB_CUDA_TIMES`.

use std::sync::OnceLock;

use candle_core::{Result, bail};

/// Which implementation runs.
const KERNELS: (&str, &[&str]) = ("LRLAB_KERNELS", &["own", "candle"]);
/// The highest SIMD level that is used. A level of another architecture selects the best one of this architecture.
const SIMD: (&str, &[&str]) = ("LRLAB_SIMD", &["avx512", "avx2", "neon", "scalar"]);

/// Whether products of f32 on NVIDIA GPUs round their operands to TF32, with ten bits of mantissa.
const TF32: (&str, &[&str]) = ("LRLAB_CUDA_TF32", &["off", "on"]);

/// Whether the program waits for every kernel on an NVIDIA GPU and adds up its time.
const TIMES: (&str, &[&str]) = ("LRLAB_CUDA_TIMES", &["off", "on"]);

/// Rejects unknown values of `LRLAB_KERNELS` (`own`, `candle`), `LRLAB_SIMD` (`avx512`, `avx2`, `neon`, `scalar`),
/// `LRLAB_CUDA_TF32` and `LRLAB_CUDA_TIMES` (`off`, `on`). Programs call it at startup; without this check an unknown
/// value counts as the first one.
///
/// # Errors
/// Returns an error if a variable has an unknown value.
pub fn check_environment() -> Result<()> {
    for (name, words) in [KERNELS, SIMD, TF32, TIMES] {
        if let Some(value) = std::env::var_os(name)
            && !words.iter().any(|word| value == *word)
        {
            bail!("{name}={}: expected {}", value.display(), words.join(", "));
        }
    }
    Ok(())
}

/// Returns whether this crate's kernels run; with `LRLAB_KERNELS=candle` candle's own operators run in their place
/// everywhere.
pub(crate) fn own_kernels() -> bool {
    static OWN: OnceLock<bool> = OnceLock::new();
    *OWN.get_or_init(|| std::env::var_os(KERNELS.0).is_none_or(|word| word != "candle"))
}

/// The version of the CPU's arithmetic in f32. It is raised whenever a change alters the bits of a result.
const VERSION: u32 = 1;

/// Identifies the arithmetic on the CPU: the version of this crate's arithmetic or, with `LRLAB_KERNELS=candle`, `candle`
/// and the architecture. Equal specifications give equal bits under one version; those of candle's operators depend on the
/// machine.
#[must_use]
pub fn cpu_numerics() -> String {
    if own_kernels() { VERSION.to_string() } else { format!("candle {}", std::env::consts::ARCH) }
}

/// The version of this crate's arithmetic on NVIDIA GPUs. It is raised whenever a change alters the bits of a result.
const CUDA_VERSION: u32 = 2;

/// Identifies the arithmetic on NVIDIA GPUs of one model: `f32`, or `tf32` with `LRLAB_CUDA_TF32=on`, and the version of this
/// crate's arithmetic, as in `f32/2`, or, with `LRLAB_KERNELS=candle`, `candle`, where candle's own operators run, some of
/// whose sums have no fixed order. The matrix products are those of the installed cuBLAS, whose bits may differ between its
/// versions.
#[must_use]
pub fn cuda_numerics() -> String {
    cuda_class(own_kernels(), tf32())
}

fn cuda_class(own: bool, tf32: bool) -> String {
    let products = if tf32 { "tf32" } else { "f32" };
    if own { format!("{products}/{CUDA_VERSION}") } else { format!("{products} candle") }
}

/// Whether products of f32 on NVIDIA GPUs may round their operands to TF32, as `LRLAB_CUDA_TF32=on` asks: several times
/// as fast, with about three decimal digits per product. Off by default.
#[must_use]
pub fn tf32() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os(TF32.0).is_some_and(|word| word == "on"))
}

/// Returns whether the program waits for kernels on NVIDIA GPUs and times them, as `LRLAB_CUDA_TIMES=on` asks.
#[cfg(feature = "cuda")]
pub(crate) fn times() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os(TIMES.0).is_some_and(|word| word == "on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_gpus_differ_by_arithmetic() {
        let all = [(true, false), (true, true), (false, false), (false, true)]
            .map(|(own, tf32)| cuda_class(own, tf32));
        assert_eq!(all, ["f32/2", "tf32/2", "f32 candle", "tf32 candle"]);
    }
}
