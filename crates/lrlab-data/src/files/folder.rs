//! A folder with one text file per example.
//!
//! File managers, archivers and network drives create files that are not examples. They affect neither the digest nor the
//! examples, which both use this module.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Error;

/// Names of system files without a leading dot. Names with a leading dot are always ignored.
const SYSTEM_FILES: [&str; 8] = [
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
];

/// The files of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Examples {
    /// The absolute paths of the examples, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// The sorted names of visible files that are not examples.
    pub(crate) others: Vec<String>,
}

/// Returns the examples of `folder`: its `.txt` files that are not hidden. A visible folder among them is an error, because it
/// may contain examples.
pub(crate) fn examples(folder: &Path) -> Result<Examples, Error> {
    let folder = std::path::absolute(folder).map_err(Error::io(folder))?;
    let mut found = Examples::default();
    for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
        let path = entry.map_err(Error::io(&folder))?.path();
        let name = path.file_name().unwrap_or_default();
        if is_hidden(name) {
            continue;
        }
        // Follows links; the error names a dangling one.
        let metadata = path.metadata().map_err(Error::io(&path))?;
        let not_an_example = |found| Error::NotAnExample { path: path.clone(), found };
        if metadata.is_dir() {
            return Err(not_an_example("a folder"));
        } else if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
            found.others.push(name.to_string_lossy().into_owned());
        } else if metadata.is_file() {
            found.files.push(path);
        } else {
            return Err(not_an_example("a pipe, socket or device"));
        }
    }
    found.files.sort();
    found.others.sort();
    Ok(found)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || SYSTEM_FILES.iter().any(|other| name.eq_ignore_ascii_case(other))
}
