//! What the environment asks for: `LRLAB_KERNELS` and `LRLAB_SIMD`.

use std::sync::OnceLock;

use candle_core::{Result, bail};

/// Whose operators run on the CPU.
const KERNELS: (&str, &[&str]) = ("LRLAB_KERNELS", &["own", "candle"]);
/// The highest SIMD level that is used.
const SIMD: (&str, &[&str]) = ("LRLAB_SIMD", &["avx512", "avx2", "scalar"]);

/// Refuses words in `LRLAB_KERNELS` (`own`, `candle`) and `LRLAB_SIMD` (`avx512`, `avx2`, `scalar`) that mean nothing;
/// without this check they count as the first of each. Programs call it when they start.
///
/// # Errors
/// A variable is set to something else.
pub fn check_environment() -> Result<()> {
    for (name, words) in [KERNELS, SIMD] {
        if let Some(value) = std::env::var_os(name)
            && !words.iter().any(|word| value == *word)
        {
            bail!("{name}={}: expected {}", value.display(), words.join(", "));
        }
    }
    Ok(())
}

/// Whether this crate's kernels run; with `LRLAB_KERNELS=candle` candle's own operators run in their place everywhere.
pub(crate) fn own_kernels() -> bool {
    static OWN: OnceLock<bool> = OnceLock::new();
    *OWN.get_or_init(|| std::env::var_os(KERNELS.0).is_none_or(|word| word != "candle"))
}
