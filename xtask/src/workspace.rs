//! Paths in the workspace, independent of the current folder.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

/// The workspace's folder. Cargo names the folder of this package when it starts the program, which a build folder that
/// was moved, or that several checkouts share, may have compiled elsewhere.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let is_ours = std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    let named = std::env::var_os("CARGO_MANIFEST_DIR").filter(|_| is_ours);
    let here = named.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = here.parent().context("xtask has no parent folder")?;
    Ok(root.to_path_buf())
}

/// `path` as seen from the workspace's root, or in full if the current folder is another one.
pub(crate) fn in_root(path: &str) -> anyhow::Result<PathBuf> {
    let root = root()?;
    let here = std::env::current_dir()?;
    Ok(if here.canonicalize()? == root.canonicalize()? { path.into() } else { root.join(path) })
}

/// Returns the cargo that started this program, in the workspace's root.
pub(crate) fn cargo() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    // Variables that `cargo run` set for this package do not concern child processes, and would make build scripts
    // that read them run again.
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

/// Prints a line to standard error.
pub(crate) fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
