//! What identifies a data set's content: SHA-256 of its files, and of these digests together.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::catalog::KnownFile;
use crate::files::folder::{self, Examples};
use crate::{Error, cache};

/// Which content a configuration names, without decoding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetIdentity {
    /// The data set's name.
    pub name: String,
    /// Digest of the content: the files' bytes, or the generator's version and settings. 64 hexadecimal digits.
    pub digest: String,
    /// The files; empty for synthetic sets.
    pub files: Vec<FileIdentity>,
    /// Warnings and remarks that belong to every result on this content.
    pub notes: Vec<String>,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Its path within the data set.
    pub file: String,
    /// SHA-256 of its bytes (of a folder: of its files' names and bytes), in hexadecimal digits.
    pub sha256: String,
    /// The name of the known variant it is (`original`, `jpeg-copy`), `None` for an unknown one.
    pub variant: Option<String>,
}

/// Where to keep digests of files that did not change; `None` reads every file again.
pub(crate) type DigestCache<'a> = Option<&'a Path>;

/// Identifies `files`, each with the place where it lies.
pub(crate) fn identify(
    name: &str,
    files: &[(&KnownFile, PathBuf)],
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
                tracing::warn!(dataset = name, file, sha256, "a file is of no known variant");
                Some(format!("{name}: {file}: of no known variant, sha256 {sha256}"))
            }
        };
        identity.notes.extend(note);
        if let Some(first) = others.first() {
            let more =
                if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
            identity
                .notes
                .push(format!("{name}: {file}: {first:?}{more}: no .txt file, so no review; not read"));
        }
        let _ = writeln!(all, "{file} {sha256}");
        identity.files.push(FileIdentity { file, sha256, variant: variant.map(|v| v.name.clone()) });
    }
    identity.digest = hex(Sha256::digest(&all));
    Ok(identity)
}

/// A file's content, or that of a folder of one file per example.
struct Content {
    sha256: String,
    /// Names of files in the folder that are no examples and do not count.
    others: Vec<String>,
}

fn content(path: &Path, cache: DigestCache<'_>) -> Result<Content, Error> {
    if path.is_dir() {
        let Examples { files, others } = folder::examples(path)?;
        return Ok(Content { sha256: remembered(&files, true, cache)?, others });
    }
    let file = std::path::absolute(path).map_err(Error::io(path))?;
    Ok(Content { sha256: remembered(&[file], false, cache)?, others: Vec::new() })
}

/// The digest of files, read again only where names, sizes or times of change differ.
fn remembered(files: &[PathBuf], named: bool, cache: DigestCache<'_>) -> Result<String, Error> {
    let Some(folder) = cache else { return sha256(files, named) };
    let mut state = String::new();
    for file in files {
        let meta = file.metadata().map_err(Error::io(file))?;
        let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let _ = writeln!(state, "{} {} {changed:?}", file.display(), meta.len());
    }
    let entry = folder.join("digests").join(blake3::hash(state.as_bytes()).to_hex().as_str());
    if let Some(known) = cache::load(&entry).and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(known);
    }
    let digest = sha256(files, named)?;
    cache::store(&entry, digest.as_bytes());
    Ok(digest)
}

/// SHA-256 of a file.
#[cfg(feature = "hub")]
pub(crate) fn of_file(path: &Path) -> Result<String, Error> {
    sha256(&[path.to_path_buf()], false)
}

/// Of the bytes of `files`; where they are `named`, also of their names and sizes.
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

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for byte in bytes.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
