//! The bytes of pictures: in memory, or in a file of the cache if they exceed the memory budget.
//!
//! Pictures are read from the file individually, so the order of examples is the same as for a data set in memory. The operating
//! system caches the file and shares it between all runs of a machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::Error;
use crate::digest::content_hash;

/// The concatenated bytes of pictures.
#[derive(Debug, Clone)]
pub(crate) enum Pixels {
    Memory(Vec<u8>),
    File(PixelFile),
}

/// A selection of the pictures in a file.
#[derive(Debug, Clone)]
pub(crate) struct PixelFile {
    file: Arc<File>,
    path: PathBuf,
    /// The position of each picture in the file.
    rows: Vec<u32>,
    /// The hash of each picture.
    contents: Vec<u128>,
}

impl PixelFile {
    /// Opens the file of all pictures of a part and selects `rows`. `contents` are the hashes of all pictures.
    pub(crate) fn open(path: &Path, rows: &[u32], contents: &[u128]) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let contents = rows.iter().map(|&row| contents[row as usize]).collect();
        Ok(Self { file: Arc::new(file), path: path.to_path_buf(), rows: rows.to_vec(), contents })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the position of a picture in the file.
    pub(crate) fn row(&self, index: usize) -> u32 {
        self.rows[index]
    }

    /// Reads a picture of `buffer.len()` bytes.
    pub(crate) fn read(&self, index: usize, buffer: &mut [u8]) -> Result<(), Error> {
        let row = self.rows[index];
        let offset = u64::from(row) * buffer.len() as u64;
        read_at(&self.file, buffer, offset).map_err(Error::io(&self.path))?;
        if content_hash(buffer) != self.contents[index] {
            return Err(Error::DamagedCache { path: self.path.clone(), row: row as usize });
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        (buffer, offset) = (&mut buffer[read..], offset + read as u64);
    }
    Ok(())
}

/// Collects the pictures of a part in order: in memory up to a budget, and beyond it in a file.
pub(crate) struct Collector {
    folder: PathBuf,
    /// The maximum number of bytes in memory.
    budget: u64,
    bytes_per_picture: usize,
    memory: Vec<u8>,
    file: Option<BufWriter<NamedTempFile>>,
    /// The hash of every picture.
    contents: Vec<u128>,
}

/// The result of a [`Collector`].
pub(crate) enum Collected {
    Memory(Vec<u8>),
    /// A temporary file.
    File(NamedTempFile),
}

impl Collector {
    /// Creates a collector of pictures of `bytes_per_picture` bytes. A file is written to `folder`.
    pub(crate) fn new(folder: &Path, budget: u64, bytes_per_picture: usize) -> Self {
        Self {
            folder: folder.to_path_buf(),
            budget,
            bytes_per_picture: bytes_per_picture.max(1),
            memory: Vec::new(),
            file: None,
            contents: Vec::new(),
        }
    }

    /// Adds one or more pictures.
    pub(crate) fn add(&mut self, pictures: &[u8]) -> Result<(), Error> {
        self.contents.par_extend(pictures.par_chunks_exact(self.bytes_per_picture).map(content_hash));
        if self.file.is_none() && (self.memory.len() + pictures.len()) as u64 <= self.budget {
            self.memory.extend_from_slice(pictures);
            return Ok(());
        }
        let written = self.spill().and_then(|file| file.write_all(pictures));
        written.map_err(Error::io(&self.folder))
    }

    /// Returns the file, and creates it with the pictures in memory if it does not exist.
    fn spill(&mut self) -> std::io::Result<&mut BufWriter<NamedTempFile>> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            let mut file =
                BufWriter::new(tempfile::Builder::new().prefix(".pixels-").tempfile_in(&self.folder)?);
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Returns the pictures and their hashes.
    pub(crate) fn finish(self) -> Result<(Collected, Vec<u128>), Error> {
        let Self { folder, memory, file, contents, .. } = self;
        let collected = match file {
            None => Collected::Memory(memory),
            Some(file) => {
                let file = file.into_inner().map_err(|error| Error::io(&folder)(error.into_error()))?;
                Collected::File(file)
            }
        };
        Ok((collected, contents))
    }
}

/// Moves a file of pictures to `path`, where it may replace an equal file.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.persist(path).map_err(|error| Error::io(path)(error.error)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_beyond_the_budget_are_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..40).collect();
        for (budget, in_memory) in [(40, true), (39, false), (0, false)] {
            let mut collector = Collector::new(folder.path(), budget, 4);
            all.chunks(8).for_each(|chunk| collector.add(chunk).unwrap());
            let (collected, contents) = collector.finish().unwrap();
            assert_eq!(contents.len(), 10);
            let Collected::File(file) = collected else {
                assert!(in_memory);
                continue;
            };
            assert!(!in_memory);
            let path = folder.path().join("part.pixels");
            persist(file, &path).unwrap();
            let some = PixelFile::open(&path, &[1, 9], &contents).unwrap();
            let mut picture = [0; 4];
            for (index, expected) in [(1, [36, 37, 38, 39]), (0, [4, 5, 6, 7])] {
                some.read(index, &mut picture).unwrap();
                assert_eq!(picture, expected);
            }
            // A damaged picture is an error.
            let mut bytes = all.clone();
            bytes[5] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let damaged = PixelFile::open(&path, &[1, 9], &contents).unwrap().read(0, &mut picture);
            let message = damaged.unwrap_err().to_string();
            assert!(
                message.ends_with("part.pixels: picture 1 is damaged; remove the file to rebuild it"),
                "{message}"
            );
            std::fs::write(&path, &all[..38]).unwrap();
            let cut = PixelFile::open(&path, &[1, 9], &contents).unwrap().read(1, &mut picture);
            assert!(matches!(cut, Err(Error::Io { .. })), "{cut:?}");
        }
    }
}
