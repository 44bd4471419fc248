//! Picture sets: an index of every row (class, content), then the pixels of the rows in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::about::{About, about};
use super::rows::{Rows, notes, pick, places, split_rows};
use crate::catalog::Part;
use crate::collector::{Bytes, Collected, Collector, persist};
use crate::dataset::Store;
use crate::digest::{DatasetIdentity, content_hash};
use crate::files::{Located, cifar10, cifar10::Format};
use crate::pictures::{Normalisation, PictureSplit, Pictures};
use crate::pixels::{PixelFile, Pixels};
use crate::row_file::RowFile;
use crate::{DataConfig, Dataset, Error, Kind, Source, Split, Validation, cache, split, synthetic};

/// The rows of the training files or the test files.
pub(crate) struct Rowset {
    labels: Vec<u32>,
    /// The labels with noise, for training.
    noisy: Option<Vec<u32>>,
    /// The hash of the pixels of every picture.
    pub(crate) contents: Vec<u128>,
    pixels: Decoded,
}

enum Decoded {
    /// The pixels of every row, in memory.
    Memory(Vec<u8>),
    /// The pixels of every row, in a file.
    File(PathBuf),
    /// The files to decode pixels from, and the file for the pixels of every row if they exceed the budget.
    Files(Vec<PathBuf>, PathBuf),
}

pub(super) fn load(
    config: &DataConfig,
    identity: DatasetIdentity,
    located: Option<&Located>,
) -> Result<Dataset, Error> {
    let about = about(&config.source, located)?;
    let (train, test) = indexed(config, &identity.digest, located, &about)?;
    finish(config, identity, &about, (train, test))
}

/// Splits the rows.
pub(crate) fn finish(
    config: &DataConfig,
    identity: DatasetIdentity,
    about: &About,
    (train, test): (Rowset, Rowset),
) -> Result<Dataset, Error> {
    let About { classes, shape: [channels, height, width], .. } = *about;
    let rows = split_rows(config, about, (&train.labels, &train.contents), &test.labels)?;
    let duplicates = split::duplicates(&train.contents, &test.contents);
    let kind = Kind::Pictures { channels, height, width };
    let (training, held_out, test) = assemble(train, test, &rows, (&about.format(), config))?;
    let validation = if config.validation == Some(Validation::TEST_SPLIT) { test.clone() } else { held_out };
    Ok(Dataset {
        notes: notes(config, about, &identity, duplicates),
        name: identity.name,
        classes,
        class_names: about.names.clone(),
        kind,
        digest: identity.digest,
        files: identity.files,
        duplicates,
        tokenizer: None,
        train: training,
        validation,
        test,
    })
}

/// Reads and decodes every row of the source, and hashes it.
pub(super) fn contents(
    source: &Source,
    located: Option<&Located>,
    about: &About,
) -> Result<[Vec<u128>; 2], Error> {
    if let Some((train, test)) = generated(source, about) {
        return Ok([train.contents, test.contents]);
    }
    if let Some((train, test)) = published(located)? {
        return Ok([train.contents, test.contents]);
    }
    let (format, bytes) = (about.format(), about.format().bytes().max(1));
    let part = |part| -> Result<Vec<u128>, Error> {
        let mut contents = Vec::new();
        cifar10::read(&format, &places(located, part), None, &mut |pictures| {
            contents.par_extend(pictures.par_chunks_exact(bytes).map(content_hash));
            Ok(())
        })?;
        Ok(contents)
    };
    Ok([part(Part::Train)?, part(Part::Test)?])
}

/// Generates the rows of a synthetic source; `None` for any other.
fn generated(source: &Source, about: &About) -> Option<(Rowset, Rowset)> {
    let Source::SyntheticPictures(settings) = source else { return None };
    let (format, (train, test)) = (about.format(), synthetic::pictures::generate(settings));
    Some((
        Rowset::decoded(train.labels, Some(train.noisy), train.pixels, &format),
        Rowset::decoded(test.labels, None, test.pixels, &format),
    ))
}

/// Reads the published binary version of CIFAR-10 with `candle-datasets`; `None` for any other source.
#[cfg(feature = "candle-datasets")]
fn published(located: Option<&Located>) -> Result<Option<(Rowset, Rowset)>, Error> {
    let Some([train, test]) = located.map(crate::vision::load_dir).transpose()?.flatten() else {
        return Ok(None);
    };
    let rowset = |(labels, pixels)| Rowset::decoded(labels, None, pixels, &Format::cifar10());
    Ok(Some((rowset(train), rowset(test))))
}

#[cfg(not(feature = "candle-datasets"))]
#[expect(clippy::unnecessary_wraps, reason = "reading can fail with the feature")]
fn published(_: Option<&Located>) -> Result<Option<(Rowset, Rowset)>, Error> {
    Ok(None)
}

/// Reads every row of the source. Labels and content hashes are cached, so that later only the rows in use are decoded.
fn indexed(
    config: &DataConfig,
    digest: &str,
    located: Option<&Located>,
    about: &About,
) -> Result<(Rowset, Rowset), Error> {
    if let Some(rows) = published(located)? {
        return Ok(rows);
    }
    if let Some(rows) = generated(&config.source, about) {
        return Ok(rows);
    }
    let files = |part| places(located, part);
    let columns = match about.columns.key() {
        key if key.is_empty() => String::new(),
        key => format!("-{}", &blake3::hash(key.as_bytes()).to_hex()[..16]),
    };
    let place = |part: &str| config.cache.join("pictures").join(format!("{digest}{columns}.{part}"));
    let cached = |part, name| {
        Rowset::indexed(&place(name), |_| Some(Decoded::Files(files(part), pixel_file(&place(name)))))
    };
    if let (Some(train), Some(test)) = (cached(Part::Train, "train"), cached(Part::Test, "test")) {
        return Ok((train, test));
    }
    let read = |part, name| -> Result<Rowset, Error> {
        let (format, place) = (about.format(), place(name));
        let mut collector = Collector::new(&config.cache.join("pictures"), config.memory);
        let labels = cifar10::read(&format, &files(part), None, &mut |pictures| {
            collector.add(pictures, format.bytes())
        })?;
        Rowset::collected(labels, collector, &place, true)
    };
    Ok((read(Part::Train, "train")?, read(Part::Test, "test")?))
}

/// Returns the training and test rows that the cache keeps of streams whose content has this digest; `None` if a file is missing or
/// incomplete.
pub(crate) fn kept(folder: &Path, digest: &str, bytes: usize) -> Option<(Rowset, Rowset)> {
    let part = |name: &str| {
        let index = folder.join(format!("{digest}.{name}"));
        Rowset::indexed(&index, |rows| {
            let path = pixel_file(&index);
            let complete = path.metadata().is_ok_and(|about| about.len() == rows as u64 * bytes as u64);
            complete.then_some(Decoded::File(path))
        })
    };
    Some((part("train")?, part("test")?))
}

/// The file of the pixels of a part, beside its index.
fn pixel_file(index: &Path) -> PathBuf {
    let mut name = index.as_os_str().to_owned();
    name.push(".pixels");
    name.into()
}

/// Serializes the class and the content hash of each row in 20 bytes.
fn pack(rows: &Rowset) -> Vec<u8> {
    let row = |(label, content): (&u32, &u128)| {
        label.to_le_bytes().into_iter().chain(content.to_le_bytes()).collect::<Vec<_>>()
    };
    rows.labels.iter().zip(&rows.contents).flat_map(row).collect()
}

fn unpack(bytes: &[u8]) -> Option<(Vec<u32>, Vec<u128>)> {
    let row = |row: &[u8]| {
        Some((u32::from_le_bytes(row[..4].try_into().ok()?), u128::from_le_bytes(row[4..].try_into().ok()?)))
    };
    bytes.chunks_exact(20).map(row).collect()
}

impl Rowset {
    pub(crate) fn decoded(
        labels: Vec<u32>,
        noisy: Option<Vec<u32>>,
        pixels: Vec<u8>,
        format: &Format,
    ) -> Self {
        let contents = pixels.par_chunks_exact(format.bytes().max(1)).map(content_hash).collect();
        Self { labels, noisy, contents, pixels: Decoded::Memory(pixels) }
    }

    /// The rows of the index at `index`, whose number `pixels` receives; `None` if the index is missing or damaged.
    fn indexed(index: &Path, pixels: impl FnOnce(usize) -> Option<Decoded>) -> Option<Self> {
        let (labels, contents) = unpack(&cache::load(index)?)?;
        let pixels = pixels(labels.len())?;
        Some(Self { labels, noisy: None, contents, pixels })
    }

    /// The rows that a collector has. If it wrote a file, this becomes the one beside `index`, which is written if `keep` is set.
    pub(crate) fn collected(
        labels: Vec<u32>,
        collector: Collector,
        index: &Path,
        keep: bool,
    ) -> Result<Self, Error> {
        let Collected { bytes, contents, .. } = collector.finish()?;
        let pixels = match bytes {
            Bytes::Memory(pixels) => Decoded::Memory(pixels),
            Bytes::File(file) => {
                let path = pixel_file(index);
                persist(file, &path)?;
                Decoded::File(path)
            }
        };
        let rows = Self { labels, noisy: None, contents, pixels };
        if keep {
            cache::store(index, &pack(&rows));
        }
        Ok(rows)
    }

    /// Returns the pixels of `rows`, which are ascending.
    fn pixels(self, rows: &[u32], format: &Format, config: &DataConfig) -> Result<Pictures, Error> {
        let bytes = format.bytes();
        let pixels = match self.pixels {
            Decoded::Memory(pixels) if rows.len() == self.labels.len() => Pixels::Memory(pixels),
            Decoded::Memory(pixels) => {
                let picture = |&row: &u32| &pixels[row as usize * bytes..][..bytes];
                Pixels::Memory(rows.iter().flat_map(picture).copied().collect())
            }
            Decoded::File(path) => {
                let file = PixelFile::new(RowFile::open(&path)?, rows, &self.contents);
                let fits = (rows.len() * bytes) as u64 <= config.memory;
                if fits { Pixels::Memory(file.load(bytes)?) } else { Pixels::File(file) }
            }
            Decoded::Files(files, _) if (rows.len() * bytes) as u64 <= config.memory => {
                let mut pixels = Vec::with_capacity(rows.len() * bytes);
                cifar10::read(format, &files, Some(rows), &mut |pictures| {
                    pixels.extend_from_slice(pictures);
                    Ok(())
                })?;
                Pixels::Memory(pixels)
            }
            Decoded::Files(files, path) => {
                let whole = self.contents.len() as u64 * bytes as u64;
                if path.metadata().map_or(0, |about| about.len()) != whole {
                    let mut collector = Collector::new(&config.cache.join("pictures"), 0);
                    cifar10::read(format, &files, None, &mut |pictures| collector.add(pictures, bytes))?;
                    if let Bytes::File(file) = collector.finish()?.bytes {
                        persist(file, &path)?;
                    }
                }
                Pixels::File(PixelFile::new(RowFile::open(&path)?, rows, &self.contents))
            }
        };
        let [channels, height, width] = format.shape;
        Ok(Pictures { channels, height, width, pixels })
    }
}

fn assemble(
    train: Rowset,
    test: Rowset,
    rows: &Rows,
    (format, config): (&Format, &DataConfig),
) -> Result<(Split, Split, Split), Error> {
    let mut used: Vec<u32> = rows.train.iter().chain(&rows.validation).copied().collect();
    used.sort_unstable();
    let training_labels = train.noisy.as_deref().unwrap_or(&train.labels);
    let labels = [
        pick(training_labels, &rows.train),
        pick(&train.labels, &rows.validation),
        pick(&test.labels, &rows.test),
    ];
    let [train_labels, validation_labels, test_labels] = labels;
    // `used` is sorted and contains every row, so the position of a row in it is its place.
    let places = |rows: &[u32]| rows.iter().map(|row| used.partition_point(|x| x < row) as u32).collect();
    let (train_places, validation_places): (Arc<[u32]>, Arc<[u32]>) =
        (places(&rows.train), places(&rows.validation));
    let shared = Arc::new(train.pixels(&used, format, config)?);
    let test_pictures = Arc::new(test.pixels(&rows.test, format, config)?);
    let normalisation = Arc::new(Normalisation::of(&shared, &train_places)?);
    let part = |rows: &[u32], places, pictures: &Arc<Pictures>, labels| Split {
        labels,
        store: Store::Pictures(PictureSplit {
            rows: rows.into(),
            places,
            pictures: Arc::clone(pictures),
            normalisation: Arc::clone(&normalisation),
        }),
    };
    Ok((
        part(&rows.train, train_places, &shared, train_labels),
        part(&rows.validation, validation_places, &shared, validation_labels),
        part(&rows.test, (0..rows.test.len() as u32).collect(), &test_pictures, test_labels),
    ))
}
