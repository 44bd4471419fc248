//! The bytes of pictures: in memory, or in a file of the cache where they exceed the budget of memory.

use crate::Error;
use crate::row_file::RowFile;

/// The concatenated bytes of pictures.
#[derive(Debug, Clone)]
pub(crate) enum Pixels {
    Memory(Vec<u8>),
    File(PixelFile),
}

/// A selection of the pictures in a file.
#[derive(Debug, Clone)]
pub(crate) struct PixelFile {
    pub(crate) file: RowFile,
    /// The place in the file of each picture.
    rows: Vec<u32>,
    /// The hash of each picture.
    contents: Vec<u128>,
}

impl PixelFile {
    /// The pictures `rows` of the file of all pictures of a part, of which `contents` are the hashes.
    pub(crate) fn new(file: RowFile, rows: &[u32], contents: &[u128]) -> Self {
        let contents = rows.iter().map(|&row| contents[row as usize]).collect();
        Self { file, rows: rows.to_vec(), contents }
    }

    /// Returns the position of a picture in the file.
    pub(crate) fn row(&self, index: usize) -> u32 {
        self.rows[index]
    }

    /// Reads all pictures, of `bytes` bytes each.
    pub(crate) fn load(&self, bytes: usize) -> Result<Vec<u8>, Error> {
        let mut pixels = vec![0; self.rows.len() * bytes];
        let mut pictures = pixels.chunks_exact_mut(bytes.max(1)).enumerate();
        pictures.try_for_each(|(index, picture)| self.read(index, picture))?;
        Ok(pixels)
    }

    /// Reads a picture of `buffer.len()` bytes.
    pub(crate) fn read(&self, index: usize, buffer: &mut [u8]) -> Result<(), Error> {
        let row = self.rows[index];
        let offset = u64::from(row) * buffer.len() as u64;
        self.file.read((row as usize, self.contents[index]), offset, buffer)
    }
}
