//! The two formats of CIFAR-10: the binary version, and a table of encoded pictures.
//!
//! The binary version has one byte for the label and 3 × 1,024 bytes for the pixels of each picture, channel by channel and row
//! by row. A table has a column of encoded pictures (PNG, JPEG or WebP) and a column of labels.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::label::label;
use crate::Error;

/// Classes.
pub(crate) const CLASSES: usize = 10;
/// Height and width.
pub(crate) const SIDE: usize = 32;
/// Bytes of a decoded picture.
pub(crate) const BYTES: usize = 3 * SIDE * SIDE;

/// Reads the labels of all rows of `files`, and the pictures `(picture, channel, row, column)` of the `wanted` rows, which are
/// ascending, or of all rows.
pub(crate) fn read(files: &[PathBuf], wanted: Option<&[u32]>) -> Result<(Vec<u32>, Vec<u8>), Error> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        let first = labels.len();
        let encoded = Encoded::open(file)?;
        labels.extend(&encoded.labels);
        let rows: Vec<usize> = match wanted {
            None => (0..encoded.labels.len()).collect(),
            Some(rows) => {
                let from = rows.partition_point(|&row| (row as usize) < first);
                let to = rows.partition_point(|&row| (row as usize) < labels.len());
                rows[from..to].iter().map(|&row| row as usize - first).collect()
            }
        };
        let start = pixels.len();
        pixels.resize(start + rows.len() * BYTES, 0);
        rows.par_iter()
            .zip(pixels[start..].par_chunks_exact_mut(BYTES))
            .try_for_each(|(&row, out)| encoded.decode(file, row, out))?;
    }
    Ok((labels, pixels))
}

/// The rows of a file, with encoded pictures.
struct Encoded {
    labels: Vec<u32>,
    pictures: Pictures,
}

enum Pictures {
    /// The content of a file of the binary version.
    Planes(Vec<u8>),
    #[cfg(feature = "hub")]
    Encoded(Vec<parquet::data_type::ByteArray>),
}

impl Encoded {
    fn open(file: &Path) -> Result<Self, Error> {
        #[cfg(feature = "hub")]
        if file.extension().is_some_and(|extension| extension == "parquet") {
            let table = super::table::Table::open(file)?;
            let labels = table.labels(CLASSES)?;
            let pictures = Pictures::Encoded(table.bytes(&super::table::PICTURES)?);
            return Ok(Self { labels, pictures });
        }
        let bytes = std::fs::read(file).map_err(Error::io(file))?;
        let row_bytes = BYTES + 1;
        if bytes.is_empty() || bytes.len() % row_bytes != 0 {
            return Err(Error::Truncated {
                path: file.to_path_buf(),
                row: bytes.len() / row_bytes,
                bytes: bytes.len() as u64,
                row_bytes: row_bytes as u64,
            });
        }
        let label = |(row, picture): (usize, &[u8])| label(file, row, i128::from(picture[0]), CLASSES);
        let labels = bytes.chunks_exact(row_bytes).enumerate().map(label).collect::<Result<_, _>>()?;
        Ok(Self { labels, pictures: Pictures::Planes(bytes) })
    }

    #[cfg_attr(not(feature = "hub"), expect(clippy::unnecessary_wraps, reason = "encoded pictures can fail"))]
    fn decode(&self, file: &Path, row: usize, out: &mut [u8]) -> Result<(), Error> {
        #[cfg(not(feature = "hub"))]
        let _ = file;
        match &self.pictures {
            Pictures::Planes(bytes) => out.copy_from_slice(&bytes[row * (BYTES + 1) + 1..][..BYTES]),
            #[cfg(feature = "hub")]
            Pictures::Encoded(pictures) => decode(file, row, pictures[row].data(), out)?,
        }
        Ok(())
    }
}

/// Decodes a picture and separates its channels.
#[cfg(feature = "hub")]
fn decode(file: &Path, row: usize, bytes: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let wrong = |source| Error::Picture { path: file.to_path_buf(), row, source };
    let format = image::guess_format(bytes).map_err(wrong)?;
    if !format.reading_enabled() {
        let found = format.extensions_str().first().map_or_else(String::new, |name| name.to_uppercase());
        return Err(Error::PictureFormat { path: file.to_path_buf(), row, found });
    }
    let picture = match format {
        image::ImageFormat::Jpeg => super::jpeg::decode(bytes),
        _ => image::load_from_memory_with_format(bytes, format).map(image::DynamicImage::into_rgb8),
    };
    let picture = picture.map_err(wrong)?;
    let expected = (SIDE as u32, SIDE as u32);
    if picture.dimensions() != expected {
        let found = picture.dimensions();
        return Err(Error::PictureSize { path: file.to_path_buf(), row, expected, found });
    }
    for (place, colours) in picture.as_raw().chunks_exact(3).enumerate() {
        for (channel, &value) in colours.iter().enumerate() {
            out[channel * SIDE * SIDE + place] = value;
        }
    }
    Ok(())
}
