//! Custom data sets from values in memory or from streams.
//!
//! Splits, limits, normalisation, vocabulary, duplicate detection and digest work as for built-in data sets.

use std::fmt::Write as _;

use lrlab_config::CustomConfig;
use sha2::{Digest, Sha256};

use crate::digest::{DatasetIdentity, hex};
use crate::files::Columns;
use crate::load::about::About;
use crate::load::pinned;
use crate::{DataConfig, Error, Source};

mod key;
mod pictures;
mod sequences;
mod stream;

/// Examples with their classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled<T> {
    /// The examples: the pixels of all pictures, the token sequences, or the texts.
    pub examples: T,
    /// The class of every example, counted from 0.
    pub labels: Vec<u32>,
}

impl<T> Labelled<T> {
    /// Pairs examples with their classes.
    #[must_use]
    pub fn new(examples: T, labels: Vec<u32>) -> Self {
        Self { examples, labels }
    }
}

/// A data set in memory, for [`Dataset::from_pictures`](crate::Dataset::from_pictures), `from_texts` and `from_tokens`. For
/// `from_picture_stream`, `from_text_stream` and `from_token_stream`, only the labels are in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMemory<T> {
    /// The name.
    pub name: String,
    /// The names of the classes in the order of the labels.
    pub classes: Vec<String>,
    /// The training split. Without a validation split of its own, a part of it is held out.
    pub train: Labelled<T>,
    /// The validation split, if the data set has one of its own.
    pub validation: Option<Labelled<T>>,
    /// The test split.
    pub test: Labelled<T>,
    /// Notes for readers of results.
    pub notes: Vec<String>,
    /// A key that identifies the content of the streams, such as the digest or the version of the files that they read. The
    /// same key must always identify the same examples. The cache remembers the digest of the content under the key, the name
    /// and the labels, so that a later call takes the data set from the cache and does not read the streams. They are read
    /// again where the cache lacks a file, or the tokens for these settings; other examples than before are then an error.
    ///
    /// Without a key, every call reads the streams. [`Dataset::from_pictures`](crate::Dataset::from_pictures) ignores it.
    pub key: Option<String>,
}

impl<T> InMemory<T> {
    /// Creates a data set without a validation split of its own and without notes.
    #[must_use]
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        classes: impl IntoIterator<Item = S>,
        train: Labelled<T>,
        test: Labelled<T>,
    ) -> Self {
        Self {
            name: name.into(),
            classes: classes.into_iter().map(Into::into).collect(),
            train,
            validation: None,
            test,
            notes: Vec::new(),
            key: None,
        }
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &Labelled<T>)> {
        let validation = self.validation.iter().map(|part| ("validation", part));
        [("train", &self.train), ("test", &self.test)].into_iter().chain(validation)
    }

    fn error(&self, place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::InMemory { dataset: self.name.clone(), place: place.into(), problem: problem.into() }
    }

    /// Checks the labels; `count` returns the number of examples of a part, if it is known before the examples are read.
    fn check(&self, count: Option<&dyn Fn(&T) -> usize>) -> Result<(), Error> {
        let classes = self.classes.len();
        if classes < 2 {
            return Err(self.error("classes", format!("{classes} names, expected at least 2")));
        }
        for (part, Labelled { examples, labels }) in self.parts() {
            if labels.is_empty() {
                return Err(self.error(part, "no examples, expected at least 1"));
            }
            if let Some(count) = count.map(|count| count(examples)).filter(|count| *count != labels.len()) {
                let problem = format!("{count} examples, but {} labels", labels.len());
                return Err(self.error(part, problem));
            }
            let invalid = labels.iter().enumerate().find(|(_, label)| **label as usize >= classes);
            if let Some((row, label)) = invalid {
                let problem = format!("label {label} is out of range 0 … {}", classes - 1);
                return Err(self.error(format!("{part} row {row}"), problem));
            }
        }
        Ok(())
    }

    /// Derives the identity from the hashes of the parts: training, test and, if there is one, validation.
    fn named(
        &self,
        config: &DataConfig,
        about: &str,
        parts: impl Iterator<Item = (&'static str, usize, Sha256)>,
    ) -> Result<DatasetIdentity, Error> {
        let mut all = format!("lrlab data set {}\n{about}, {} classes\n", self.name, self.classes.len());
        for (part, count, hasher) in parts {
            let _ = writeln!(all, "{part} {count} {}", hex(hasher.finalize()));
        }
        self.with_digest(config, hex(Sha256::digest(&all)))
    }

    /// Returns the identity of the content with this digest, which is compared with the required one.
    fn with_digest(&self, config: &DataConfig, digest: String) -> Result<DatasetIdentity, Error> {
        let identity =
            DatasetIdentity { name: self.name.clone(), digest, files: Vec::new(), notes: self.notes.clone() };
        pinned(config, identity)
    }

    fn about(&self, shape: [usize; 3]) -> About {
        About {
            classes: self.classes.len(),
            names: self.classes.clone(),
            shape,
            columns: Columns::default(),
            held_out: self.validation.as_ref().map(|_| self.train.labels.len()),
        }
    }

    /// Returns the settings with this data set as their source, which gives the name and the default validation.
    fn settings(&self, config: &DataConfig) -> DataConfig {
        let custom =
            CustomConfig { name: self.name.clone(), options: serde_json::Value::Null, version: None };
        DataConfig { source: Source::Custom(custom), ..config.clone() }
    }
}

/// Returns a hasher that has consumed the labels of a part.
fn label_hasher(labels: &[u32]) -> Sha256 {
    let mut hasher = Sha256::new();
    for label in labels {
        hasher.update(label.to_le_bytes());
    }
    hasher
}
