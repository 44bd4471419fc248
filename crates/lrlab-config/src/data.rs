//! Data sets and how they are prepared.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CustomConfig;

/// What validation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Validation {
    /// So many training examples, held out.
    Examples(#[schemars(range(min = 1))] usize),
    /// Another split.
    Split(ValidationSplit),
}

impl Validation {
    /// The test split; every training example is trained on.
    pub const TEST_SPLIT: Self = Self::Split(ValidationSplit::Test);
}

/// A split that validation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ValidationSplit {
    /// The test split: every example of the training files is trained on. A leak: what is chosen by validation has seen
    /// the test examples.
    Test,
}

/// Where a data set's files lie. By default on the Hugging Face hub: its local cache first, then the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// A folder with the data set's own files (CIFAR-10's binary version, `aclImdb`); `None` is the hub.
    /// A path does not enter the run's identity: the content's digest does.
    pub folder: Option<PathBuf>,
}

impl Files {
    /// A folder in the data set's own format.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }
}

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 pictures of ten classes.
    Cifar10(Files),
    /// IMDB reviews (Maas et al., ACL 2011): 25,000 + 25,000 texts of two classes.
    Imdb(Files),
    /// Generated pictures, embedded: no download.
    SyntheticPictures(SyntheticPictures),
    /// Generated reviews, embedded: no download.
    SyntheticReviews(SyntheticReviews),
    /// A data set that a runner of the user's own registers.
    Custom(CustomConfig),
}

impl Source {
    /// Returns the name of the data set, as in the catalog of `lrlab-data` or as it is registered.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cifar10(_) => "cifar10",
            Self::Imdb(_) => "imdb",
            Self::SyntheticPictures(_) => "synthetic-pictures",
            Self::SyntheticReviews(_) => "synthetic-reviews",
            Self::Custom(custom) => &custom.name,
        }
    }

    /// Returns the number of examples for training and validation together; `None` for a custom data set.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        match self {
            Self::Cifar10(_) => Some(50_000),
            Self::Imdb(_) => Some(25_000),
            Self::SyntheticPictures(pictures) => Some(pictures.train),
            Self::SyntheticReviews(reviews) => Some(reviews.train),
            Self::Custom(_) => None,
        }
    }

    /// Returns the number of examples of the test split; `None` for a custom data set.
    #[must_use]
    pub fn test_rows(&self) -> Option<usize> {
        match self {
            Self::Cifar10(_) => Some(10_000),
            Self::Imdb(_) => Some(25_000),
            Self::SyntheticPictures(pictures) => Some(pictures.test),
            Self::SyntheticReviews(reviews) => Some(reviews.test),
            Self::Custom(_) => None,
        }
    }

    /// Returns how many of `rows` examples are held out for validation where the settings do not say: a tenth of CIFAR-10
    /// and IMDB, a fifth of other data sets.
    #[must_use]
    pub fn default_validation(&self, rows: usize) -> usize {
        rows / if matches!(self, Self::Cifar10(_) | Self::Imdb(_)) { 10 } else { 5 }
    }
}

/// `synthetic_pictures = {}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticPictures {
    /// Examples for training and validation together.
    #[schemars(range(min = 2), extend("$comment" = "training and validation"))]
    pub train: usize,
    /// Examples of the test split.
    #[schemars(range(min = 1))]
    pub test: usize,
    /// Height and width in pixels.
    #[schemars(range(min = 1))]
    pub size: usize,
    /// Classes.
    #[schemars(range(min = 2))]
    pub classes: usize,
    /// Seed of the generator.
    pub seed: u64,
}

impl Default for SyntheticPictures {
    fn default() -> Self {
        Self { train: 640, test: 256, size: 16, classes: 4, seed: 0 }
    }
}

/// `synthetic_reviews = {}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticReviews {
    /// Examples for training and validation together.
    #[schemars(range(min = 2), extend("$comment" = "training and validation"))]
    pub train: usize,
    /// Examples of the test split.
    #[schemars(range(min = 1))]
    pub test: usize,
    /// Seed of the generator.
    pub seed: u64,
}

impl Default for SyntheticReviews {
    fn default() -> Self {
        Self { train: 1280, test: 256, seed: 0 }
    }
}

/// Upper bounds on the examples used; a fixed choice by the split's seed that keeps the classes' shares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// Of the training split.
    #[schemars(range(min = 1))]
    pub train: Option<usize>,
    /// Of the validation split.
    #[schemars(range(min = 1))]
    pub validation: Option<usize>,
    /// Of the test split.
    #[schemars(range(min = 1))]
    pub test: Option<usize>,
}

/// Random changes to training pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Pad by so many black pixels on every side and crop back at a random place; 0 is off.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Set a square of this side around a random centre to the mean picture's colour, cut at the borders
    /// (`DeVries` and Taylor, 2017); 0 is off.
    pub cutout: usize,
}

/// How words are cut. Each kind reads lower-cased words and punctuation and is trained on the training split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// The most frequent words.
    Word,
    /// Byte-pair encoding (Sennrich et al., ACL 2016).
    Bpe,
    /// `WordPiece` (Schuster and Nakajima, ICASSP 2012).
    WordPiece,
}

/// Which end of a long text stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first tokens.
    Start,
    /// The last tokens.
    End,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// How words are cut. Default: `word`.
    pub tokenizer: TokenizerKind,
    /// Entries of the vocabulary, `[PAD]` and `[UNK]` included.
    #[schemars(range(min = 3), extend("$comment" = "padding, unknown and a word"))]
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    #[schemars(range(min = 1))]
    pub max_length: usize,
    /// Which end of a longer text stays. Default: `end`.
    pub keep: Keep,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { tokenizer: TokenizerKind::Word, vocabulary: 20_000, max_length: 200, keep: Keep::End }
    }
}
