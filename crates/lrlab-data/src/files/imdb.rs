//! Texts: the folder of IMDB with one file per review, and tables.

use std::path::{Path, PathBuf};

use super::{Columns, folder};
use crate::Error;

/// The number of classes: negative and positive.
pub(crate) const CLASSES: usize = 2;

/// Passes the texts of `places`, in order, to `take`, and returns their classes.
pub(crate) fn read(
    places: &[PathBuf],
    columns: &Columns,
    classes: usize,
    take: &mut Take<'_>,
) -> Result<Vec<u32>, Error> {
    let mut labels = Vec::new();
    for place in places {
        if place.is_dir() {
            labels.extend(read_folder(place, take)?);
        } else {
            labels.extend(read_table(place, columns, classes, take)?);
        }
    }
    Ok(labels)
}

/// Receives the texts one by one.
pub(crate) type Take<'a> = dyn FnMut(&str) -> Result<(), Error> + 'a;

/// Reads the text files of a folder `pos` or `neg`, in the order of their names.
fn read_folder(folder: &Path, take: &mut Take<'_>) -> Result<Vec<u32>, Error> {
    let class = u32::from(folder.file_name().is_some_and(|name| name == "pos"));
    let files = folder::examples(folder)?.files;
    for file in &files {
        let bytes = std::fs::read(file).map_err(Error::io(file))?;
        take(text(file, None, &bytes)?)?;
    }
    if files.is_empty() {
        let hint = "the folder should contain one .txt file per review";
        return Err(Error::MissingFile { path: folder.join("0_1.txt"), hint });
    }
    Ok(vec![class; files.len()])
}

/// Reads a table, one row group at a time.
#[cfg(feature = "hub")]
fn read_table(
    file: &Path,
    columns: &Columns,
    classes: usize,
    take: &mut Take<'_>,
) -> Result<Vec<u32>, Error> {
    use super::table::{TEXTS, Table};
    let table = Table::open(file)?;
    let labels = table.labels(columns.labels.as_deref(), classes)?;
    for (group, rows) in table.groups().into_iter().enumerate() {
        let texts = table.group_bytes(&TEXTS, columns.features.as_deref(), (group, rows.start))?;
        for (row, bytes) in rows.zip(&texts) {
            take(text(file, Some(row), bytes.data())?)?;
        }
    }
    Ok(labels)
}

#[cfg(not(feature = "hub"))]
fn read_table(_: &Path, _: &Columns, _: usize, _: &mut Take<'_>) -> Result<Vec<u32>, Error> {
    Err(Error::HubDisabled { dataset: "imdb".to_owned() })
}

/// Checks that a text is valid and not empty.
fn text<'a>(file: &Path, row: Option<usize>, bytes: &'a [u8]) -> Result<&'a str, Error> {
    let text =
        std::str::from_utf8(bytes).map_err(|source| Error::Utf8 { path: file.to_path_buf(), row, source })?;
    if text.trim().is_empty() {
        return Err(Error::EmptyText { path: file.to_path_buf(), row });
    }
    Ok(text)
}
