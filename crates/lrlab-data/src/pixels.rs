//! The bytes of pictures: in memory, or in a file of the cache where they exceed the budget of memory.
//!
//! Pictures are read from the file one by one, wherever they lie. The order of examples is therefore that of a data set in
//! memory, to the bit, and what stays in memory is up to the system, which shares it between all runs of a machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::Error;
use crate::digest::content_hash;

/// Where the bytes of pictures are, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Pixels {
    Memory(Vec<u8>),
    File(PixelFile),
}

/// Some of the pictures of a file.
#[derive(Debug, Clone)]
pub(crate) struct PixelFile {
    file: Arc<File>,
    path: PathBuf,
    /// The place in the file of each picture.
    rows: Vec<u32>,
    /// The hash of each picture.
    contents: Vec<u128>,
}

impl PixelFile {
    /// Opens the file of all pictures of a part, of which `rows` are used; `contents` are the hashes of all.
    pub(crate) fn open(path: &Path, rows: &[u32], contents: &[u128]) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        let contents = rows.iter().map(|&row| contents[row as usize]).collect();
        Ok(Self { file: Arc::new(file), path: path.to_path_buf(), rows: rows.to_vec(), contents })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place in the file of a picture.
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

/// Collects the pictures of a part in their order: in memory up to a budget, and beyond it in a file.
pub(crate) struct Collector {
    folder: PathBuf,
    /// The most bytes in memory.
    budget: u64,
    bytes_per_picture: usize,
    memory: Vec<u8>,
    file: Option<BufWriter<NamedTempFile>>,
    /// The hash of every picture.
    contents: Vec<u128>,
}

/// What a [`Collector`] collected.
pub(crate) enum Collected {
    Memory(Vec<u8>),
    /// A file without its name.
    File(NamedTempFile),
}

impl Collector {
    /// Collects pictures of so many bytes each; a file is written to `folder`.
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

    /// Adds whole pictures.
    pub(crate) fn add(&mut self, pictures: &[u8]) -> Result<(), Error> {
        self.contents.par_extend(pictures.par_chunks_exact(self.bytes_per_picture).map(content_hash));
        if self.file.is_none() && (self.memory.len() + pictures.len()) as u64 <= self.budget {
            self.memory.extend_from_slice(pictures);
            return Ok(());
        }
        let written = self.spill().and_then(|file| file.write_all(pictures));
        written.map_err(Error::io(&self.folder))
    }

    /// Returns the file, which begins with what was in memory.
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

/// Gives a file of pictures its name. An equal file that is there already is replaced.
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
            // Damage is an error.
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
