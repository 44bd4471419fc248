//! Texts: the folder of IMDB with one file per review, and tables.

use std::path::{Path, PathBuf};

use super::{Columns, folder};
use crate::Error;

/// The number of classes: negative and positive.
pub(crate) const CLASSES: usize = 2;

/// Reviews with their classes.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    pub(crate) texts: Vec<String>,
    pub(crate) labels: Vec<u32>,
}

/// Reads the reviews of `paths`, in order.
pub(crate) fn read(paths: &[PathBuf], columns: &Columns, classes: usize) -> Result<Reviews, Error> {
    let mut reviews = Reviews::default();
    for path in paths {
        if path.is_dir() {
            read_folder(path, &mut reviews)?;
        } else {
            read_table(path, columns, classes, &mut reviews)?;
        }
    }
    Ok(reviews)
}

/// Reads the text files of a folder `pos` or `neg`, in the order of their names.
fn read_folder(folder: &Path, reviews: &mut Reviews) -> Result<(), Error> {
    let class = u32::from(folder.file_name().is_some_and(|name| name == "pos"));
    let files = folder::examples(folder)?.files;
    for file in &files {
        let bytes = std::fs::read(file).map_err(Error::io(file))?;
        reviews.texts.push(text(file, None, &bytes)?);
        reviews.labels.push(class);
    }
    if files.is_empty() {
        let hint = "the folder should contain one .txt file per review";
        return Err(Error::MissingFile { path: folder.join("0_1.txt"), hint });
    }
    Ok(())
}

#[cfg(feature = "hub")]
fn read_table(file: &Path, columns: &Columns, classes: usize, reviews: &mut Reviews) -> Result<(), Error> {
    let table = super::table::Table::open(file)?;
    reviews.labels.extend(table.labels(columns.labels.as_deref(), classes)?);
    for (row, bytes) in table.bytes(&super::table::TEXTS, columns.features.as_deref())?.iter().enumerate() {
        reviews.texts.push(text(file, Some(row), bytes.data())?);
    }
    Ok(())
}

#[cfg(not(feature = "hub"))]
fn read_table(_: &Path, _: &Columns, _: usize, _: &mut Reviews) -> Result<(), Error> {
    Err(Error::HubDisabled { dataset: "imdb".to_owned() })
}

/// Checks that a text is valid and not empty.
fn text(file: &Path, row: Option<usize>, bytes: &[u8]) -> Result<String, Error> {
    let text =
        std::str::from_utf8(bytes).map_err(|source| Error::Utf8 { path: file.to_path_buf(), row, source })?;
    if text.trim().is_empty() {
        return Err(Error::EmptyText { path: file.to_path_buf(), row });
    }
    Ok(text.to_owned())
}
