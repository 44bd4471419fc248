//! Pictures: the binary version of CIFAR-10, and tables of encoded pictures.
//!
//! The binary version has one byte for the label and 3 × 1,024 bytes for the pixels of each picture, channel by channel and row
//! by row. A table has a column of encoded pictures (PNG, JPEG or WebP) and a column of labels.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Columns;
use super::label::label;
use crate::Error;

/// The number of classes of CIFAR-10.
pub(crate) const CLASSES: usize = 10;
/// The height and width of a picture of CIFAR-10.
pub(crate) const SIDE: usize = 32;
/// The bytes of a decoded picture of CIFAR-10.
pub(crate) const BYTES: usize = 3 * SIDE * SIDE;

/// The common format of the pictures of a data set.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    /// Channels, height and width.
    pub(crate) shape: [usize; 3],
    pub(crate) classes: usize,
    pub(crate) columns: Columns,
}

impl Format {
    /// The format of CIFAR-10.
    #[cfg(any(test, feature = "candle-datasets"))]
    pub(crate) fn cifar10() -> Self {
        Self { shape: [3, SIDE, SIDE], classes: CLASSES, columns: Columns::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The maximum number of bytes of decoded pictures at once.
const CHUNK: usize = 16 << 20;

/// Reads the labels of all rows of `files`, and passes the pictures `(picture, channel, row, column)` of the `wanted` rows,
/// which are ascending, or of all rows to `take`, several at a time.
pub(crate) fn read(
    format: &Format,
    files: &[PathBuf],
    wanted: Option<&[u32]>,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let (mut labels, mut chunk) = (Vec::new(), Vec::new());
    for file in files {
        let first = labels.len();
        let rows = Rows::open(format, file)?;
        labels.extend(&rows.labels);
        for (index, group) in rows.groups().into_iter().enumerate() {
            let wanted: Vec<usize> = match wanted {
                None => group.clone().collect(),
                Some(all) => {
                    let position = |end: usize| all.partition_point(|&row| (row as usize) < first + end);
                    all[position(group.start)..position(group.end)]
                        .iter()
                        .map(|&row| row as usize - first)
                        .collect()
                }
            };
            if wanted.is_empty() {
                continue;
            }
            let pictures = rows.pictures(format, index, group.start)?;
            for part in wanted.chunks((CHUNK / format.bytes().max(1)).max(1)) {
                chunk.resize(part.len() * format.bytes(), 0);
                part.par_iter()
                    .zip(chunk.par_chunks_exact_mut(format.bytes()))
                    .try_for_each(|(&row, out)| pictures.decode(format, file, (row, group.start), out))?;
                take(&chunk)?;
            }
        }
    }
    Ok(labels)
}

/// The rows of a file.
struct Rows {
    labels: Vec<u32>,
    content: Content,
}

enum Content {
    /// The content of a file of the binary version.
    Planes(Vec<u8>),
    #[cfg(feature = "hub")]
    Table(super::table::Table),
}

/// The pictures of a group of rows.
enum Pictures<'a> {
    /// The content of a file of the binary version.
    Planes(&'a [u8]),
    #[cfg(feature = "hub")]
    Encoded(Vec<parquet::data_type::ByteArray>),
}

impl Rows {
    fn open(format: &Format, file: &Path) -> Result<Self, Error> {
        #[cfg(feature = "hub")]
        if file.extension().is_some_and(|extension| extension == "parquet") {
            let table = super::table::Table::open(file)?;
            let labels = table.labels(format.columns.labels.as_deref(), format.classes)?;
            return Ok(Self { labels, content: Content::Table(table) });
        }
        #[cfg(not(feature = "hub"))]
        let _ = format;
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
        Ok(Self { labels, content: Content::Planes(bytes) })
    }

    /// Returns the rows that are read at once.
    fn groups(&self) -> Vec<Range<usize>> {
        match &self.content {
            Content::Planes(_) => std::iter::once(0..self.labels.len()).collect(),
            #[cfg(feature = "hub")]
            Content::Table(table) => table.groups(),
        }
    }

    /// Reads the pictures of a group, which begins with the row `first`.
    #[cfg_attr(not(feature = "hub"), expect(clippy::unnecessary_wraps, reason = "encoded pictures can fail"))]
    fn pictures(&self, format: &Format, group: usize, first: usize) -> Result<Pictures<'_>, Error> {
        #[cfg(not(feature = "hub"))]
        let _ = (format, group, first);
        match &self.content {
            Content::Planes(bytes) => Ok(Pictures::Planes(bytes)),
            #[cfg(feature = "hub")]
            Content::Table(table) => {
                let named = format.columns.features.as_deref();
                table.group_bytes(&super::table::PICTURES, named, (group, first)).map(Pictures::Encoded)
            }
        }
    }
}

impl Pictures<'_> {
    /// Decodes the picture of a row of the group that begins with the row `first`.
    #[cfg_attr(not(feature = "hub"), expect(clippy::unnecessary_wraps, reason = "encoded pictures can fail"))]
    fn decode(
        &self,
        format: &Format,
        file: &Path,
        (row, first): (usize, usize),
        out: &mut [u8],
    ) -> Result<(), Error> {
        #[cfg(not(feature = "hub"))]
        let _ = (format, file, first);
        match self {
            Self::Planes(bytes) => out.copy_from_slice(&bytes[row * (BYTES + 1) + 1..][..BYTES]),
            #[cfg(feature = "hub")]
            Self::Encoded(pictures) => decode(format.shape, file, row, pictures[row - first].data(), out)?,
        }
        Ok(())
    }
}

/// Returns the channels, the height and the width of the first picture of `files`: one channel if it is grey. Without a picture
/// all are 0.
#[cfg(feature = "hub")]
pub(crate) fn first_shape<'a>(
    files: impl Iterator<Item = &'a Path>,
    columns: &Columns,
) -> Result<[usize; 3], Error> {
    for file in files {
        let table = super::table::Table::open(file)?;
        let Some(group) = table.groups().iter().position(|rows| !rows.is_empty()) else { continue };
        let named = columns.features.as_deref();
        let pictures = table.group_bytes(&super::table::PICTURES, named, (group, 0))?;
        if let Some(first) = pictures.first() {
            return shape(file, first.data());
        }
    }
    Ok([0; 3])
}

/// Returns the shape of an encoded picture.
#[cfg(feature = "hub")]
fn shape(file: &Path, bytes: &[u8]) -> Result<[usize; 3], Error> {
    use image::ImageDecoder;
    let wrong = |source| Error::Picture { path: file.to_path_buf(), row: 0, source };
    let format = supported(file, 0, bytes)?;
    let reader = image::ImageReader::with_format(std::io::Cursor::new(bytes), format);
    let decoder = reader.into_decoder().map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    let channels = if decoder.color_type().has_color() { 3 } else { 1 };
    Ok([channels, height as usize, width as usize])
}

/// Returns the format of an encoded picture, or an error if this build cannot read it.
#[cfg(feature = "hub")]
fn supported(file: &Path, row: usize, bytes: &[u8]) -> Result<image::ImageFormat, Error> {
    let wrong = |source| Error::Picture { path: file.to_path_buf(), row, source };
    let format = image::guess_format(bytes).map_err(wrong)?;
    if format.reading_enabled() {
        return Ok(format);
    }
    let found = format.extensions_str().first().map_or_else(String::new, |name| name.to_uppercase());
    Err(Error::PictureFormat { path: file.to_path_buf(), row, found })
}

/// Decodes a picture and separates its channels.
#[cfg(feature = "hub")]
fn decode(
    [channels, height, width]: [usize; 3],
    file: &Path,
    row: usize,
    bytes: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let wrong = |source| Error::Picture { path: file.to_path_buf(), row, source };
    let format = supported(file, row, bytes)?;
    let picture = match format {
        image::ImageFormat::Jpeg => super::jpeg::decode(bytes),
        _ => image::load_from_memory_with_format(bytes, format).map(image::DynamicImage::into_rgb8),
    };
    let picture = picture.map_err(wrong)?;
    let expected = (width as u32, height as u32);
    if picture.dimensions() != expected {
        let found = picture.dimensions();
        return Err(Error::PictureSize { path: file.to_path_buf(), row, expected, found });
    }
    if channels == 1 && picture.as_raw().chunks_exact(3).any(|colours| colours != [colours[0]; 3]) {
        return Err(Error::PictureColours { path: file.to_path_buf(), row });
    }
    for (position, colours) in picture.as_raw().chunks_exact(3).enumerate() {
        for (channel, &value) in colours.iter().take(channels).enumerate() {
            out[channel * height * width + position] = value;
        }
    }
    Ok(())
}
