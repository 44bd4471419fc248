//! Passes the commit and the compiler version to the runner.

use std::process::Command;

fn main() {
    // Outside the workspace (a packaged crate) these are not there, and cargo would rerun for ever.
    for path in ["../../Cargo.lock", "../../.git/logs/HEAD", ".."] {
        if std::path::Path::new("../../Cargo.lock").is_file() && std::path::Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let set = |name: &str, value: &str| println!("cargo::rustc-env={name}={value}");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    set("LRLAB_RUSTC_VERSION", &output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".to_owned()));
    set("LRLAB_CANDLE_VERSION", &candle_version().unwrap_or_else(|| "unknown".to_owned()));
    if let Some(commit) = output("git", &["rev-parse", "HEAD"]) {
        set("LRLAB_COMMIT", &commit);
        if let Some(changes) = output("git", &["status", "--porcelain", "--untracked-files=no"]) {
            set("LRLAB_DIRTY", if changes.is_empty() { "false" } else { "true" });
        }
    }
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn candle_version() -> Option<String> {
    let lock = std::fs::read_to_string("../../Cargo.lock").ok()?;
    let rest = lock.split("name = \"candle-core\"\nversion = \"").nth(1)?;
    rest.split('"').next().map(str::to_owned)
}
