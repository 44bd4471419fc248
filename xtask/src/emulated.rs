//! Checks the CUDA operators on a GPU that the CPU emulates (`tests/emulated-gpu`).

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::runner::{BUILD, CUDA, RUNNER};
use crate::steps::{StepResult, all};
use crate::workspace::{cargo, eprint_line, root};

/// The libraries of CUDA that a program is linked with, all of which are the emulated driver.
const LIBRARIES: [&str; 6] = ["cuda", "cudart", "cublas", "cublasLt", "curand", "nvrtc"];
/// The file that the linker records.
const DRIVER: &str = "libcuda.so.1";
/// The checks of the kit that an emulated GPU finishes in minutes.
const CHECKS: [&str; 6] = ["operators", "data", "lstm twice", "transformer twice", "two threads", "own loop"];
/// The operators whose own kernels multiply in TF32.
const TF32_CHECKS: [&str; 5] = ["conv2d", "ConvNet", "linear", "LstmLayer", "EncoderLayer"];

/// Builds the toolkit and the runner, and runs the kit in two orders of threads, on which the results may not depend, and
/// with products in TF32.
pub(crate) fn kit() -> anyhow::Result<StepResult> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    for tool in [compiler.as_os_str(), "perl".as_ref()] {
        if Command::new(tool).arg("--version").output().is_err() {
            return Ok(StepResult::Skipped(format!("{} is not installed", tool.display())));
        }
    }
    let source = root()?.join("tests/emulated-gpu");
    let target = root()?.join("target/emulated-gpu");
    let home = target.join("toolkit");
    let libraries = home.join("lib64");
    let kit = |order: &str, tf32: &str, checks: &[&str], results: &Path| {
        let mut kit = Command::new(target.join("release").join(RUNNER));
        kit.args(["kit", "--device", "cuda", "--json"]).arg(results);
        kit.args(checks.iter().flat_map(|check| ["--only", check]));
        kit.env("EMULATED_GPU_ORDER", order).env("LRLAB_CUDA_TF32", tf32);
        kit.env("LD_LIBRARY_PATH", &libraries);
        kit
    };
    let [forward, reverse, tf32] =
        ["forward", "reverse", "tf32"].map(|name| target.join(format!("{name}.jsonl")));
    let done = all([
        toolkit(&source, &home, &compiler)?,
        runner(&target, &home)?,
        kit("forward", "off", &CHECKS, &forward),
        kit("reverse", "off", &CHECKS, &reverse),
        kit("forward", "on", &TF32_CHECKS, &tf32),
    ])?;
    if done != StepResult::Passed {
        return Ok(done);
    }
    let (forward, reverse) = (verdicts(&forward)?, verdicts(&reverse)?);
    if forward == reverse {
        return Ok(StepResult::Passed);
    }
    for (forward, reverse) in forward.iter().zip(&reverse).filter(|(forward, reverse)| forward != reverse) {
        eprint_line(&format!("other results in reverse order:\n{forward}\n{reverse}"));
    }
    Ok(StepResult::Failed)
}

/// Returns the rows of the kit's results without their times.
fn verdicts(path: &Path) -> anyhow::Result<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let row = |line| -> anyhow::Result<serde_json::Value> {
        let mut row: serde_json::Value = serde_json::from_str(line)?;
        if let Some(row) = row.as_object_mut() {
            row.remove("seconds");
        }
        Ok(row)
    };
    text.lines().map(row).collect()
}

/// Lays out the files of a CUDA toolkit, and returns the command that compiles its driver.
fn toolkit(source: &Path, home: &Path, compiler: &OsStr) -> anyhow::Result<Command> {
    for folder in ["bin", "lib64", "include"] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    link(&source.join("nvcc"), &home.join("bin/nvcc"))?;
    for library in LIBRARIES {
        link(Path::new(DRIVER), &home.join(format!("lib64/lib{library}.so")))?;
    }
    let mut compile = Command::new(compiler);
    compile.args(["-std=c++17", "-O2", "-g1", "-Wall", "-shared", "-fPIC", "-pthread"]);
    compile.arg(format!("-Wl,-soname,{DRIVER}"));
    compile.arg(format!("-DEMULATED_COMPILE=\"{}\"", source.join("compile.sh").display()));
    compile.arg(source.join("driver.cpp")).arg("-o").arg(home.join("lib64").join(DRIVER)).arg("-ldl");
    Ok(compile)
}

fn runner(target: &Path, home: &Path) -> anyhow::Result<Command> {
    let mut command = cargo()?;
    command.args(BUILD).args(["--features", CUDA]).arg("--target-dir").arg(target);
    let bin = home.join("bin");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin).chain(std::env::split_paths(&folders));
    command
        .env("PATH", std::env::join_paths(folders)?)
        .env("CUDA_HOME", home)
        .env("NVCC", home.join("bin/nvcc"));
    // Candle's launchers of quantised models, which are not emulated, stay unresolved; nothing calls them.
    let flags = "-C relro-level=partial -C link-arg=-Wl,--unresolved-symbols=ignore-all";
    command.env("CUDA_COMPUTE_CAP", "90").env("RUSTFLAGS", flags);
    Ok(command)
}

/// Makes `link` refer to `to`.
fn link(to: &Path, link: &Path) -> anyhow::Result<()> {
    if std::fs::read_link(link).ok().as_deref() != Some(to) {
        match std::fs::remove_file(link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::os::unix::fs::symlink(to, link).with_context(|| link.display().to_string())?;
    }
    Ok(())
}
