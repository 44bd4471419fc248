//! The logs of an attempt.

use std::path::Path;

use anyhow::Context;

/// The logs below an attempt's folder.
pub(super) const LOGS: [&str; 4] = ["events.jsonl", "metrics.csv", "updates.csv", "tensorboard"];

/// Copies a file or a folder of files if it exists.
pub(super) fn copy_log(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
        for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
            let entry = entry.with_context(|| from.display().to_string())?;
            copy_log(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.is_file() {
        std::fs::copy(from, to).with_context(|| to.display().to_string())?;
    }
    Ok(())
}
