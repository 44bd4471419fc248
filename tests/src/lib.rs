//! What the end-to-end tests share: the runner as a user calls it, in a store of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command line of the runner, started in the workspace's root.
///
/// # Panics
/// The runner is not built.
#[must_use]
pub fn runner() -> Command {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release").join(format!("lrlab{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is not there: `cargo xtask build` makes it", program.display());
    let mut command = Command::new(program);
    command.current_dir(root()).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
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

/// Runs the runner to its end.
///
/// # Panics
/// It cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn run(args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = runner().args(args).output().expect("the runner starts");
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
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
