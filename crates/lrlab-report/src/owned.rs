//! Ownership of the files in a report folder. A file belongs to an earlier report if the folder's `manifest.json` lists it
//! with its current digest. Only such files are replaced or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use lrlab_runs::{file_digest, write_exclusive};
use serde::Deserialize;

use crate::Error;
use crate::manifest::{EARLIER, FORMAT, MANIFEST};

/// The part of a manifest that determines ownership.
#[derive(Default, Deserialize)]
struct Manifest {
    format: Option<String>,
    files: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    blake3: String,
}

/// The files of an earlier report in a folder.
#[derive(Debug)]
pub(crate) enum Owned {
    /// The folder has no manifest of a report.
    Nothing,
    /// The manifest is of an older format without digests of files: every file with a report's name counts as a report's,
    /// and no file is removed.
    Names,
    /// Files with their digests; a file whose replacement was interrupted has two.
    Files(BTreeMap<String, BTreeSet<String>>),
}

impl Owned {
    /// Reads the manifest of the folder `out`.
    pub(crate) fn read(out: &Path) -> Result<Self, Error> {
        let path = out.join(MANIFEST);
        let file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Nothing),
            file => file.map_err(|source| Error::Io { path, source })?,
        };
        // Deserializes only the needed fields; the numbers may be large.
        let manifest: Manifest = serde_json::from_reader(BufReader::new(file)).unwrap_or_default();
        let known = |format: &String| format == FORMAT || EARLIER.contains(&format.as_str());
        if !manifest.format.as_ref().is_some_and(known) {
            return Ok(Self::Nothing);
        }
        let Some(list) = manifest.files else { return Ok(Self::Names) };
        let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Entry { file, blake3 } in list {
            if Path::new(&file).components().all(|part| matches!(part, Component::Normal(_))) {
                files.entry(file).or_default().insert(blake3);
            }
        }
        Ok(Self::Files(files))
    }

    /// Returns whether a file with this name and digest belongs to the earlier report.
    fn has(&self, name: &str, digest: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Names => true,
            Self::Files(files) => files.get(name).is_some_and(|digests| digests.contains(digest)),
        }
    }

    /// The files of the new report whose paths hold files of other origin with different contents.
    pub(crate) fn conflicts(&self, out: &Path, files: &[(String, String)]) -> Result<Vec<String>, Error> {
        let mut others = Vec::new();
        for (name, new) in files {
            let Some(there) = digest(&out.join(name))? else { continue };
            if there != *new && !self.has(name, &there) {
                others.push(name.clone());
            }
        }
        // A file of this name that is not a report's manifest.
        if matches!(self, Self::Nothing) && out.join(MANIFEST).exists() {
            others.push(MANIFEST.to_owned());
        }
        Ok(others)
    }

    /// Every file with the digests that it may have while `files` are moved into place.
    pub(crate) fn while_replaced(&self, files: &[(String, String)]) -> Vec<(String, String)> {
        let mut all: BTreeSet<(String, String)> = files.iter().cloned().collect();
        if let Self::Files(old) = self {
            all.extend(
                old.iter().flat_map(|(name, digests)| digests.iter().map(|it| (name.clone(), it.clone()))),
            );
        }
        all.into_iter().collect()
    }

    /// Removes the files of the earlier report that the new report does not have.
    pub(crate) fn remove_others(&self, out: &Path, keep: &[(String, String)]) -> Result<(), Error> {
        let Self::Files(files) = self else { return Ok(()) };
        let keep: BTreeSet<&String> = keep.iter().map(|(name, _)| name).collect();
        for name in files.keys().filter(|name| !keep.contains(name)) {
            let path = out.join(name);
            if digest(&path)?.is_some_and(|it| self.has(name, &it)) {
                match std::fs::remove_file(&path) {
                    // Another process removed it.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    removed => removed.map_err(|source| Error::Io { path, source })?,
                }
            }
        }
        Ok(())
    }
}

/// Copies a file that is about to be replaced to `results.tex.kept`, `results.tex.kept-2`, ….
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    let mut n = 1;
    loop {
        let mut kept = path.as_os_str().to_owned();
        kept.push(if n == 1 { ".kept".to_owned() } else { format!(".kept-{n}") });
        let kept = PathBuf::from(kept);
        if write_exclusive(&kept, &bytes)?
            || digest(&kept)? == Some(blake3::hash(&bytes).to_hex().to_string())
        {
            return Ok(kept);
        }
        n += 1;
    }
}

/// The digest of a file; `None` if there is no file.
fn digest(path: &Path) -> Result<Option<String>, Error> {
    match file_digest(path) {
        Ok(digest) => Ok(Some(digest)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}
