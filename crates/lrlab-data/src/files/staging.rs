//! The temporary folder of a download, within the cache, and the removal of those that killed processes left.

use std::fs::{File, TryLockError};
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = ".lrlab-";
/// Locked while the download runs.
const LOCK: &str = ".lock";

/// A temporary folder, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    folder: TempDir,
    _lock: File,
}

impl Staging {
    /// Creates a folder in `cache`, and removes those of processes that no longer run.
    pub(super) fn create(cache: &Path) -> std::io::Result<Self> {
        remove_abandoned(cache)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(cache)?;
        let lock = File::create(folder.path().join(LOCK))?;
        match lock.try_lock() {
            // Without locks, no other process removes the folder.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(std::io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A folder without a lock file is kept, because its process may not have created the file yet.
fn remove_abandoned(cache: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let Some(lock) = ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else { continue };
        if lock.try_lock().is_ok()
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(
                "{}: left by an earlier download, cannot be removed: {error}",
                entry.path().display()
            );
        }
    }
    Ok(())
}
