//! Every operator against a slow reference in f64 over random shapes, its gradients against finite differences of the
//! reference, and bad input: at every SIMD level, and for the compositions of candle's own operators.
//!
//! A new operator gets a reference in `reference` and a test that calls [`harness::check`] with operands of random
//! shapes; layouts, gradients and repeatability come with it.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]

mod arguments;
mod examples;
mod harness;
mod masked;
mod misuse;
mod nan;
mod pictures;
mod pointwise;
mod pure;
mod reference;
mod text;
mod update;

use std::process::Command;

/// Runs all tests again in processes whose environment selects other implementations.
#[test]
fn other_levels_pass_all_tests() {
    let asked = [("LRLAB_SIMD", "avx2"), ("LRLAB_SIMD", "scalar"), ("LRLAB_KERNELS", "candle")];
    if asked.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        eprintln!("skipped: the environment selects a level already");
        return;
    }
    for (name, value) in asked {
        if value == lrlab_kernels::simd_level() {
            eprintln!("skipped: {value} is the best level of this machine and was tested already");
            continue;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--skip", "other_levels_pass_all_tests"]).env(name, value);
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}={value}: {printed}");
        assert!(!printed.contains(" 0 passed"), "{name}={value}: no test ran: {printed}");
    }
}
