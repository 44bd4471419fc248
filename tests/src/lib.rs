//! What the end-to-end tests share: the runner as a user calls it, from inside a folder of theirs.
//!
//! A test names the experiment relative to that folder and leaves `--out` at its default, `runs`. One that needs several
//! stores names them relative to the folder too; any other path says why.

pub mod browser;
pub mod slurm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What two runs of one specification share, to the bit.
pub const SHARED: [&str; 5] = ["outcome", "history", "final", "best", "decisions"];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The runner.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release").join(format!("lrlab{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is not there: `cargo xtask build` makes it", program.display());
    program
}

/// Two runs of a second: a linear model on forty pictures.
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

/// A command line of the runner, started inside the user's `folder`.
///
/// # Panics
/// The runner is not built.
#[must_use]
pub fn runner(folder: &Path) -> Command {
    start(&program(), folder)
}

/// A command line of a runner, started inside the user's `folder`.
#[must_use]
pub fn start(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

/// Gives the user's folder what the runner runs by default: `experiments/quickstart.toml`.
///
/// # Panics
/// It cannot be copied.
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn quickstart(folder: &Path) {
    const FILE: &str = "experiments/quickstart.toml";
    std::fs::create_dir_all(folder.join("experiments")).expect("a folder for it");
    std::fs::copy(root().join(FILE), folder.join(FILE)).expect("the quickstart");
}

/// What a finished command left.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; −1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// What a command came to.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the runner to its end, started inside the user's `folder`.
///
/// # Panics
/// It cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn run(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(&runner(folder).args(args).output().expect("the runner starts"))
}

/// Every result in a store by run id.
///
/// # Panics
/// A result that is no JSON.
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

/// What holds for every result of a grid that nothing happened to: as many updates were executed as its specification
/// plans, without those of a shorter run that it continued, and its clocks fit between its start and its end. Of the training examples a fifth is for validation.
///
/// # Panics
/// It does not hold, or there is no result.
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
        // The wall clock may be set while a run lasts; a millisecond is its resolution here.
        let parts = [seconds("train_s") + seconds("eval_s"), seconds("elapsed_s")];
        assert!(parts.iter().all(|part| (0.0..=whole + 1e-3).contains(part)), "{id}: {timing}");
    }
}

/// Every file below a folder, at whatever depth; those that go away meanwhile are left out.
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

/// What cargo knows, for this machine's platform, without asking the network.
///
/// # Panics
/// Cargo does not say.
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
/// Something cannot be read or written.
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

/// The real data's cache: `HF_HOME`, else `shared/hf` beside the workspace; `None`, with a word, where there is none.
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
