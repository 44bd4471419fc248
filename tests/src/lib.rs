//! Helpers of the end-to-end tests, which call the runner as a user does, in the user's folder.
//!
//! A test names the experiment relative to that folder and leaves `--out` at its default, `runs`. A test with several
//! stores names them relative to the folder too. A comment explains any other path.

pub mod browser;
pub mod slurm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[cfg(unix)]
use rustix::process::Signal;
use serde_json::Value;

/// The keys of a result that are equal, to the bit, in two runs of one specification.
pub const SHARED: [&str; 5] = ["outcome", "history", "final", "best", "decisions"];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The runner.
///
/// # Panics
/// Panics if it is not built.
#[must_use]
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release").join(format!("lrlab{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} does not exist; `cargo xtask build` builds it", program.display());
    program
}

/// Two runs that take a second: a linear model on forty pictures.
pub const TINY: &str = r#"name = "tiny"
description = "Two runs."

[axes]
model = ["linear"]
schedule = ["static"]
epochs = [1]
seed = [0, 1]

[defaults]
lr = 0.01
batch_size = 16
optimizer = { sgd = {} }

[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 40, test = 10 } }

[schedules.static]
static = {}
"#;

/// The runner's command, to be run in the user's `folder`.
///
/// # Panics
/// Panics if the runner is not built.
#[must_use]
pub fn runner(folder: &Path) -> Command {
    start(&program(), folder)
}

/// The command of any runner, to be run in the user's `folder`.
#[must_use]
pub fn start(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

/// The signal of Ctrl-C, or SIGTERM if this process ignores SIGINT, as background jobs of a shell do: the runner inherits that
/// and keeps SIGINT ignored.
#[cfg(unix)]
#[must_use]
pub fn ctrl_c() -> Signal {
    if lrlab_grid::catchable(&[Signal::INT.as_raw()]).is_empty() { Signal::TERM } else { Signal::INT }
}

/// Copies the runner's default experiment `experiments/quickstart.toml` into the user's folder.
///
/// # Panics
/// Panics if it cannot be copied.
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn quickstart(folder: &Path) {
    const FILE: &str = "experiments/quickstart.toml";
    std::fs::create_dir_all(folder.join("experiments")).expect("a folder for it");
    std::fs::copy(root().join(FILE), folder.join(FILE)).expect("the quickstart");
}

/// The exit code and output of a finished command.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; −1 if a signal ended the command.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Converts the output of a command.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the runner in the user's `folder` and waits for its end.
///
/// # Panics
/// Panics if it cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn run(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(&runner(folder).args(args).output().expect("the runner starts"))
}

/// Every result in a store by run id.
///
/// # Panics
/// Panics if a result is not JSON.
#[must_use]
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn results(out: &Path) -> BTreeMap<String, Value> {
    let runs = std::fs::read_dir(out.join("store")).into_iter().flatten().flatten();
    let read = |run: std::fs::DirEntry| {
        let bytes = std::fs::read(run.path().join("result.json")).ok()?;
        let result = serde_json::from_slice(&bytes).expect("a result is JSON");
        Some((run.file_name().to_string_lossy().into_owned(), result))
    };
    runs.filter_map(read).collect()
}

/// Checks every result of an undisturbed grid: the executed updates are those of its specification, less those of a
/// shorter run that it continued, and its clocks fit between its start and its end. A fifth of the training examples is
/// for validation.
///
/// # Panics
/// Panics if a check fails or there is no result.
pub fn accounts_add_up(results: &BTreeMap<String, Value>) {
    assert!(!results.is_empty(), "no result");
    for (id, result) in results {
        let (spec, timing) = (&result["spec"], &result["timing"]);
        let count = |value: &Value| value.as_u64().unwrap_or_default();
        let source = spec["data"]["source"].as_object().and_then(|source| source.values().next());
        let examples = source.map_or(0, |source| count(&source["train"]) * 4 / 5);
        let batch = count(&spec["batch_size"]) * count(&spec["accumulate"]);
        let planned = count(&spec["epochs"]) * examples.div_ceil(batch)
            - count(&result["provenance"]["continued"]["updates"]);
        assert_eq!(count(&timing["updates_executed"]), planned, "{id}: {spec}");
        let seconds = |key: &str| timing[key].as_f64().unwrap_or(f64::NAN);
        let whole = seconds("finished") - seconds("started");
        // The resolution of the wall clock is a millisecond here.
        let parts = [seconds("train_s") + seconds("eval_s"), seconds("elapsed_s")];
        assert!(parts.iter().all(|part| (0.0..=whole + 1e-3).contains(part)), "{id}: {timing}");
    }
}

/// Every file below a folder, at any depth, except files that are removed meanwhile.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

/// The output of `cargo metadata` for this machine's platform, without network access.
///
/// # Panics
/// Panics if cargo fails.
#[must_use]
#[expect(clippy::unwrap_used, reason = "a test helper")]
pub fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let rustc = String::from_utf8(rustc).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args([
        "metadata",
        "--format-version=1",
        "--offline",
        "--filter-platform",
        &host,
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Copies a folder with everything below it.
///
/// # Panics
/// Panics if a file cannot be read or written.
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder to copy to");
    for entry in std::fs::read_dir(from).expect("a folder to copy").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file to copy");
        }
    }
}

/// The cache with the real data: `HF_HOME`, else `shared/hf` beside the workspace; `None`, with a message, without it.
#[must_use]
pub fn real_data() -> Option<PathBuf> {
    let home = std::env::var_os("HF_HOME").map_or_else(|| root().join("../shared/hf"), PathBuf::from);
    let there =
        home.join("hub/datasets--cifar10").is_dir() && home.join("hub/datasets--stanfordnlp--imdb").is_dir();
    if there {
        return home.canonicalize().ok();
    }
    eprintln!("skipped: no CIFAR-10 and IMDB in {} (set HF_HOME to a cache that has them)", home.display());
    None
}
