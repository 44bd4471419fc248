//! Data sets and how they are prepared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::custom::CustomSpec;

/// The data and how they are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the examples come from.
    pub source: SourceSpec,
    /// Seed of the split into training and validation; not the run's seed.
    pub split_seed: u64,
    /// What validation reads: so many training examples held out, or `"test"`; `None` is the data set's own number
    /// (5,000 for CIFAR-10, 2,500 for IMDB).
    pub validation: Option<ValidationSpec>,
    /// Use only so many examples of each split, a fixed choice by `split_seed`.
    pub limit: LimitSpec,
    /// Refuse to run unless the data have this content digest.
    pub pin_digest: Option<String>,
    /// For pictures.
    pub augment: AugmentSpec,
    /// For text.
    pub tokens: TokensSpec,
}

/// What validation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum ValidationSpec {
    /// So many training examples, held out.
    Examples(usize),
    /// Another split.
    Split(ValidationSplit),
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

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceSpec {
    /// CIFAR-10 (Krizhevsky, 2009).
    Cifar10(FilesSpec),
    /// IMDB reviews (Maas et al., ACL 2011).
    Imdb(FilesSpec),
    /// Generated pictures, embedded: no download.
    SyntheticPictures(SyntheticPicturesSpec),
    /// Generated reviews, embedded: no download.
    SyntheticReviews(SyntheticReviewsSpec),
    /// A data set that a runner of the user's own registers.
    Custom(CustomSpec),
}

/// Files of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSpec {
    /// A folder with the data set's own files (CIFAR-10's binary version, `aclImdb`); `None` is the hub.
    /// A path does not enter the run's identity: the content's digest does.
    pub folder: Option<std::path::PathBuf>,
}

/// `synthetic_pictures = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticPicturesSpec {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Height and width.
    pub size: usize,
    /// Classes.
    pub classes: usize,
    /// Seed of the generator.
    pub seed: u64,
}
impl Default for SyntheticPicturesSpec {
    fn default() -> Self {
        Self { train: 640, test: 256, size: 16, classes: 4, seed: 0 }
    }
}

/// `synthetic_reviews = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticReviewsSpec {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Seed of the generator.
    pub seed: u64,
}
impl Default for SyntheticReviewsSpec {
    fn default() -> Self {
        Self { train: 1280, test: 256, seed: 0 }
    }
}

/// Upper bounds on the examples used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSpec {
    /// Of the training split.
    pub train: Option<usize>,
    /// Of the validation split.
    pub validation: Option<usize>,
    /// Of the test split.
    pub test: Option<usize>,
}

/// What is done to training pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSpec {
    /// Pad by so many pixels of zeros and crop back at a random place.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Blank a square of this side at a random place (`DeVries` and Taylor, 2017); 0 is off.
    pub cutout: usize,
}

/// How words are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tokenizer {
    /// Lower-case words and punctuation.
    Word,
    /// Byte-pair encoding, trained on the training split.
    Bpe,
    /// `WordPiece`, trained on the training split.
    WordPiece,
}

/// Which end of a long text is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first tokens.
    Start,
    /// The last tokens.
    End,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokensSpec {
    /// Default: `word`.
    pub tokenizer: Tokenizer,
    /// Entries of the vocabulary, specials included.
    pub vocabulary: usize,
    /// Longest sequence.
    pub max_length: usize,
    /// Default: `end`.
    pub keep: Keep,
}
impl Default for TokensSpec {
    fn default() -> Self {
        Self { tokenizer: Tokenizer::Word, vocabulary: 20_000, max_length: 200, keep: Keep::End }
    }
}
