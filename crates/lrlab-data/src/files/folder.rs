//! A folder of one text file per example, as it lies on other people's disks.
//!
//! File managers, archivers and network drives leave files of their own: they are no examples and no part of the
//! content. What decides here decides for the digest and for the reader alike.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Error;

/// What systems leave in folders under a visible name; names that begin with a dot are left out anyway.
const LEFT_BY_SYSTEMS: [&str; 8] = [
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
];

/// A folder's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Examples {
    /// One per example, in the order of their names. Absolute paths.
    pub(crate) files: Vec<PathBuf>,
    /// Names of visible files that are none, in their order.
    pub(crate) others: Vec<String>,
}

/// The examples of `folder`: its `.txt` files that are not hidden. A visible folder among them is refused, since it
/// may hold examples that somebody expects to be read.
pub(crate) fn examples(folder: &Path) -> Result<Examples, Error> {
    let folder = std::path::absolute(folder).map_err(Error::io(folder))?;
    let mut found = Examples::default();
    for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
        let path = entry.map_err(Error::io(&folder))?.path();
        let name = path.file_name().unwrap_or_default();
        if is_hidden(name) {
            continue;
        }
        // Follows links; one that leads nowhere is named by the error.
        let about = path.metadata().map_err(Error::io(&path))?;
        let refused = |found| Error::NotAnExample { path: path.clone(), found };
        if about.is_dir() {
            return Err(refused("a folder"));
        } else if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
            found.others.push(name.to_string_lossy().into_owned());
        } else if about.is_file() {
            found.files.push(path);
        } else {
            return Err(refused("a pipe, socket or device"));
        }
    }
    found.files.sort();
    found.others.sort();
    Ok(found)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || LEFT_BY_SYSTEMS.iter().any(|left| name.eq_ignore_ascii_case(left))
}
