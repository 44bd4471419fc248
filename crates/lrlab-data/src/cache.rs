//! Cache files: written atomically, verified when read, rebuilt when damaged.
//!
//! Each file has a checksum file. The content depends only on the key, so concurrent writers write the same content.

use std::path::{Path, PathBuf};

const CHECKSUM: &str = "blake3";

/// Returns the content of `path`; `None` if it is missing or does not match its checksum.
pub(crate) fn load(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let expected = std::fs::read_to_string(checksum_path(path)).ok()?;
    let intact = checksum(&bytes) == expected;
    if !intact {
        tracing::warn!(path = %path.display(), "a cached file is damaged and will be rebuilt");
    }
    intact.then_some(bytes)
}

/// Stores `bytes` at `path`. A failure is only logged, because the cache is optional.
pub(crate) fn store(path: &Path, bytes: &[u8]) {
    let written = lrlab_runs::write_atomic(path, bytes)
        .and_then(|()| lrlab_runs::write_atomic(&checksum_path(path), checksum(bytes).as_bytes()));
    if let Err(error) = written {
        tracing::warn!(%error, "failed to write a cache file");
    }
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
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
