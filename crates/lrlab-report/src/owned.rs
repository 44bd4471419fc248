//! Which files of a folder are an earlier report's. Only what its `manifest.json` names with its digest is: such files
//! are replaced and removed, everything else in the folder is somebody's and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use lrlab_runs::{file_digest, write_exclusive};
use serde::Deserialize;

use crate::Error;
use crate::manifest::{FORMAT, MANIFEST};

/// What is read of a manifest.
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

/// What a folder's manifest says of the files beside it.
#[derive(Debug)]
pub(crate) enum Owned {
    /// There is no manifest of a report.
    Nothing,
    /// A manifest from before digests of files were part of it: what has a report's name is taken for a report's, and
    /// nothing is removed.
    Names,
    /// Files with their digests; one that was being replaced has two.
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
        // Its numbers may be many, and none of them is needed.
        let manifest: Manifest = serde_json::from_reader(BufReader::new(file)).unwrap_or_default();
        if manifest.format.as_deref() != Some(FORMAT) {
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

    /// Whether a file with this name and digest is the earlier report's.
    fn has(&self, name: &str, digest: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Names => true,
            Self::Files(files) => files.get(name).is_some_and(|digests| digests.contains(digest)),
        }
    }

    /// Of the files that are about to be written, with their digests, those in whose place somebody's file lies.
    pub(crate) fn in_the_way(&self, out: &Path, files: &[(String, String)]) -> Result<Vec<String>, Error> {
        let mut others = Vec::new();
        for (name, new) in files {
            let Some(there) = digest(&out.join(name))? else { continue };
            if there != *new && !self.has(name, &there) {
                others.push(name.clone());
            }
        }
        // Whatever else is called so is no manifest of a report.
        if matches!(self, Self::Nothing) && out.join(MANIFEST).exists() {
            others.push(MANIFEST.to_owned());
        }
        Ok(others)
    }

    /// Every file with a digest that it may have while `files` take their places.
    pub(crate) fn while_replaced(&self, files: &[(String, String)]) -> Vec<(String, String)> {
        let mut all: BTreeSet<(String, String)> = files.iter().cloned().collect();
        if let Self::Files(old) = self {
            all.extend(
                old.iter().flat_map(|(name, digests)| digests.iter().map(|it| (name.clone(), it.clone()))),
            );
        }
        all.into_iter().collect()
    }

    /// Removes what the earlier report has and this one does not: a figure of it would be taken for one of this.
    pub(crate) fn remove_others(&self, out: &Path, keep: &[(String, String)]) -> Result<(), Error> {
        let Self::Files(files) = self else { return Ok(()) };
        let keep: BTreeSet<&String> = keep.iter().map(|(name, _)| name).collect();
        for name in files.keys().filter(|name| !keep.contains(name)) {
            let path = out.join(name);
            if digest(&path)?.is_some_and(|it| self.has(name, &it)) {
                std::fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
            }
        }
        Ok(())
    }
}

/// Gives the file in the place of a new one another name: `results.tex.kept`, `results.tex.kept-2`, ….
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

/// `None` where there is no file.
fn digest(path: &Path) -> Result<Option<String>, Error> {
    match file_digest(path) {
        Ok(digest) => Ok(Some(digest)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}
