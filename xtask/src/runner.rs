//! The runner: built where it is needed, and then in our place.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::workspace::{cargo, tell};

/// The package of the runner, and the name of its binary.
const RUNNER: &str = "lrlab";

/// The user's own runner, or ours, built for `device`.
pub(crate) fn find(own: Option<&Path>, device: &str) -> anyhow::Result<PathBuf> {
    let Some(path) = own else { return build(device) };
    if !path.is_file() {
        bail!("there is no runner {}", path.display());
    }
    Ok(std::path::absolute(path)?)
}

/// Builds the runner with what `device` needs. Says nothing where there is nothing to do.
fn build(device: &str) -> anyhow::Result<PathBuf> {
    let program = beside_us()?;
    let mut command = cargo()?;
    command.args(BUILD);
    if let Some(feature) = feature(device)? {
        command.args(["--features", feature]);
    }
    if !program.is_file() {
        tell("building the runner: the first time takes minutes");
    }
    let colour = if std::io::stderr().is_terminal() { "always" } else { "never" };
    command.env("CARGO_TERM_COLOR", colour).stderr(Stdio::piped());
    let mut child = command.spawn().context("cargo")?;
    if let Some(progress) = child.stderr.take() {
        show(BufReader::new(progress));
    }
    if !child.wait()?.success() {
        bail!("the runner could not be built");
    }
    Ok(program)
}

/// How the runner is built, here and by `cargo xtask test`.
pub(crate) const BUILD: [&str; 4] = ["build", "--release", "--package", RUNNER];

/// Puts the runner in our place: signals and exit codes are its own.
pub(crate) fn become_it(program: &Path, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut command = Command::new(program);
    command.args(arguments);
    // Workers may be started elsewhere.
    if let Some(home) = std::env::var_os("HF_HOME").filter(|home| !home.is_empty()) {
        command.env("HF_HOME", std::path::absolute(home)?);
    }
    replace(command).with_context(|| format!("cannot start {}", program.display()))
}

#[cfg(unix)]
fn replace(mut command: Command) -> anyhow::Result<ExitCode> {
    // Returns only where it failed.
    Err(std::os::unix::process::CommandExt::exec(&mut command).into())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> anyhow::Result<ExitCode> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Cargo puts the runner where it put us: same target folder, same profile.
fn beside_us() -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe()?;
    Ok(us.with_file_name(format!("{RUNNER}{}", std::env::consts::EXE_SUFFIX)))
}

/// The feature of the runner that `device` needs.
fn feature(device: &str) -> anyhow::Result<Option<&'static str>> {
    Ok(match device {
        "cpu" => None,
        "metal" => Some("metal"),
        "auto" if cfg!(target_os = "macos") => Some("metal"),
        "auto" => cuda_is_here().then_some("cuda"),
        "cuda" => Some("cuda"),
        _ if device.strip_prefix("cuda:").is_some_and(|n| n.parse::<usize>().is_ok()) => Some("cuda"),
        _ => bail!("{device:?} is no device: expected auto, cpu, cuda, cuda:N or metal"),
    })
}

/// A GPU to train on, and a compiler to build for it.
fn cuda_is_here() -> bool {
    let answers = |program: &str, argument: &str| {
        let quiet = || Stdio::null();
        let status = Command::new(program).arg(argument).stdout(quiet()).stderr(quiet()).status();
        status.is_ok_and(|status| status.success())
    };
    answers("nvidia-smi", "-L") && answers("nvcc", "--version")
}

/// Passes cargo's words on from the first that is not "everything is fresh".
fn show(progress: impl BufRead) {
    let mut quiet = true;
    for line in progress.lines().map_while(Result::ok) {
        quiet &= line.contains("Finished");
        if !quiet {
            tell(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_their_features() {
        for (device, expected) in [
            ("cpu", Some(None)),
            ("cuda", Some(Some("cuda"))),
            ("cuda:3", Some(Some("cuda"))),
            ("metal", Some(Some("metal"))),
            ("cuda:x", None),
            ("gpu", None),
        ] {
            assert_eq!(feature(device).ok(), expected, "{device}");
        }
    }
}
