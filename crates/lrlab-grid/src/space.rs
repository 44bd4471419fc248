//! Free disk space.

use std::path::Path;

use crate::Error;

/// Returns the bytes that this user can still write to the file system of `path`, which need not exist.
///
/// # Errors
/// The file system cannot be queried.
#[cfg(unix)]
pub fn free_space(path: &Path) -> Result<u64, Error> {
    let there = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
    let there = there.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let stats = rustix::fs::statvfs(there).map_err(|e| Error::io(there, e.into()))?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Returns the maximum: the free space is unknown on this system, so nothing is refused.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn free_space(_: &Path) -> Result<u64, Error> {
    Ok(u64::MAX)
}
