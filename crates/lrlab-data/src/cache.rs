//! Cache files: written atomically, verified when read, rebuilt when damaged.
//!
//! Each file has a checksum file. The content depends only on the key, so concurrent writers write the same content.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 16;
const CHECKSUM: &str = "blake3";

/// Returns the content of `path`; `None` if it is missing or does not match its checksum.
pub(crate) fn load(path: &Path) -> Option<Vec<u8>> {
    read(path, |content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).ok().map(|_| bytes)
    })
}

/// Returns what `read` makes of the content of `path`, which need not be in memory at once; `None` if the file is missing or
/// does not match its checksum.
pub(crate) fn read<T>(path: &Path, read: impl FnOnce(&mut Content) -> Option<T>) -> Option<T> {
    let file = Arc::new(File::open(path).ok()?);
    let expected = std::fs::read_to_string(checksum_path(path)).ok()?;
    let left = file.metadata().ok()?.len();
    let reader = BufReader::with_capacity(BUFFER, Arc::clone(&file));
    let mut content = Content { file, reader, hasher: blake3::Hasher::new(), position: 0, left };
    let value = read(&mut content);
    let rest = std::io::copy(&mut content, &mut std::io::sink());
    let intact = rest.is_ok() && content.hasher.finalize().to_hex().as_str() == expected;
    if !intact {
        tracing::warn!(path = %path.display(), "a cached file is damaged and will be rebuilt");
    }
    value.filter(|_| intact)
}

/// The content of a cache file, from its beginning.
pub(crate) struct Content {
    file: Arc<File>,
    reader: BufReader<Arc<File>>,
    hasher: blake3::Hasher,
    position: u64,
    left: u64,
}

impl Content {
    /// Returns the open file, for reads at positions.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns the number of bytes before the next one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next `bytes` bytes; `None` if fewer are left.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<Vec<u8>> {
        let mut taken = vec![0; usize::try_from(bytes).ok().filter(|_| bytes <= self.left)?];
        self.read_exact(&mut taken).ok().map(|()| taken)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.position += read as u64;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Stores `bytes` at `path`. A failure is only logged, because the cache is optional.
pub(crate) fn store(path: &Path, bytes: &[u8]) {
    store_with(path, |file| file.write_all(bytes));
}

/// Stores what `write` writes at `path`. A failure is only logged. Returns whether there was none.
pub(crate) fn store_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> bool {
    let mut checksum = String::new();
    let hashed = |file: &mut dyn Write| {
        let mut hashing = Hashing { file, hasher: blake3::Hasher::new() };
        let mut buffered = BufWriter::with_capacity(BUFFER, &mut hashing);
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        checksum = hashing.hasher.finalize().to_hex().to_string();
        Ok(())
    };
    let written = lrlab_runs::write_atomic_with(path, hashed)
        .and_then(|()| lrlab_runs::write_atomic(&checksum_path(path), checksum.as_bytes()));
    if let Err(error) = &written {
        tracing::warn!(%error, "failed to write a cache file");
    }
    written.is_ok()
}

/// Hashes what it writes.
struct Hashing<'a> {
    file: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn checksum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(CHECKSUM);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        assert_eq!(load(&path), None);
        store(&path, b"content");
        assert_eq!(load(&path).as_deref(), Some(&b"content"[..]));
        std::fs::write(&path, b"content, cut of").unwrap();
        assert_eq!(load(&path), None);
        store(&path, b"content");
        std::fs::remove_file(checksum_path(&path)).unwrap();
        assert_eq!(load(&path), None);
    }

    #[test]
    fn write_failures_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let below_a_file = folder.path().join("file/entry");
        store(&below_a_file, b"content");
        assert_eq!(load(&below_a_file), None);
    }
}
