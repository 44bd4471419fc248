//! From a configuration to a data set.

use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Part;
use crate::dataset::Duplicates;
use crate::digest::{self, DatasetIdentity};
use crate::files::{Fetched, Located, Progress, cifar10, imdb, locate};
use crate::{DataConfig, Dataset, Error, Source, SyntheticPictures, split, synthetic};

mod pictures;
mod reviews;

pub(crate) use reviews::Prepared;

/// Loads, splits and prepares a data set, downloading what is missing.
///
/// # Errors
/// Every fault of the files with its row, see [`Error`]; settings that leave no example for training.
pub fn load(config: &DataConfig) -> Result<Dataset, Error> {
    check(config)?;
    load_located(config, locate(&config.source, &log_progress())?.as_ref())
}

pub(crate) fn load_located(config: &DataConfig, located: Option<&Located>) -> Result<Dataset, Error> {
    let identity = identify(config, located)?;
    match &config.source {
        Source::Cifar10(_) | Source::SyntheticPictures(_) => pictures::load(config, identity, located),
        Source::Imdb(_) | Source::SyntheticReviews(_) => reviews::load(config, identity, located),
    }
}

/// Which content the configuration names, without decoding it. Files that are missing are downloaded; digests of
/// files that did not change since (size, inode, and the times of the last change of content and of anything) are
/// remembered in the cache folder; [`verify`] reads every byte.
///
/// # Errors
/// Files are missing or cannot be read, or the content is not the pinned one.
pub fn digest(config: &DataConfig) -> Result<DatasetIdentity, Error> {
    identify(config, locate(&config.source, &log_progress())?.as_ref())
}

/// Brings the files of `source` to this machine: from the hub's cache, else over the network. `progress` is told
/// of downloads. Returns the files; none for a synthetic set.
///
/// # Errors
/// A file is missing, the network is forbidden or fails.
pub fn fetch(source: &Source, progress: &Progress) -> Result<Vec<PathBuf>, Error> {
    let located = locate(source, progress)?;
    Ok(located.into_iter().flat_map(|located| located.files).map(|(_, path)| path).collect())
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The content, every digest computed anew.
    pub identity: DatasetIdentity,
    /// Rows for training and validation.
    pub train: usize,
    /// Rows for the test.
    pub test: usize,
    /// Exact duplicates.
    pub duplicates: Duplicates,
}

/// Reads and decodes every row of `source`, without any cache of ours.
///
/// # Errors
/// The first fault of the files with its row.
pub fn verify(source: &Source, progress: &Progress) -> Result<Verified, Error> {
    let located = locate(source, progress)?;
    let identity = name_content(source, located.as_ref(), None)?;
    let counted = |train: &[u128], test: &[u128]| Verified {
        identity,
        train: train.len(),
        test: test.len(),
        duplicates: split::duplicates(train, test),
    };
    match source {
        Source::Cifar10(_) | Source::SyntheticPictures(_) => {
            let (train, test) = pictures::read(source, located.as_ref())?;
            Ok(counted(&train.contents, &test.contents))
        }
        Source::Imdb(_) | Source::SyntheticReviews(_) => {
            let (train, test) = reviews::read(source, located.as_ref())?;
            Ok(counted(&train.contents(), &test.contents()))
        }
    }
}

fn identify(config: &DataConfig, located: Option<&Located>) -> Result<DatasetIdentity, Error> {
    let identity = name_content(&config.source, located, Some(&config.cache))?;
    match &config.pin_digest {
        Some(expected) if *expected != identity.digest => Err(Error::PinnedDigest {
            dataset: identity.name,
            expected: expected.clone(),
            found: identity.digest,
        }),
        _ => Ok(identity),
    }
}

fn name_content(
    source: &Source,
    located: Option<&Located>,
    cache: digest::DigestCache<'_>,
) -> Result<DatasetIdentity, Error> {
    let name = source.name();
    match source {
        Source::SyntheticPictures(settings) => Ok(synthetic::identity(name, settings)),
        Source::SyntheticReviews(settings) => Ok(synthetic::identity(name, settings)),
        Source::Cifar10(_) | Source::Imdb(_) => {
            digest::identify(name, located.map_or(&[], |located| &located.files), cache)
        }
    }
}

/// For callers who did not ask for a progress bar: a log line for every tenth of a file.
fn log_progress() -> Progress {
    let last = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |fetched: &Fetched| {
        let tenths = 10 * fetched.bytes / fetched.total.max(1);
        if last.swap(tenths, std::sync::atomic::Ordering::Relaxed) != tenths {
            tracing::info!(repo = fetched.repo, file = fetched.file, percent = 10 * tenths, "downloading");
        }
    })
}

/// Settings that no data set can fulfil.
fn check(config: &DataConfig) -> Result<(), Error> {
    let at_least = |setting, value: usize, least: usize, expected| {
        let wrong = || Error::Setting { setting, value: value.to_string(), expected };
        if value < least { Err(wrong()) } else { Ok(()) }
    };
    match &config.source {
        Source::SyntheticPictures(SyntheticPictures { train, size, classes, .. }) => {
            at_least("train", *train, 1, "at least 1")?;
            at_least("size", *size, 1, "at least 1")?;
            at_least("classes", *classes, 2, "at least 2")
        }
        Source::Cifar10(_) => Ok(()),
        Source::Imdb(_) | Source::SyntheticReviews(_) => {
            at_least("tokens.max_length", config.tokens.max_length, 1, "at least 1")?;
            at_least("tokens.vocabulary", config.tokens.vocabulary, 3, "at least 3: two specials and a word")
        }
    }
}

/// Rows of each split, ascending.
struct Rows {
    train: Vec<u32>,
    validation: Vec<u32>,
    test: Vec<u32>,
}

/// Splits rows by true labels and contents.
fn split_rows(
    config: &DataConfig,
    classes: usize,
    train: (&[u32], &[u128]),
    test: &[u32],
) -> Result<Rows, Error> {
    let (labels, contents) = train;
    let share = match config.source {
        Source::Cifar10(_) | Source::Imdb(_) => 10, // 5,000 of 50,000 and 2,500 of 25,000
        Source::SyntheticPictures(_) | Source::SyntheticReviews(_) => 5,
    };
    let wanted = config.validation.unwrap_or(labels.len() / share);
    if wanted >= labels.len() {
        let dataset = config.source.name().to_owned();
        return Err(Error::TooFewExamples { dataset, wanted, available: labels.len() });
    }
    let (seed, limit) = (config.split_seed, &config.limit);
    let (train, validation) = split::hold_out(labels, contents, classes, wanted, seed);
    let all_test = (0..test.len() as u32).collect();
    Ok(Rows {
        train: split::limited(train, labels, classes, limit.train, seed, "limit train"),
        validation: split::limited(validation, labels, classes, limit.validation, seed, "limit validation"),
        test: split::limited(all_test, test, classes, limit.test, seed, "limit test"),
    })
}

fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Arc<[T]> {
    rows.iter().map(|&row| values[row as usize]).collect()
}

/// The notes of the content, and what is to be said about duplicates.
fn notes(identity: &DatasetIdentity, duplicates: Duplicates) -> Vec<String> {
    let name = &identity.name;
    let mut notes = identity.notes.clone();
    let Duplicates { within_train, within_test, train_test } = duplicates;
    if within_train > 0 {
        notes.push(format!(
            "{name}: {within_train} examples of training and validation repeat another; equal ones are on one side"
        ));
    }
    if within_test > 0 {
        notes.push(format!("{name}: {within_test} test examples repeat another; they are kept"));
    }
    if train_test > 0 {
        notes.push(format!(
            "{name}: {train_test} test examples also stand in training or validation; they are kept"
        ));
    }
    notes
}

/// A content's hash, for finding equal ones.
fn content_hash(bytes: &[u8]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(half)
}

/// The files of one part.
fn places(located: Option<&Located>, part: Part) -> Vec<PathBuf> {
    located.map(|located| located.part(part)).unwrap_or_default()
}

/// Classes of a source.
fn classes(source: &Source) -> usize {
    match source {
        Source::Cifar10(_) => cifar10::CLASSES,
        Source::Imdb(_) | Source::SyntheticReviews(_) => imdb::CLASSES,
        Source::SyntheticPictures(settings) => settings.classes,
    }
}
