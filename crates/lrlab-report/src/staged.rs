//! The staging folder of a report.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use lrlab_runs::{FolderLock, lock_folder};

use crate::Error;
use crate::manifest::{MANIFEST, Manifest};
use crate::owned::{self, Owned};

/// The files of a report in a temporary folder within its destination, which may be on another file system than its parent. Only
/// one file at a time is in memory.
pub(crate) struct Staged {
    folder: tempfile::TempDir,
    /// Reports in one folder are written one at a time.
    _lock: FolderLock,
    /// Dropped after the other fields.
    _out: Option<RemovedIfEmpty>,
    /// Names with digests.
    pub(crate) files: Vec<(String, String)>,
}

/// A new folder, which is removed if nothing is written to it.
struct RemovedIfEmpty(PathBuf);

impl Drop for RemovedIfEmpty {
    fn drop(&mut self) {
        // A folder with files is not removed.
        let _ = std::fs::remove_dir(&self.0);
    }
}

impl Staged {
    pub(crate) fn within(out: &Path) -> Result<Self, Error> {
        let new = !out.exists();
        let lock = lock_folder(out)?;
        let removed = new.then(|| RemovedIfEmpty(out.to_path_buf()));
        let folder = tempfile::Builder::new().prefix(".report-").suffix(".tmp").tempdir_in(out);
        let folder = folder.map_err(|source| Error::Io { path: out.to_path_buf(), source })?;
        Ok(Self { folder, _lock: lock, _out: removed, files: Vec::new() })
    }

    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        self.add_with(name, &mut |file| file.write_all(text.as_bytes()).map_err(Into::into))
    }

    /// Adds what `write` writes.
    pub(crate) fn add_with(&mut self, name: &str, write: Write<'_>) -> Result<(), Error> {
        let path = self.folder.path().join(name);
        let failed = |source| Error::Io { path: path.clone(), source };
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        let file = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut hashed = Hashed { file, hasher: blake3::Hasher::new() };
        write(&mut hashed)?;
        hashed.file.flush().map_err(failed)?;
        self.files.push((name.to_owned(), hashed.hasher.finalize().to_hex().to_string()));
        Ok(())
    }

    /// An empty file without a name, for what does not fit into memory.
    pub(crate) fn scratch(&self) -> Result<File, Error> {
        let path = self.folder.path();
        tempfile::tempfile_in(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
    }

    /// Moves the files to their destination and returns the edited files of an earlier report that were kept under another
    /// name. During the move the manifest lists the old and the new files, so that an interrupted report is recognised.
    pub(crate) fn replace(&self, out: &Path, manifest: &Manifest<'_>) -> Result<Vec<PathBuf>, Error> {
        let earlier = Owned::read(out)?;
        let others = earlier.conflicts(out, &self.files)?;
        if matches!(earlier, Owned::Nothing) && !others.is_empty() {
            return Err(Error::WouldOverwrite { folder: out.to_path_buf(), files: others });
        }
        let kept = others.iter().map(|name| owned::set_aside(&out.join(name))).collect::<Result<_, _>>()?;
        Manifest::write_files(&out.join(MANIFEST), &earlier.while_replaced(&self.files))?;
        for (name, _) in &self.files {
            let (from, to) = (self.folder.path().join(name), out.join(name));
            let failed = |source| Error::Io { path: to.clone(), source };
            std::fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed)?;
            std::fs::rename(&from, &to).map_err(failed)?;
        }
        earlier.remove_others(out, &self.files)?;
        manifest.write(&out.join(MANIFEST), &self.files)?;
        Ok(kept)
    }
}

/// A function that writes a file.
pub(crate) type Write<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>;

/// A file and the running digest of its contents.
struct Hashed {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
