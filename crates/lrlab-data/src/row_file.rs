//! Rows of bytes beyond the memory: pictures, texts and token sequences in a file of the cache.
//!
//! Rows are read from the file one by one, wherever they lie. The order of examples is therefore that of a data set in memory,
//! to the bit, and the page cache of the operating system is shared by all runs on a machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::Error;
use crate::digest::content_hash;

/// An open file of rows.
#[derive(Debug, Clone)]
pub(crate) struct RowFile {
    file: Arc<File>,
    path: PathBuf,
}

impl RowFile {
    pub(crate) fn new(file: Arc<File>, path: &Path) -> Self {
        Self { file, path: path.to_path_buf() }
    }

    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(Arc::new(File::open(path).map_err(Error::io(path))?), path))
    }

    /// The rows in a temporary file, which is removed when it is closed.
    pub(crate) fn temporary(file: NamedTempFile) -> Self {
        let path = file.path().to_path_buf();
        Self { file: Arc::new(file.into_file()), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads row number `row`, which fills `buffer`, from `offset`, and compares it with its hash.
    pub(crate) fn read(
        &self,
        (row, hash): (usize, u128),
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        read_at(&self.file, buffer, offset).map_err(Error::io(&self.path))?;
        if content_hash(buffer) != hash {
            return Err(Error::DamagedCache { path: self.path.clone(), row });
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        (buffer, offset) = (&mut buffer[read..], offset + read as u64);
    }
    Ok(())
}
