//! Room on a disk.

use std::path::Path;

use crate::Error;

/// Bytes that this user may still write where `path` is, or would be.
///
/// # Errors
/// The file system cannot be asked.
#[cfg(unix)]
pub fn free_space(path: &Path) -> Result<u64, Error> {
    let there = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
    let there = there.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let told = rustix::fs::statvfs(there).map_err(|e| Error::io(there, e.into()))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Not known on this system, so nothing is refused for it.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn free_space(_: &Path) -> Result<u64, Error> {
    Ok(u64::MAX)
}
