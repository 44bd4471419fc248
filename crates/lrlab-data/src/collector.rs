//! Rows of bytes, collected one after the other: in memory up to a budget, and beyond it in a file.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::Error;
use crate::digest::content_hash;
use crate::row_file::RowFile;

/// Collects rows in their order: in memory up to a budget, and beyond it in a file.
pub(crate) struct Collector {
    folder: PathBuf,
    /// The most bytes in memory.
    budget: u64,
    memory: Vec<u8>,
    file: Option<BufWriter<NamedTempFile>>,
    ends: Vec<u64>,
    contents: Vec<u128>,
}

/// The rows of a [`Collector`].
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    /// The end of every row, in bytes.
    pub(crate) ends: Vec<u64>,
    /// The hash of every row.
    pub(crate) contents: Vec<u128>,
}

/// The bytes of rows.
pub(crate) enum Bytes {
    Memory(Vec<u8>),
    /// A file without its name.
    File(NamedTempFile),
}

impl Collector {
    /// Creates a collector, which writes a file to `folder` if the rows exceed `budget` bytes.
    pub(crate) fn new(folder: &Path, budget: u64) -> Self {
        let (memory, ends, contents) = (Vec::new(), Vec::new(), Vec::new());
        Self { folder: folder.to_path_buf(), budget, memory, file: None, ends, contents }
    }

    /// Adds one or more rows of `row` bytes each, at least 1.
    pub(crate) fn add(&mut self, rows: &[u8], row: usize) -> Result<(), Error> {
        let row = row.max(1);
        self.contents.par_extend(rows.par_chunks_exact(row).map(content_hash));
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.extend((1..=rows.len() / row).map(|count| end + (count * row) as u64));
        if self.file.is_none() && (self.memory.len() + rows.len()) as u64 <= self.budget {
            self.memory.extend_from_slice(rows);
            return Ok(());
        }
        let written = self.spill().and_then(|file| file.write_all(rows));
        written.map_err(Error::io(&self.folder))
    }

    /// Returns the file, which begins with what was in memory.
    fn spill(&mut self) -> std::io::Result<&mut BufWriter<NamedTempFile>> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            let mut file = BufWriter::new(
                tempfile::Builder::new().prefix(".rows-").suffix(".tmp").tempfile_in(&self.folder)?,
            );
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Returns the rows.
    pub(crate) fn finish(self) -> Result<Collected, Error> {
        let Self { folder, memory, file, ends, contents, .. } = self;
        let bytes = match file {
            None => Bytes::Memory(memory),
            Some(file) => {
                let file = file.into_inner().map_err(|error| Error::io(&folder)(error.into_error()))?;
                Bytes::File(file)
            }
        };
        Ok(Collected { bytes, ends, contents })
    }
}

/// Gives a file of rows its name. An equal file that is there already is replaced.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.persist(path).map_err(|error| Error::io(path)(error.error)).map(drop)
}

/// Texts or token sequences, to be read in any order. A file of them has no name and is removed when it is closed.
pub(crate) struct Spool {
    place: Place,
    ends: Vec<u64>,
    /// The hash of every row.
    pub(crate) contents: Vec<u128>,
}

enum Place {
    Memory(Vec<u8>),
    File(RowFile),
}

impl Spool {
    pub(crate) fn new(rows: Collected) -> Self {
        let place = match rows.bytes {
            Bytes::Memory(bytes) => Place::Memory(bytes),
            Bytes::File(file) => Place::File(RowFile::temporary(file)),
        };
        Self { place, ends: rows.ends, contents: rows.contents }
    }

    /// Returns the bytes of a row.
    pub(crate) fn row(&self, row: u32) -> Result<Cow<'_, [u8]>, Error> {
        let row = row as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let length = (self.ends[row] - start) as usize;
        match &self.place {
            Place::Memory(bytes) => Ok(Cow::Borrowed(&bytes[start as usize..][..length])),
            Place::File(file) => {
                let mut buffer = vec![0; length];
                file.read((row, self.contents[row]), start, &mut buffer)?;
                Ok(Cow::Owned(buffer))
            }
        }
    }

    /// Returns the text of a row, which was added as one.
    pub(crate) fn text(&self, row: u32) -> Result<Cow<'_, str>, Error> {
        Ok(match self.row(row)? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_budget_are_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..40).collect();
        for (budget, in_memory) in [(40, true), (39, false), (0, false)] {
            let mut collector = Collector::new(folder.path(), budget);
            all.chunks(8).for_each(|chunk| collector.add(chunk, 4).unwrap());
            let Collected { bytes, ends, contents } = collector.finish().unwrap();
            assert_eq!((contents.len(), ends.last()), (10, Some(&40)));
            let Bytes::File(file) = bytes else {
                assert!(in_memory);
                continue;
            };
            assert!(!in_memory);
            let path = folder.path().join("part.pixels");
            persist(file, &path).unwrap();
            let mut row = [0; 4];
            let mut read = |number: usize| {
                let file = RowFile::open(&path).unwrap();
                file.read((number, contents[number]), number as u64 * 4, &mut row).map(|()| row)
            };
            assert_eq!(read(9).unwrap(), [36, 37, 38, 39]);
            assert_eq!(read(1).unwrap(), [4, 5, 6, 7]);
            // Damage is an error.
            let mut bytes = all.clone();
            bytes[5] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let message = read(1).unwrap_err().to_string();
            assert!(
                message.ends_with("part.pixels: row 1 is damaged; remove the file to rebuild it"),
                "{message}"
            );
            std::fs::write(&path, &all[..38]).unwrap();
            assert!(matches!(read(9), Err(Error::Io { .. })));
        }
    }

    #[test]
    fn a_spool_has_the_rows_and_leaves_no_file() {
        let texts = ["one", "three", "ü"];
        for budget in [100, 4, 0] {
            let folder = tempfile::tempdir().unwrap();
            let mut collector = Collector::new(folder.path(), budget);
            for text in texts {
                collector.add(text.as_bytes(), text.len()).unwrap();
            }
            let spool = Spool::new(collector.finish().unwrap());
            for (row, text) in texts.iter().enumerate().rev() {
                assert_eq!(spool.text(row as u32).unwrap(), *text);
                assert_eq!(spool.contents[row], content_hash(text.as_bytes()));
            }
            drop(spool);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
