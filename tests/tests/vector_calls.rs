//! The kernels' vector operations are instructions, not calls. A function that the compiler does not inline lacks the
//! instruction set of its kernel; each vector operation in it becomes a call whose arguments pass through memory.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::BTreeSet;

use lrlab_tests::program;

/// candle's conversions to half precision, which are functions of their own.
const CANDLES: [&str; 3] = ["_mm256_loadu_ps", "_mm256_storeu_ps", "_mm256_cvtpbh_ps"];

#[test]
fn no_vector_operation_of_the_kernels_is_a_call() {
    let program = std::fs::read(program()).unwrap();
    let operations: BTreeSet<&str> = program
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| name.starts_with("_R") && name.contains("9core_arch3x86"))
        .filter_map(|name| Some(&name[name.find("_mm")?..]))
        .map(|name| name.split('.').next().unwrap_or(name))
        .collect();
    assert!(!operations.is_empty(), "the program has no names of functions");
    let floats: Vec<&&str> = operations
        .iter()
        .filter(|name| name.starts_with("_mm256") || name.starts_with("_mm512"))
        .filter(|name| name.ends_with("_ps") || name.ends_with("_pd"))
        .filter(|name| !CANDLES.contains(name))
        .collect();
    assert!(floats.is_empty(), "calls instead of instructions: {floats:?}");
}
