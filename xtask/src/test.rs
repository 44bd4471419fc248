//! `cargo xtask test`: checks everything that the README promises.
//!
//! Every step uses the release profile, and every step that links uses the same selection of packages, so that each
//! dependency is built once; lints and docs share its metadata.

use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use lrlab_options::DeviceChoice;

use crate::cuda::Machine;
use crate::runner::{self, BUILD, RUNNER};
use crate::steps::{StepResult, Steps, all};
use crate::workspace::{cargo, eprint_line};

/// The name, the description and the function of a step.
type Step = (&'static str, &'static str, fn() -> anyhow::Result<StepResult>);

const STEPS: [Step; 13] = [
    ("format", "the code is formatted", format),
    ("lints", "clippy reports no warnings", lints),
    ("docs", "the docs build without a warning", docs),
    ("features", "the schedules build without the optional features", features),
    ("cuda", "clippy reports no warnings with the feature cuda", cuda),
    ("runner", "the runner builds", runner),
    ("unit", "unit, property and doc tests of every crate", unit),
    ("end-to-end", "the runner as a user calls it", end_to_end),
    ("dependencies", "licences, sources, bans, advisories", dependencies),
    ("package", "every crate can be packaged", package),
    ("sanitizer", "the kernels' tests under the address sanitizer", sanitizer),
    ("gpu", "the GPU trains as the CPU does", gpu),
    ("emulated-gpu", "the CUDA operators on a GPU that the CPU emulates", emulated_gpu),
];

/// Steps that run only if named: the sanitizer and the emulated GPU build candle again, which takes minutes, and not
/// everyone has a GPU.
const ON_REQUEST: [&str; 3] = ["sanitizer", "gpu", "emulated-gpu"];

/// The test program of `lrlab-tests`.
pub(crate) const END_TO_END: &str = "end-to-end";

/// Returns the names of the steps for the command line.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.map(|(name, ..)| name))
}

/// Runs the steps named in `only`, or all except those on request.
pub(crate) fn test(only: &[String]) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::default();
    for (name, what, work) in STEPS {
        let wanted =
            if only.is_empty() { !ON_REQUEST.contains(&name) } else { only.iter().any(|step| step == name) };
        if wanted && !steps.step(name, what, work)? {
            break;
        }
    }
    eprint_line(&format!("\n{}", steps.table()));
    Ok(match steps.failed() {
        None => ExitCode::SUCCESS,
        Some(name) => {
            eprint_line(&format!("FAILED: {name}; again with: cargo xtask test {name}"));
            ExitCode::FAILURE
        }
    })
}

fn format() -> anyhow::Result<StepResult> {
    all([with(&["fmt", "--all", "--check"])?])
}

fn lints() -> anyhow::Result<StepResult> {
    all([with(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?])
}

fn docs() -> anyhow::Result<StepResult> {
    let mut command = with(&["doc", "--release", "--workspace", "--no-deps"])?;
    command.env("RUSTDOCFLAGS", "-D warnings");
    all([command])
}

/// Only of this crate, which has no large dependency: a build of others without features would build candle again.
fn features() -> anyhow::Result<StepResult> {
    all([with(&["check", "--release", "--package", "lrlab-schedulers", "--no-default-features"])?])
}

/// Needs a CUDA compiler. Compiling candle's kernels takes minutes the first time.
fn cuda() -> anyhow::Result<StepResult> {
    let machine = Machine::detect();
    if let Err(lacks) = machine.cuda() {
        return Ok(StepResult::Skipped(lacks.to_string()));
    }
    let mut command =
        with(&["clippy", "--release", "--package", RUNNER, "--features", "cuda", "--", "-D", "warnings"])?;
    command.envs(machine.path().map(|path| ("PATH", path)));
    all([command])
}

fn runner() -> anyhow::Result<StepResult> {
    all([with(&BUILD)?])
}

fn unit() -> anyhow::Result<StepResult> {
    let mut command = with(&["test", "--release", "--workspace", "--exclude", "lrlab-tests"])?;
    // The same cases every time, so that a failure is due to the change; unset it to explore.
    command.env("PROPTEST_RNG_SEED", "20");
    all([command])
}

fn end_to_end() -> anyhow::Result<StepResult> {
    // Together with the runner, so that features of shared dependencies are resolved as in every other step.
    let test = ["test", "--release", "--package", "lrlab-tests", "--package", "lrlab", "--test", END_TO_END];
    // The tests call the runner, which cargo does not build for them.
    all([with(&BUILD)?, with(&test)?])
}

fn dependencies() -> anyhow::Result<StepResult> {
    if !cargo()?.args(["deny", "--version"]).output()?.status.success() {
        return Ok(StepResult::Skipped("cargo-deny is not installed".to_owned()));
    }
    let mut checks = vec!["deny", "--offline", "check", "bans", "licenses", "sources"];
    if advisories_are_here() {
        checks.push("advisories");
    } else {
        eprint_line(
            "skipped: advisories (their database is not installed; `cargo deny fetch db` downloads it)",
        );
    }
    all([with(&checks)?])
}

/// Building each crate from its package would build candle again. The sources were just tested, so only the contents
/// of the packages are checked.
fn package() -> anyhow::Result<StepResult> {
    all([with(&["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"])?])
}

/// Detects out-of-bounds accesses and use after free. The sanitizer is unstable, hence the bootstrap variable; the
/// dependencies are built with it too, into a separate folder.
fn sanitizer() -> anyhow::Result<StepResult> {
    let target = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "x86_64-unknown-linux-gnu",
        ("linux", "aarch64") => "aarch64-unknown-linux-gnu",
        ("macos", "aarch64") => "aarch64-apple-darwin",
        (os, arch) => {
            return Ok(StepResult::Skipped(format!("no address sanitizer known for {os} on {arch}")));
        }
    };
    let mut command = with(&["test", "--release", "--package", "lrlab-kernels", "--lib", "--tests"])?;
    command.args(["--target", target, "--target-dir", "target/sanitizer"]);
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    all([command])
}

/// Runs the kit on the available device, or on the CPU without a GPU or without a CUDA compiler.
fn gpu() -> anyhow::Result<StepResult> {
    let program = runner::find(None, DeviceChoice::Auto)?;
    eprint_line(&format!("+ {} kit --device auto", program.display()));
    let status = Command::new(&program).args(["kit", "--device", "auto"]).status().context("the runner")?;
    Ok(if status.success() { StepResult::Passed } else { StepResult::Failed })
}

/// The kit on an emulated GPU.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn emulated_gpu() -> anyhow::Result<StepResult> {
    crate::emulated::kit()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn emulated_gpu() -> anyhow::Result<StepResult> {
    Ok(StepResult::Skipped("the emulated GPU needs Linux on x86-64".to_owned()))
}

fn advisories_are_here() -> bool {
    let cargo = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let cargo = cargo.or_else(|| Some(std::path::Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    let there = |folder: std::path::PathBuf| {
        std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
    };
    cargo.is_some_and(|cargo| there(cargo.join("advisory-dbs")))
}

fn with(words: &[&str]) -> anyhow::Result<Command> {
    let mut command = cargo()?;
    command.args(words);
    Ok(command)
}
