//! The identity of the content of a data set: the SHA-256 of its files, and of these digests.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::catalog::{KnownFile, Part};
use crate::files::folder::{self, Examples};
use crate::{Error, cache};

/// The identity of the content of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetIdentity {
    /// The name of the data set.
    pub name: String,
    /// The digest of the bytes of the files, or of the version and the settings of the generator: 64 hexadecimal digits.
    pub digest: String,
    /// The files; empty for synthetic sets.
    pub files: Vec<FileIdentity>,
    /// Notes for every result on this content.
    pub notes: Vec<String>,
}

/// The identity of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Its path within the data set.
    pub file: String,
    /// The SHA-256 of its bytes (of a folder: of the names and the bytes of its files), in hexadecimal digits.
    pub sha256: String,
    /// The name of the known variant (`original`, `jpeg-copy`); `None` if the content is unknown.
    pub variant: Option<String>,
}

/// The folder for the digests of unchanged files; `None` reads every file again.
pub(crate) type DigestCache<'a> = Option<&'a Path>;

/// Identifies `files`, given with their paths. `parts` includes the part of each file in the digest, for sources whose settings
/// assign the files to parts.
pub(crate) fn identify(
    name: &str,
    (files, parts): (&[(KnownFile, PathBuf)], bool),
    cache: DigestCache<'_>,
) -> Result<DatasetIdentity, Error> {
    let mut identity = DatasetIdentity {
        name: name.to_owned(),
        digest: String::new(),
        files: Vec::with_capacity(files.len()),
        notes: Vec::new(),
    };
    let mut all = format!("lrlab data set {name}\n");
    for (known, path) in files {
        let file = known.path.clone();
        let Content { sha256, others } = content(path, cache)?;
        let variant = known.variants.iter().find(|variant| variant.sha256 == sha256);
        let note = match variant {
            Some(variant) => {
                variant.note.as_ref().map(|note| format!("{name}: {file}: {}: {note}", variant.name))
            }
            None if known.variants.is_empty() => Some(format!("{name}: {file}: sha256 {sha256}")),
            None => {
                tracing::warn!(dataset = name, file, sha256, "unknown variant of a file");
                Some(format!("{name}: {file}: unknown variant, sha256 {sha256}"))
            }
        };
        identity.notes.extend(note);
        if let Some(first) = others.first() {
            let more =
                if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
            identity
                .notes
                .push(format!("{name}: {file}: {first:?}{more}: not a .txt file, so not read as a review"));
        }
        let part = match known.part {
            _ if !parts => "",
            Part::Train => "train ",
            Part::Test => "test ",
        };
        let _ = writeln!(all, "{part}{file} {sha256}");
        identity.files.push(FileIdentity { file, sha256, variant: variant.map(|v| v.name.clone()) });
    }
    identity.digest = hex(Sha256::digest(&all));
    Ok(identity)
}

/// The content of a file, or of a folder with one file per example.
struct Content {
    sha256: String,
    /// The names of files in the folder that are not examples.
    others: Vec<String>,
}

fn content(path: &Path, cache: DigestCache<'_>) -> Result<Content, Error> {
    if path.is_dir() {
        let Examples { files, others } = folder::examples(path)?;
        return Ok(Content { sha256: cached_sha256(&files, true, cache, SystemTime::now())?, others });
    }
    let file = std::path::absolute(path).map_err(Error::io(path))?;
    Ok(Content { sha256: cached_sha256(&[file], false, cache, SystemTime::now())?, others: Vec::new() })
}

/// Returns the digest of files, from the cache if their [`Stamps`] are unchanged.
fn cached_sha256(
    files: &[PathBuf],
    named: bool,
    cache: DigestCache<'_>,
    now: SystemTime,
) -> Result<String, Error> {
    let Some((folder, before)) = cache.zip(Stamps::of(files)?) else { return sha256(files, named) };
    let entry = folder.join("digests").join(blake3::hash(before.text.as_bytes()).to_hex().as_str());
    if let Some(known) = cache::load(&entry).and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(known);
    }
    let digest = sha256(files, named)?;
    // Do not cache files that changed during reading, or so recently that a later change could have the same time stamp.
    if before.are_settled(now) && Stamps::of(files)?.as_ref() == Some(&before) {
        cache::store(&entry, digest.as_bytes());
    }
    Ok(digest)
}

/// The metadata of files: paths, sizes, inodes, modification times and change times. The change time cannot be set: resetting
/// the modification time updates it.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    text: String,
    /// The latest change, in seconds since 1970.
    latest: i64,
}

impl Stamps {
    /// Returns `None` if the system provides too little metadata.
    #[cfg(unix)]
    fn of(files: &[PathBuf]) -> Result<Option<Self>, Error> {
        use std::os::unix::fs::MetadataExt;
        let mut stamps = Self { text: String::new(), latest: i64::MIN };
        for file in files {
            let meta = file.metadata().map_err(Error::io(file))?;
            stamps.latest = stamps.latest.max(meta.ctime());
            let _ = writeln!(
                stamps.text,
                "{} {} {}:{} {}.{} {}.{}",
                file.as_os_str().as_encoded_bytes().escape_ascii(),
                meta.size(),
                meta.dev(),
                meta.ino(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            );
        }
        Ok(Some(stamps))
    }

    #[cfg(not(unix))]
    fn of(_: &[PathBuf]) -> Result<Option<Self>, Error> {
        Ok(None)
    }

    /// Returns whether the latest change is older than the resolution of the coarsest file system clock, that of FAT.
    fn are_settled(&self, now: SystemTime) -> bool {
        const COARSEST: i64 = 2;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed());
        self.latest.saturating_add(COARSEST) < now
    }
}

/// Returns the SHA-256 of a file.
#[cfg(feature = "hub")]
pub(crate) fn of_file(path: &Path) -> Result<String, Error> {
    sha256(&[path.to_path_buf()], false)
}

/// Returns the digest of the bytes of `files` and, if `named`, of their names and sizes.
fn sha256(files: &[PathBuf], named: bool) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    for file in files {
        if named {
            let size = file.metadata().map_err(Error::io(file))?.len();
            hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update(format!(" {size}\n"));
        }
        let mut reader = std::fs::File::open(file).map_err(Error::io(file))?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = reader.read(&mut buffer).map_err(Error::io(file))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
    }
    Ok(hex(hasher.finalize()))
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for byte in bytes.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Hashes the content of a row, to find duplicates and damage.
pub(crate) fn content_hash(bytes: &[u8]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(half)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Every change of the content that changes the metadata of the file is detected.
    #[test]
    fn digests_of_changed_files_are_recomputed() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = (folder.path().join("cache"), folder.path().join("file"));
        std::fs::write(&file, b"content").unwrap();
        let files = [file.clone()];
        let digest = |after: u64| {
            let now = SystemTime::now() + Duration::from_secs(after);
            cached_sha256(&files, false, Some(&cache), now).unwrap()
        };
        let cached = || {
            let entries = std::fs::read_dir(cache.join("digests")).into_iter().flatten().flatten();
            let entries = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none());
            entries.collect::<Vec<_>>()
        };
        let first = digest(0);
        assert_eq!(
            cached(),
            Vec::<PathBuf>::new(),
            "changed just now: another change could have the same time stamp"
        );
        assert_eq!(digest(10), first);
        let [entry] = &cached()[..] else { panic!("{:?}", cached()) };
        cache::store(entry, b"from memory");
        assert_eq!(digest(0), "from memory");

        // Another file of the same size and modification time replaces the file.
        let (times, other) = (file.metadata().unwrap().modified().unwrap(), folder.path().join("other"));
        std::fs::write(&other, b"CONTENT").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(times).unwrap();
        std::fs::rename(&other, &file).unwrap();
        let second = digest(10);
        assert!(second != first && second != "from memory");

        // The content changes, and the modification time is restored.
        let before = Stamps::of(&files).unwrap();
        while Stamps::of(&files).unwrap() == before {
            std::fs::write(&file, b"Content").unwrap();
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        }
        assert_ne!(digest(10), second);
        assert_eq!(digest(10), sha256(&files, false).unwrap());
    }
}
