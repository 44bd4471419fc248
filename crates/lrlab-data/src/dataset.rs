//! A data set that is ready for training: three splits and their origin.

use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::FileIdentity;
use crate::pictures::PictureSplit;
use crate::tokens::TokenSplit;

/// A data set, ready for training.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The name: that of the source, such as `cifar10`, or that of a custom data set.
    pub name: String,
    /// The number of classes.
    pub classes: usize,
    /// The names of the classes in the order of the labels; empty if they have none.
    pub class_names: Vec<String>,
    /// The kind of the examples.
    pub kind: Kind,
    /// The digest of the content: of the bytes of the files, or of the version and the settings of the generator.
    pub digest: String,
    /// The files, with their known variants; empty for synthetic and custom sets.
    pub files: Vec<FileIdentity>,
    /// Notes for readers of results: lossy copies, unknown files, duplicates, synthetic data.
    pub notes: Vec<String>,
    /// Exact duplicates among the examples, before any limit.
    pub duplicates: Duplicates,
    /// The file of the trained tokenizer in the format of the `tokenizers` library; `None` for pictures and for token sequences.
    pub tokenizer: Option<PathBuf>,
    /// The training split, from which alone vocabulary and normalisation are derived.
    pub train: Split,
    /// The validation split, for model selection.
    pub validation: Split,
    /// The test split, to be evaluated once at the end.
    pub test: Split,
}

/// The kind of examples.
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
        /// The size of the vocabulary.
        vocabulary: usize,
        /// The maximum length of a sequence.
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
    /// Rows of the test split that also occur in training or validation. They are kept.
    pub train_test: usize,
}

impl Dataset {
    /// Returns mean and standard deviation of each channel of the training pictures, whose values are 0 … 1, for
    /// `torchvision.transforms.Normalize`; `None` for token sequences. A channel with a deviation of 0 becomes 0.
    #[must_use]
    pub fn normalisation(&self) -> Option<Vec<[f64; 2]>> {
        let Store::Pictures(split) = &self.train.store else { return None };
        Some(split.normalisation.moments.iter().map(|of| of.map(|value| value / 255.0)).collect())
    }
}

/// A split of a data set.
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
    /// Returns the number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether the split is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the class of every example. Training labels of a synthetic set contain label noise.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the row of every example in its source: in the training files for training and validation, and in the test
    /// files for test.
    #[must_use]
    pub fn rows(&self) -> &[u32] {
        match &self.store {
            Store::Pictures(split) => &split.rows,
            Store::Tokens(split) => &split.rows,
        }
    }
}
