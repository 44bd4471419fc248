//! Atomic writes: a file is either complete or absent.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes `bytes` to a temporary name beside `path`, syncs, and renames over `path`.
///
/// # Errors
/// Returns [`Error::Io`] if writing or renaming fails; `path` is then unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Like [`write_atomic`], for the output of `write`, which need not be in memory at once.
///
/// # Errors
/// See [`write_atomic`]; also an error of `write`.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Error> {
    let file = temporary(path, |file| write(file).map_err(|e| Error::io(path, e)))?;
    file.persist(path).map_err(|e| Error::io(path, e.error))?;
    sync_parent(path)
}

/// Like [`write_atomic`], but the first writer wins: returns `Ok(false)` if `path` already exists.
///
/// # Errors
/// Returns [`Error::Io`] if writing or linking fails.
pub fn write_exclusive(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let file = temporary(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, e)))?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_parent(path).map(|()| true),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io(path, e.error)),
    }
}

/// Links `path` to the file `from`. The first caller wins: returns `Ok(false)` if `path` already exists. The contents are
/// copied if the file system has no hard links.
///
/// # Errors
/// Returns [`Error::Io`] if both linking and copying fail.
pub fn link_exclusive(from: &Path, path: &Path) -> Result<bool, Error> {
    match std::fs::hard_link(from, path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => write_exclusive(path, &std::fs::read(from).map_err(|e| Error::io(from, e))?),
    }
}

/// Returns the BLAKE3 digest of the contents of a file, in hexadecimal digits.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn file_digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes a new file and syncs it to disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs the entries of a folder to disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io(folder, e))?;
    Ok(())
}

fn temporary(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<tempfile::NamedTempFile, Error> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .permissions_like_create()
        .tempfile_in(folder)
        .map_err(|e| Error::io(folder, e))?;
    let mut buffered = BufWriter::new(file.as_file());
    write(&mut buffered)?;
    buffered.flush().and_then(|()| file.as_file().sync_all()).map_err(|e| Error::io(path, e))?;
    drop(buffered);
    Ok(file)
}

/// Syncs the parent folder, without which a renamed file may not survive a power failure.
fn sync_parent(path: &Path) -> Result<(), Error> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Makes a temporary file readable by others, which it is not by default.
trait PermissionsLikeCreate {
    fn permissions_like_create(&mut self) -> &mut Self;
}
impl PermissionsLikeCreate for tempfile::Builder<'_, '_> {
    fn permissions_like_create(&mut self) -> &mut Self {
        #[cfg(unix)]
        self.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_exclusive_keeps_the_first_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/result.json");
        assert!(write_exclusive(&path, b"one").unwrap());
        assert!(!write_exclusive(&path, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_atomic(&path, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
