//! Where things are, whichever folder of the workspace one stands in.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

/// The workspace's folder.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask has no parent folder")?;
    Ok(root.to_path_buf())
}

/// `path` as a user in the workspace's root would write it, or in full where they stand elsewhere.
pub(crate) fn in_root(path: &str) -> anyhow::Result<PathBuf> {
    let root = root()?;
    let here = std::env::current_dir()?;
    Ok(if here.canonicalize()? == root.canonicalize()? { path.into() } else { root.join(path) })
}

/// The cargo that started us, in the workspace's root.
pub(crate) fn cargo() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    // What `cargo run` set for this package is none of the children's business, and would make build scripts run
    // again that look at it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name == "CARGO_MANIFEST_DIR"
            || name == "CARGO_MANIFEST_PATH"
        {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// A line on standard error.
pub(crate) fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
