//! Builds the runner where necessary and executes it in place of this process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, bail};
use lrlab_options::DeviceChoice;

use crate::cuda::Machine;
use crate::workspace::{cargo, eprint_line};

/// The package of the runner, and the name of its binary.
pub(crate) const RUNNER: &str = "lrlab";
/// Its feature for NVIDIA GPUs.
pub(crate) const CUDA: &str = "cuda";

/// Returns the user-built runner `own`, or builds the workspace's for `device`.
pub(crate) fn find(own: Option<&Path>, device: DeviceChoice) -> anyhow::Result<PathBuf> {
    let Some(path) = own else { return build(device) };
    if !path.is_file() {
        bail!("there is no runner {}", path.display());
    }
    Ok(std::path::absolute(path)?)
}

/// Builds the runner with the features that `device` needs. Prints nothing if it is up to date.
fn build(device: DeviceChoice) -> anyhow::Result<PathBuf> {
    let program = runner_path()?;
    let (feature, path) = needs(device, Machine::detect)?;
    let mut command = cargo()?;
    command.args(BUILD);
    command.args(feature.into_iter().flat_map(|feature| ["--features", feature]));
    command.envs(path.map(|path| ("PATH", path)));
    if !program.is_file() {
        let time = if feature == Some(CUDA) { "a quarter of an hour" } else { "minutes" };
        eprint_line(&format!("building the runner: the first time takes {time}"));
    }
    let colour =
        if AutoStream::choice(&std::io::stderr()) == ColorChoice::Never { "never" } else { "always" };
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

/// The arguments that build the runner, here and in `cargo xtask test`.
pub(crate) const BUILD: [&str; 4] = ["build", "--release", "--package", RUNNER];

/// The environment variable that passes the calling command to the runner, for the commands in its reports.
const CALLED_AS: &str = "LRLAB_CALLED_AS";

/// Replaces this process with the runner; `own` is the user's. Signals and exit codes are the runner's.
pub(crate) fn exec(program: &Path, own: Option<&Path>, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut called = "cargo xtask run-grid".to_owned();
    if let Some(own) = own {
        let own = own.to_str().with_context(|| format!("the path {} is not valid Unicode", own.display()))?;
        called = format!("{called} --runner {}", shlex::try_quote(own)?);
    }
    exec_with(program, arguments, &[(CALLED_AS, &called)])
}

/// Like [`exec`], with additional environment variables.
pub(crate) fn exec_with(
    program: &Path,
    arguments: &[OsString],
    variables: &[(&str, &str)],
) -> anyhow::Result<ExitCode> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    // Workers may be started in another folder.
    if let Some(home) = std::env::var_os("HF_HOME").filter(|home| !home.is_empty()) {
        command.env("HF_HOME", std::path::absolute(home)?);
    }
    replace(command).with_context(|| format!("cannot start {}", program.display()))
}

#[cfg(unix)]
fn replace(mut command: Command) -> anyhow::Result<ExitCode> {
    // Returns only on failure.
    Err(std::os::unix::process::CommandExt::exec(&mut command).into())
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> anyhow::Result<ExitCode> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Returns the path of the runner: cargo puts it beside this program.
fn runner_path() -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe()?;
    Ok(us.with_file_name(format!("{RUNNER}{}", std::env::consts::EXE_SUFFIX)))
}

/// Returns the feature of the runner that `device` needs, and the search path for programs if it has to be changed.
fn needs(
    device: DeviceChoice,
    machine: impl FnOnce() -> Machine,
) -> anyhow::Result<(Option<&'static str>, Option<OsString>)> {
    let cuda = match device {
        DeviceChoice::AnyCuda | DeviceChoice::Cuda(_) => true,
        DeviceChoice::Auto => !cfg!(target_os = "macos"),
        DeviceChoice::Cpu | DeviceChoice::Metal => false,
    };
    if !cuda {
        return Ok(((device != DeviceChoice::Cpu).then_some("metal"), None));
    }
    let machine = machine();
    if device != DeviceChoice::Auto {
        machine.cuda()?;
    } else if !machine.auto() {
        return Ok((None, None));
    }
    Ok((Some(CUDA), machine.path()))
}

/// Shows cargo's output from the first line that does not say that everything is up to date.
fn show(progress: impl BufRead) {
    let mut quiet = true;
    for line in progress.lines().map_while(Result::ok) {
        quiet &= line.contains("Finished");
        if !quiet {
            eprint_line(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::fake_machine;

    #[test]
    fn devices_and_their_features() {
        // A machine with a GPU and without a compiler.
        let machine = || fake_machine(&[], &[], true);
        for (device, expected) in [
            ("cpu", Ok(None)),
            ("metal", Ok(Some("metal"))),
            ("cuda", Err("install the CUDA toolkit")),
            ("cuda:3", Err("install the CUDA toolkit")),
            ("auto", Ok(cfg!(target_os = "macos").then_some("metal"))),
        ] {
            match (needs(device.parse().unwrap(), machine), expected) {
                (Ok((feature, _)), Ok(expected)) => assert_eq!(feature, expected, "{device}"),
                (Err(error), Err(word)) => {
                    assert!(error.to_string().contains(word), "{device}: {error}");
                }
                (found, expected) => panic!("{device}: {found:?}, not {expected:?}"),
            }
        }
    }
}
