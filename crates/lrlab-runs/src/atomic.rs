//! Files that are either whole or not there.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes `bytes` to a temporary name beside `path`, syncs, and renames over `path`.
///
/// # Errors
/// [`Error::Io`] where writing or renaming fails; `path` is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomic_parts(path, &[bytes])
}

/// As [`write_atomic`], of several parts, one after the other.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_atomic_parts(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    write_atomic_with(path, |file| {
        parts.iter().try_for_each(|part| file.write_all(part)).map_err(|e| Error::io(path, e))
    })
}

/// As [`write_atomic`], of what `write` writes: nothing large need be in memory at once.
pub(crate) fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = temporary(path, write)?;
    file.persist(path).map_err(|e| Error::io(path, e.error))?;
    sync_parent(path)
}

/// As [`write_atomic`], but the first writer wins: `Ok(false)` where `path` already exists.
///
/// # Errors
/// [`Error::Io`] where writing or linking fails.
pub fn write_exclusive(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let file = temporary(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, e)))?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_parent(path).map(|()| true),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io(path, e.error)),
    }
}

/// Gives the file `from` the name `path` as well, unless there is a file of that name: the first wins, `Ok(false)`
/// for the others. Where the file system has no second names the contents are copied.
///
/// # Errors
/// [`Error::Io`] where linking and copying fail.
pub fn link_exclusive(from: &Path, path: &Path) -> Result<bool, Error> {
    match std::fs::hard_link(from, path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => write_exclusive(path, &std::fs::read(from).map_err(|e| Error::io(from, e))?),
    }
}

/// The BLAKE3 digest of a file's contents, in hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn file_digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes a new file and waits until it is on disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the names in a folder are on disk.
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

/// A renamed file survives a power cut only once its folder is synced.
fn sync_parent(path: &Path) -> Result<(), Error> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Temporary files are private by default; results are meant to be read by others.
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
    fn exclusive_keeps_the_first() {
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
