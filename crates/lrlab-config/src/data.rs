//! Settings of data sets and their preparation.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CustomConfig;

/// The source of the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Validation {
    /// The number of training examples to hold out.
    Examples(#[schemars(range(min = 1))] usize),
    /// Another split of the data set.
    Split(ValidationSplit),
}

impl Validation {
    /// The test split; all training examples are used for training.
    pub const TEST_SPLIT: Self = Self::Split(ValidationSplit::Test);
}

/// A split that validation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ValidationSplit {
    /// The test split; all examples of the training files are used for training. This is a leak: choices by validation depend on
    /// the test examples.
    Test,
}

/// The location of the files of a data set. By default the Hugging Face hub: its local cache, then the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// A folder with the original files (CIFAR-10's binary version, `aclImdb`); `None` is the hub. The digest of the content is
    /// part of the identity of a run; the path is not.
    pub folder: Option<PathBuf>,
}

impl Files {
    /// Creates a location in a folder with the original files.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }
}

/// The source of the examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 pictures of ten classes.
    Cifar10(Files),
    /// IMDB reviews (Maas et al., ACL 2011): 25,000 + 25,000 texts of two classes.
    Imdb(Files),
    /// Synthetic pictures, which need no download.
    SyntheticPictures(SyntheticPictures),
    /// Synthetic reviews, which need no download.
    SyntheticReviews(SyntheticReviews),
    /// Pictures with labels from parquet files of any data set of the Hugging Face hub.
    HubPictures(HubPictures),
    /// Texts with labels from parquet files of any data set of the Hugging Face hub.
    HubTexts(HubTexts),
    /// A data set that a user's runner registers.
    Custom(CustomConfig),
}

/// `hub_pictures = { repo = "uoft-cs/cifar100" }`
///
/// Missing settings are taken from the catalog if it lists the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubPictures {
    /// The repository: `owner/name`.
    #[schemars(length(min = 1), extend("$comment" = "owner/name"))]
    pub repo: String,
    /// Branch, tag or commit. Default: as in the catalog, or `refs/convert/parquet`.
    #[serde(default)]
    pub revision: Option<String>,
    /// The column of encoded pictures (PNG, JPEG or WebP, all of one size). Default: as in the catalog, or the usual names
    /// (`img`, `image`, …).
    #[serde(default)]
    pub picture: Option<String>,
    /// The column of labels: integers that count classes from 0. Default: as in the catalog, or the usual names (`label`, …).
    #[serde(default)]
    pub label: Option<String>,
    /// The parquet files of training and validation, in order. Default: as in the catalog.
    #[serde(default)]
    pub train: Vec<String>,
    /// The parquet files of the test split, in order. Default: as in the catalog.
    #[serde(default)]
    pub test: Vec<String>,
}

/// `hub_texts = { repo = "fancyzhx/ag_news" }`
///
/// Missing settings are taken from the catalog if it lists the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HubTexts {
    /// The repository: `owner/name`.
    #[schemars(length(min = 1), extend("$comment" = "owner/name"))]
    pub repo: String,
    /// Branch, tag or commit. Default: as in the catalog, or `refs/convert/parquet`.
    #[serde(default)]
    pub revision: Option<String>,
    /// The column of texts. Default: as in the catalog, or the usual names (`text`, `sentence`, …).
    #[serde(default)]
    pub text: Option<String>,
    /// The column of labels: integers that count classes from 0. Default: as in the catalog, or the usual names (`label`, …).
    #[serde(default)]
    pub label: Option<String>,
    /// The parquet files of training and validation, in order. Default: as in the catalog.
    #[serde(default)]
    pub train: Vec<String>,
    /// The parquet files of the test split, in order. Default: as in the catalog.
    #[serde(default)]
    pub test: Vec<String>,
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
            Self::HubPictures(hub) => &hub.repo,
            Self::HubTexts(hub) => &hub.repo,
            Self::Custom(custom) => &custom.name,
        }
    }

    /// Returns the number of examples for training and validation together; `None` if unknown.
    #[must_use]
    pub fn rows(&self) -> Option<usize> {
        match self {
            Self::Cifar10(_) => Some(50_000),
            Self::Imdb(_) => Some(25_000),
            Self::SyntheticPictures(pictures) => Some(pictures.train),
            Self::SyntheticReviews(reviews) => Some(reviews.train),
            Self::HubPictures(_) | Self::HubTexts(_) | Self::Custom(_) => None,
        }
    }

    /// Returns the number of examples of the test split; `None` if unknown.
    #[must_use]
    pub fn test_rows(&self) -> Option<usize> {
        match self {
            Self::Cifar10(_) => Some(10_000),
            Self::Imdb(_) => Some(25_000),
            Self::SyntheticPictures(pictures) => Some(pictures.test),
            Self::SyntheticReviews(reviews) => Some(reviews.test),
            Self::HubPictures(_) | Self::HubTexts(_) | Self::Custom(_) => None,
        }
    }

    /// Returns the default number of examples out of `rows` that are held out for validation: a tenth of CIFAR-10 and IMDB, a
    /// fifth of other data sets.
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

/// Upper bounds on the numbers of examples. The seed of the split determines the choice, which keeps the class proportions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// The maximum size of the training split.
    #[schemars(range(min = 1))]
    pub train: Option<usize>,
    /// The maximum size of the validation split.
    #[schemars(range(min = 1))]
    pub validation: Option<usize>,
    /// The maximum size of the test split.
    #[schemars(range(min = 1))]
    pub test: Option<usize>,
}

/// Random changes to training pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Pad by this many black pixels on every side and crop back at a random position; 0 is off.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Set a square of this side around a random centre, clipped at the borders, to the mean colour (`DeVries` and Taylor,
    /// 2017); 0 is off.
    pub cutout: usize,
}

/// The kind of tokenizer. Each kind processes lower-cased words and punctuation and is trained on the training split.
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

/// The end of a long text to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first tokens.
    Start,
    /// The last tokens.
    End,
}

/// The tokenization of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// The kind of tokenizer. Default: `word`.
    pub tokenizer: TokenizerKind,
    /// The size of the vocabulary, including `[PAD]` and `[UNK]`.
    #[schemars(range(min = 3), extend("$comment" = "padding, unknown and a word"))]
    pub vocabulary: usize,
    /// The maximum length of a sequence in tokens.
    #[schemars(range(min = 1))]
    pub max_length: usize,
    /// The end of a longer text to keep. Default: `end`.
    pub keep: Keep,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { tokenizer: TokenizerKind::Word, vocabulary: 20_000, max_length: 200, keep: Keep::End }
    }
}
