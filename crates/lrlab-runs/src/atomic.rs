//! Atomic writes: a file is either complete or absent.

use std::fs::TryLockError;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;

/// Writes `bytes` to a temporary name beside `path`, syncs, and renames over `path`. If `path` is a symbolic link to a
/// file, that file is replaced.
///
/// # Errors
/// Returns [`Error::Io`] if writing or renaming fails, and if `path` is a folder, a device or a pipe; `path` is then unchanged.
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
    let target = replaceable(path).map_err(|e| Error::io(path, e))?;
    let file = temporary(&target, |file| write(file).map_err(|e| Error::io(path, e)))?;
    file.persist(&target).map_err(|e| Error::io(path, e.error))?;
    sync_parent(&target)
}

/// Returns the path that a rename may replace for `path`: the end of a chain of symbolic links.
fn replaceable(path: &Path) -> std::io::Result<PathBuf> {
    match path.metadata() {
        Ok(it) if !it.is_file() => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "is a folder, a device or a pipe, expected a file or a new path",
        )),
        Ok(_) if path.is_symlink() => path.canonicalize(),
        _ => Ok(path.to_path_buf()),
    }
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

/// A locked folder; dropping it releases the lock.
#[derive(Debug)]
pub struct FolderLock {
    /// The lock file and its path; `None` if the folder cannot be locked.
    file: Option<(std::fs::File, PathBuf)>,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Where an open file cannot be told from another of its name, it is left.
        if let Some((_, path)) = self.file.as_ref().filter(|_| cfg!(unix)) {
            // A file that remains is locked again by the next process.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Creates `folder` and waits until no other process has locked it, also on other machines that share it: the lock is on the file
/// `.lrlab.lock` in the folder, which is removed afterwards. If that is impossible, because the folder is read-only or the file
/// system has no locks, this logs a warning.
///
/// # Errors
/// Returns [`Error::Io`] if the folder cannot be created.
pub fn lock_folder(folder: &Path) -> Result<FolderLock, Error> {
    let path = folder.join(".lrlab.lock");
    let open = || match std::fs::File::options().create(true).truncate(false).write(true).open(&path) {
        // The file of another user.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            std::fs::File::open(&path).map_err(|_| error)
        }
        opened => opened,
    };
    let warn = |error: std::io::Error| {
        tracing::warn!(
            "{}: cannot be locked ({error}): commands that write to it at the same time may lose changes",
            folder.display()
        );
        Ok(FolderLock { file: None })
    };
    loop {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let file = match open() {
            Ok(file) => file,
            // Another process removed the folder, which was empty.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return warn(error),
        };
        match wait_for(&file, &path) {
            // Its last owner may have removed the file between opening and locking.
            Ok(()) if !is_at(&file, &path) => {}
            Ok(()) => return Ok(FolderLock { file: Some((file, path)) }),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                return warn(error);
            }
        }
    }
}

/// Locks a file, and says so if another process holds the lock for long.
fn wait_for(file: &std::fs::File, path: &Path) -> std::io::Result<()> {
    const QUIET: Duration = Duration::from_secs(2);
    let began = Instant::now();
    while began.elapsed() < QUIET {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    tracing::warn!("{}: waiting for the process that has locked this folder", folder_of(path).display());
    file.lock()
}

/// Returns whether `path` is the name of an open file.
#[cfg(unix)]
fn is_at(file: &std::fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (ours, there) = (file.metadata(), std::fs::metadata(path));
    ours.is_ok_and(|ours| there.is_ok_and(|there| (ours.dev(), ours.ino()) == (there.dev(), there.ino())))
}

/// Lock files are not removed on this system.
#[cfg(not(unix))]
fn is_at(_: &std::fs::File, _: &Path) -> bool {
    true
}

/// Returns the folder of a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    let folder = folder_of(path);
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
    sync_folder(folder_of(path))
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

    /// Threads lock through files of their own, like processes.
    #[test]
    fn one_owner_at_a_time_changes_a_locked_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (locked, count) = (folder.path().join("new"), folder.path().join("count"));
        std::fs::write(&count, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = lock_folder(&locked).unwrap();
                        let n: u32 = std::fs::read_to_string(&count).unwrap().parse().unwrap();
                        std::thread::yield_now();
                        std::fs::write(&count, (n + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "200");
        assert_eq!(std::fs::read_dir(&locked).unwrap().count(), usize::from(!cfg!(unix)), "no file is left");
    }

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

    #[cfg(unix)]
    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        std::fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_atomic(&link, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert!(link.is_symlink());
        for (target, expected) in [("/dev/null", "a device"), (folder.path().to_str().unwrap(), "a folder")] {
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(target, &link).unwrap();
            let error = write_atomic(&link, b"three").unwrap_err().to_string();
            assert!(error.contains(expected) && link.is_symlink(), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
