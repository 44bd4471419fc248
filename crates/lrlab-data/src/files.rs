//! The files of data sets: their location and their formats.

use std::path::{Path, PathBuf};

use crate::catalog::{Card, KnownFile, Part, catalog};
use crate::{Error, Source};

pub(crate) mod cifar10;
mod columns;
pub(crate) mod folder;
#[cfg(feature = "hub")]
pub(crate) mod hub;
pub(crate) mod imdb;
#[cfg(feature = "hub")]
mod jpeg;
pub(crate) mod label;
mod progress;
mod staging;
#[cfg(feature = "hub")]
pub(crate) mod table;
#[cfg(test)]
#[cfg(feature = "hub")]
mod tests;

pub(crate) use columns::Columns;
pub(crate) use progress::Missing;
pub use progress::{Fetched, Progress};

/// The files of a data set on this machine.
pub(crate) struct Located {
    pub(crate) files: Vec<(KnownFile, PathBuf)>,
    pub(crate) columns: Columns,
}

impl Located {
    /// Returns the paths of the files of a part.
    pub(crate) fn part(&self, part: Part) -> Vec<PathBuf> {
        self.files.iter().filter(|(known, _)| known.part == part).map(|(_, path)| path.clone()).collect()
    }
}

/// Locates the files of `source`; `None` for a synthetic set.
pub(crate) fn locate(source: &Source, missing: Missing<'_>) -> Result<Option<Located>, Error> {
    if let Some(tables) = columns::tables(source)? {
        return from_tables(tables, missing).map(Some);
    }
    let files = match source {
        Source::Cifar10(files) | Source::Imdb(files) => files,
        Source::Custom(custom) => return Err(Error::custom(custom)),
        _ => return Ok(None),
    };
    let name = source.name();
    let Some(card) = catalog()?.iter().find(|card| card.name == name) else { return Ok(None) };
    let files = match &files.folder {
        None => from_hub(card, missing)?,
        Some(folder) => from_folder(card, folder)?,
    };
    Ok(Some(Located { files, columns: Columns::default() }))
}

#[cfg(feature = "hub")]
fn from_tables(tables: columns::Tables, missing: Missing<'_>) -> Result<Located, Error> {
    let hub = hub::Hub::from_env();
    let columns::Tables { repo, revision, files, columns } = tables;
    Ok(Located { files: hub.files(&repo, &revision, &files, missing)?, columns })
}

#[cfg(not(feature = "hub"))]
fn from_tables(tables: columns::Tables, _: Missing<'_>) -> Result<Located, Error> {
    Err(Error::HubDisabled { dataset: tables.repo })
}

#[cfg(feature = "hub")]
fn from_hub(card: &'static Card, missing: Missing<'_>) -> Result<Vec<(KnownFile, PathBuf)>, Error> {
    let hub = hub::Hub::from_env();
    let Some(repo) = &card.hub else { return Ok(Vec::new()) };
    hub.files(&repo.id, &repo.revision, &repo.files, missing)
}

#[cfg(not(feature = "hub"))]
fn from_hub(card: &'static Card, _: Missing<'_>) -> Result<Vec<(KnownFile, PathBuf)>, Error> {
    Err(Error::HubDisabled { dataset: card.name.clone() })
}

/// Locates the files in `folder`, or in the folder within it that the archive unpacks to.
fn from_folder(card: &'static Card, folder: &Path) -> Result<Vec<(KnownFile, PathBuf)>, Error> {
    let Some(known) = &card.folder else { return Ok(Vec::new()) };
    let (inner, folders, hint) = match card.name.as_str() {
        "cifar10" => (
            "cifar-10-batches-bin",
            false,
            "the binary version holds data_batch_1.bin … data_batch_5.bin and test_batch.bin",
        ),
        _ => ("aclImdb", true, "the folder holds train/neg, train/pos, test/neg and test/pos"),
    };
    let inner = folder.join(inner);
    let folder = if inner.is_dir() { &inner } else { folder };
    let locate_file = |file: &KnownFile| {
        let path = folder.join(&file.path);
        let is_folder = path.is_dir();
        if is_folder != folders && path.exists() {
            let found = if is_folder { "a folder" } else { "a file" };
            return Err(Error::WrongKind { path, found, hint });
        }
        if path.exists() { Ok((file.clone(), path)) } else { Err(Error::MissingFile { path, hint }) }
    };
    known.files.iter().map(locate_file).collect()
}
