//! A data set in memory: three splits and where they come from.

use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::FileIdentity;
use crate::pictures::PictureSplit;
use crate::tokens::TokenSplit;

/// A data set, ready for training.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its name: `cifar10`, `imdb`, `synthetic-pictures`, `synthetic-reviews`.
    pub name: String,
    /// How many classes it has.
    pub classes: usize,
    /// What its examples are.
    pub kind: Kind,
    /// Digest of the content: the files' bytes, or the generator's version and settings.
    pub digest: String,
    /// The files, with their known variants; empty for synthetic sets.
    pub files: Vec<FileIdentity>,
    /// For the reader of a result: lossy copies, unknown files, duplicates, that a set is synthetic.
    pub notes: Vec<String>,
    /// Exact duplicates among the examples, before any limit.
    pub duplicates: Duplicates,
    /// The trained tokenizer's file in the format of the `tokenizers` library; `None` for pictures.
    pub tokenizer: Option<PathBuf>,
    /// What the model learns from. Vocabulary and normalisation come from here alone.
    pub train: Split,
    /// What choices are made on.
    pub validation: Split,
    /// Read once, at the end.
    pub test: Split,
}

/// What examples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Pictures {
        /// Colour channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
    /// Token sequences.
    Tokens {
        /// Ids are below this number.
        vocabulary: usize,
        /// Longest sequence.
        max_length: usize,
    },
}

/// Exact duplicates: equal pixels, or equal text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Duplicates {
    /// Rows of training and validation together that repeat an earlier row.
    pub within_train: usize,
    /// Rows of the test split that repeat an earlier row of it.
    pub within_test: usize,
    /// Rows of the test split that also stand in training or validation. They are kept.
    pub train_test: usize,
}

/// A part of a data set.
#[derive(Debug, Clone)]
pub struct Split {
    pub(crate) labels: Arc<[u32]>,
    pub(crate) store: Store,
}

#[derive(Debug, Clone)]
pub(crate) enum Store {
    Pictures(PictureSplit),
    Tokens(TokenSplit),
}

impl Split {
    /// How many examples it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it has no example.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The class of every example. Training labels of a synthetic set carry the generator's label noise.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The row of every example in its source: the training file's for training and validation, the test
    /// file's for test.
    #[must_use]
    pub fn rows(&self) -> &[u32] {
        match &self.store {
            Store::Pictures(split) => &split.rows,
            Store::Tokens(split) => &split.rows,
        }
    }
}
