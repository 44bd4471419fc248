//! Loading of data sets.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dataset::Duplicates;
use crate::digest::{self, DatasetIdentity};
use crate::files::{Fetched, Located, Missing, Progress, locate};
use crate::{DataConfig, Dataset, Error, Source, SyntheticPictures, TokenConfig, split, synthetic};

pub(crate) mod about;
pub(crate) mod pictures;
pub(crate) mod reviews;
pub(crate) mod rows;

/// Loads, splits and prepares a data set, and downloads missing files.
///
/// # Errors
/// Returns an [`Error`] with the row if a file is invalid, or if the settings or the files leave a split
/// without examples.
pub fn load(config: &DataConfig) -> Result<Dataset, Error> {
    check(config)?;
    load_located(config, locate(&config.source, Missing::Download(&log_progress()))?.as_ref())
}

pub(crate) fn load_located(config: &DataConfig, located: Option<&Located>) -> Result<Dataset, Error> {
    let identity = identify(config, located)?;
    match &config.source {
        Source::Cifar10(_) | Source::SyntheticPictures(_) | Source::HubPictures(_) => {
            pictures::load(config, identity, located)
        }
        Source::Imdb(_) | Source::SyntheticReviews(_) | Source::HubTexts(_) => {
            reviews::load(config, identity, located)
        }
        Source::Custom(custom) => Err(Error::custom(custom)),
    }
}

/// Returns the identity of a data set without decoding it, and downloads missing files. Checks the columns of a data set of the
/// hub. The digests of unchanged files (by size,
/// inode, and modification and change times) come from the cache folder; [`verify`] reads every byte.
///
/// # Errors
/// Returns an error if files are missing or cannot be read, or if the content does not have the required digest.
pub fn digest(config: &DataConfig) -> Result<DatasetIdentity, Error> {
    identify(config, locate(&config.source, Missing::Download(&log_progress()))?.as_ref())
}

/// Like [`digest`], without the network.
///
/// # Errors
/// Like [`digest`]; a missing file is an error for which [`Error::is_missing`] is true.
pub fn local_digest(config: &DataConfig) -> Result<DatasetIdentity, Error> {
    identify(config, locate(&config.source, Missing::Reject)?.as_ref())
}

/// Fetches the files of `source` from the cache of the hub or over the network. `progress` receives the progress of downloads.
/// Returns the paths of the files; none for a synthetic set.
///
/// # Errors
/// Returns an error if a file is missing, or if the network is disabled or fails.
pub fn fetch(source: &Source, progress: &Progress) -> Result<Vec<PathBuf>, Error> {
    let located = locate(source, Missing::Download(progress))?;
    Ok(located.into_iter().flat_map(|located| located.files).map(|(_, path)| path).collect())
}

/// The result of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The identity, with recomputed digests.
    pub identity: DatasetIdentity,
    /// Rows for training and validation.
    pub train: usize,
    /// Rows for the test.
    pub test: usize,
    /// Exact duplicates.
    pub duplicates: Duplicates,
}

/// Reads and decodes every row of `source` without using caches.
///
/// # Errors
/// Returns the first [`Error`] in the files, with its row.
pub fn verify(source: &Source, progress: &Progress) -> Result<Verified, Error> {
    let located = locate(source, Missing::Download(progress))?;
    let identity = name_content(source, located.as_ref(), None)?;
    let counted = |train: &[u128], test: &[u128]| Verified {
        identity,
        train: train.len(),
        test: test.len(),
        duplicates: split::duplicates(train, test),
    };
    match source {
        Source::Cifar10(_) | Source::SyntheticPictures(_) | Source::HubPictures(_) => {
            let about = about::about(source, located.as_ref())?;
            let [train, test] = pictures::contents(source, located.as_ref(), &about)?;
            Ok(counted(&train, &test))
        }
        Source::Imdb(_) | Source::SyntheticReviews(_) | Source::HubTexts(_) => {
            let about = about::about(source, located.as_ref())?;
            let [train, test] = reviews::contents(source, located.as_ref(), about.classes)?;
            Ok(counted(&train, &test))
        }
        Source::Custom(custom) => Err(Error::custom(custom)),
    }
}

fn identify(config: &DataConfig, located: Option<&Located>) -> Result<DatasetIdentity, Error> {
    let identity = pinned(config, name_content(&config.source, located, Some(&config.cache))?)?;
    #[cfg(feature = "hub")]
    about::check_columns(&config.source, located)?;
    Ok(identity)
}

/// Compares a digest with the required one.
pub(crate) fn pinned(config: &DataConfig, identity: DatasetIdentity) -> Result<DatasetIdentity, Error> {
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
        Source::Cifar10(_) | Source::Imdb(_) | Source::HubPictures(_) | Source::HubTexts(_) => {
            let parts = matches!(source, Source::HubPictures(_) | Source::HubTexts(_));
            digest::identify(name, (located.map_or(&[], |located| &located.files), parts), cache)
        }
        Source::Custom(custom) => Err(Error::custom(custom)),
    }
}

/// Logs each tenth of a download.
fn log_progress() -> Progress {
    let last = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |fetched: &Fetched| {
        let tenths = 10 * fetched.bytes / fetched.total.max(1);
        if last.swap(tenths, std::sync::atomic::Ordering::Relaxed) != tenths {
            tracing::info!(repo = fetched.repo, file = fetched.file, percent = 10 * tenths, "downloading");
        }
    })
}

/// Checks the ranges of the settings.
fn check(config: &DataConfig) -> Result<(), Error> {
    match &config.source {
        Source::SyntheticPictures(SyntheticPictures { train, size, classes, .. }) => {
            at_least("train", *train, 1, "at least 1")?;
            at_least("size", *size, 1, "at least 1")?;
            at_least("classes", *classes, 2, "at least 2")
        }
        Source::Cifar10(_) | Source::HubPictures(_) | Source::Custom(_) => Ok(()),
        Source::Imdb(_) | Source::SyntheticReviews(_) | Source::HubTexts(_) => check_tokens(&config.tokens),
    }
}

/// Checks the ranges of the tokenization.
pub(crate) fn check_tokens(tokens: &TokenConfig) -> Result<(), Error> {
    at_least("tokens.max_length", tokens.max_length, 1, "at least 1")?;
    at_least("tokens.vocabulary", tokens.vocabulary, 3, "at least 3: two special tokens and a word")
}

fn at_least(setting: &'static str, value: usize, least: usize, expected: &'static str) -> Result<(), Error> {
    if value < least { Err(Error::Setting { setting, value: value.to_string(), expected }) } else { Ok(()) }
}
