//! Pictures: stored as bytes, augmented and normalised in one pass when used.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use lrlab_config::AugmentConfig;
use lrlab_random::Stream;

use crate::batch::{Features, Raw, View};
use crate::pixels::{PixelFile, Pixels};
use crate::{Error, cache};

/// The pixels of one or more splits, `(picture, channel, row, column)`.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) pixels: Pixels,
}

impl Pictures {
    /// Returns the bytes per picture.
    pub(crate) fn bytes(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Returns the bytes of a picture. A picture in a file is read into `buffer`.
    pub(crate) fn picture<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        match &self.pixels {
            Pixels::Memory(pixels) => Ok(&pixels[index * self.bytes()..][..self.bytes()]),
            Pixels::File(file) => {
                buffer.resize(self.bytes(), 0);
                file.read(index, buffer)?;
                Ok(buffer)
            }
        }
    }
}

/// The pictures of a split: a subset of the shared pixels.
#[derive(Debug, Clone)]
pub(crate) struct PictureSplit {
    /// The row of every example in the source.
    pub(crate) rows: Arc<[u32]>,
    /// The index of every example in `pictures`.
    pub(crate) places: Arc<[u32]>,
    pub(crate) pictures: Arc<Pictures>,
    pub(crate) normalisation: Arc<Normalisation>,
}

/// The normalised value of each byte, per channel: (x / 255 − mean) / standard deviation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Normalisation {
    tables: Vec<[f32; 256]>,
    /// Mean and standard deviation of each channel, of bytes.
    pub(crate) moments: Vec<[f64; 2]>,
}

impl Normalisation {
    /// Computes the normalisation of the pictures at `places` from exact histograms. The histograms of a file are cached beside
    /// it.
    pub(crate) fn of(pictures: &Pictures, places: &[u32]) -> Result<Self, Error> {
        let path = match &pictures.pixels {
            Pixels::Memory(_) => None,
            Pixels::File(file) => Some(histograms(file, places)),
        };
        let known = path.as_deref().and_then(cache::load).map(|bytes| unpack(&bytes));
        let counts = match known.filter(|counts| counts.len() == pictures.channels) {
            Some(counts) => counts,
            None => count(pictures, places)?,
        };
        if let Some(path) = path.filter(|path| !path.exists()) {
            let words = counts.iter().flatten().flat_map(|count| count.to_le_bytes());
            cache::store(&path, &words.collect::<Vec<_>>());
        }
        let moments: Vec<[f64; 2]> = counts.iter().map(moments).collect();
        Ok(Self { tables: moments.iter().map(|of| table(*of)).collect(), moments })
    }
}

/// Counts the byte values of each channel.
fn count(pictures: &Pictures, places: &[u32]) -> Result<Vec<[u64; 256]>, Error> {
    let (mut counts, mut buffer) = (vec![[0_u64; 256]; pictures.channels], Vec::new());
    for &place in places {
        let picture = pictures.picture(place as usize, &mut buffer)?;
        let planes = picture.chunks_exact(pictures.height * pictures.width);
        for (count, plane) in counts.iter_mut().zip(planes) {
            for &byte in plane {
                count[usize::from(byte)] += 1;
            }
        }
    }
    Ok(counts)
}

/// Returns the cache file of the histograms of the pictures at `places`.
fn histograms(file: &PixelFile, places: &[u32]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    for &place in places {
        hasher.update(&file.row(place as usize).to_le_bytes());
    }
    let hash = hasher.finalize().to_hex();
    file.file.path().with_extension(format!("{}.histograms", &hash[..16]))
}

fn unpack(bytes: &[u8]) -> Vec<[u64; 256]> {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    let channel = |bytes: &[u8]| std::array::from_fn(|byte| word(&bytes[byte * 8..][..8]));
    bytes.chunks_exact(256 * 8).map(channel).collect()
}

/// Returns the mean and the standard deviation of bytes with these counts.
fn moments(count: &[u64; 256]) -> [f64; 2] {
    let moment = |value: fn(f64) -> f64| {
        let sum: f64 = count.iter().enumerate().map(|(byte, &n)| n as f64 * value(byte as f64)).sum();
        sum / (count.iter().sum::<u64>() as f64).max(1.0)
    };
    let mean = moment(|x| x);
    [mean, (moment(|x| x * x) - mean * mean).max(0.0).sqrt()]
}

fn table([mean, deviation]: [f64; 2]) -> [f32; 256] {
    // A constant channel becomes 0.
    let scale = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
    std::array::from_fn(|byte| ((byte as f64 - mean) * scale) as f32)
}

impl PictureSplit {
    /// Returns the views of the pictures at `indices`, with the random changes of `augmentation`.
    pub(crate) fn views(&self, indices: &[u32], augmentation: Option<(AugmentConfig, Stream)>) -> Vec<View> {
        let view = |&index: &u32| {
            let (place, row) = (self.places[index as usize], self.rows[index as usize]);
            match &augmentation {
                None => View::plain(place),
                Some((augment, stream)) => View::draw(*augment, *stream, row, place, &self.pictures),
            }
        };
        indices.iter().map(view).collect()
    }

    /// Returns the pictures if they are in memory.
    pub(crate) fn raw(&self) -> Option<Raw<'_>> {
        let Pictures { channels, height, width, pixels } = &*self.pictures;
        let Pixels::Memory(pixels) = pixels else { return None };
        Some(Raw::Pictures {
            pixels,
            shape: [*channels, *height, *width],
            tables: &self.normalisation.tables,
        })
    }
}

/// Creates a tensor of views of the pictures of a split.
pub(crate) fn features(split: &PictureSplit, views: &[View]) -> Result<Features, Error> {
    let (pictures, mut buffer) = (&*split.pictures, Vec::new());
    let mut values = vec![0.0; views.len() * pictures.bytes()];
    for (view, out) in views.iter().zip(values.chunks_exact_mut(pictures.bytes().max(1))) {
        let picture = pictures.picture(view.picture as usize, &mut buffer)?;
        view.write(picture, (pictures.height, pictures.width), &split.normalisation, out);
    }
    let shape = (views.len(), pictures.channels, pictures.height, pictures.width);
    Ok(Features::Pictures(Tensor::from_vec(values, shape, &Device::Cpu)?))
}

impl View {
    fn plain(picture: u32) -> Self {
        Self { picture, shift: (0, 0), flip: false, blank: (0..0, 0..0) }
    }

    /// Draws a view from four random words per example: the shift of rows, the shift of columns, the flip, and both coordinates
    /// of the centre of the blanked square.
    fn draw(augment: AugmentConfig, stream: Stream, row: u32, picture: u32, pictures: &Pictures) -> Self {
        let [a, b, c, d] = stream.words(u64::from(row));
        let padding = augment.crop_padding as isize;
        let offset = |word: u32| below(word, 2 * augment.crop_padding + 1) as isize - padding;
        let square = |half: u32, side: usize| {
            let centre = below(half << 16, side) as isize;
            let start = centre - (augment.cutout / 2) as isize;
            let end = start + augment.cutout as isize;
            start.clamp(0, side as isize) as usize..end.clamp(0, side as isize) as usize
        };
        Self {
            picture,
            shift: (offset(a), offset(b)),
            flip: augment.flip && c & 1 == 1,
            blank: (square(d & 0xFFFF, pictures.height), square(d >> 16, pictures.width)),
        }
    }

    fn write(&self, source: &[u8], (height, width): (usize, usize), norm: &Normalisation, out: &mut [f32]) {
        let planes = source.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for ((source, out), table) in planes.zip(&norm.tables) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                let row = y.checked_add_signed(self.shift.0).filter(|&row| row < height);
                match row.map(|row| &source[row * width..][..width]) {
                    Some(source) => self.write_row(source, table, out),
                    None => out.fill(table[0]),
                }
                if self.flip {
                    out.reverse();
                }
                if self.blank.0.contains(&y) {
                    out[self.blank.1.clone()].fill(0.0);
                }
            }
        }
    }

    fn write_row(&self, source: &[u8], table: &[f32; 256], out: &mut [f32]) {
        let width = source.len();
        let right = self.shift.1.clamp(0, width as isize) as usize;
        let left = (-self.shift.1).clamp(0, width as isize) as usize;
        let (before, rest) = out.split_at_mut(left);
        let (middle, after) = rest.split_at_mut(width - left - right);
        before.fill(table[0]);
        for (out, &byte) in middle.iter_mut().zip(&source[right..]) {
            *out = table[usize::from(byte)];
        }
        after.fill(table[0]);
    }
}

/// Returns a uniform integer in 0 … `bound` − 1 from 32 random bits (multiply-shift of Lemire).
fn below(word: u32, bound: usize) -> usize {
    ((u64::from(word) * bound as u64) >> 32) as usize
}

#[cfg(test)]
mod tests;
