//! Free disk space.

use std::path::Path;

use crate::Error;

/// Returns the bytes that this user can still write to the file system of `path`, which need not exist.
///
/// # Errors
/// Returns an error if the file system cannot be queried.
#[cfg(unix)]
pub fn free_space(path: &Path) -> Result<u64, Error> {
    let existing = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
    let existing = existing.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let stats = rustix::fs::statvfs(existing).map_err(|e| Error::io(existing, e.into()))?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Returns the maximum, because the free space is unknown on this system.
///
/// # Errors
/// Never returns an error.
#[cfg(not(unix))]
pub fn free_space(_: &Path) -> Result<u64, Error> {
    Ok(u64::MAX)
}
