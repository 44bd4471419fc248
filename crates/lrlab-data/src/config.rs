//! What to load and how to prepare it.

use std::path::PathBuf;

/// Everything that decides a data set's content, and the folder for caches, which does not.
#[derive(Debug, Clone, PartialEq)]
pub struct DataConfig {
    /// Where the examples come from.
    pub source: Source,
    /// Seed of the split into training and validation and of the choice under [`Limit`]; not a run's seed.
    pub split_seed: u64,
    /// What validation reads; `None` is the data set's own number of held-out examples: 5,000 for CIFAR-10, 2,500 for
    /// IMDB, a fifth for synthetic sets.
    pub validation: Option<Validation>,
    /// Upper bounds on the examples used.
    pub limit: Limit,
    /// Refuse data whose digest is another.
    pub pin_digest: Option<String>,
    /// How text becomes tokens; without effect on pictures.
    pub tokens: TokenConfig,
    /// Folder for trained tokenizers, tokenised splits and digests of files.
    pub cache: PathBuf,
}

impl DataConfig {
    /// `source` with the defaults: split seed 0, the data set's own validation size, no limit, no pin.
    #[must_use]
    pub fn new(source: Source, cache: impl Into<PathBuf>) -> Self {
        Self {
            source,
            split_seed: 0,
            validation: None,
            limit: Limit::default(),
            pin_digest: None,
            tokens: TokenConfig::default(),
            cache: cache.into(),
        }
    }
}

/// What validation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// So many training examples, held out.
    Examples(usize),
    /// The test split; every training example is trained on. What is chosen by validation has then seen the test
    /// examples, which the data set's notes say.
    TestSplit,
}

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 pictures of ten classes.
    Cifar10(Files),
    /// IMDB reviews (Maas et al., ACL 2011): 25,000 + 25,000 texts of two classes.
    Imdb(Files),
    /// Generated pictures: no download.
    SyntheticPictures(SyntheticPictures),
    /// Generated reviews: no download.
    SyntheticReviews(SyntheticReviews),
}

impl Source {
    /// The data set's name, as in the catalog.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cifar10(_) => "cifar10",
            Self::Imdb(_) => "imdb",
            Self::SyntheticPictures(_) => "synthetic-pictures",
            Self::SyntheticReviews(_) => "synthetic-reviews",
        }
    }
}

/// Where a data set's files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// The Hugging Face hub: its local cache first, then the network.
    Hub,
    /// A folder in the data set's own format: CIFAR-10's binary version, or `aclImdb`.
    Folder(PathBuf),
}

/// Settings of the picture generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticPictures {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Height and width in pixels.
    pub size: usize,
    /// Classes.
    pub classes: usize,
    /// Seed of the generator.
    pub seed: u64,
}

impl Default for SyntheticPictures {
    fn default() -> Self {
        Self { train: 640, test: 256, size: 16, classes: 4, seed: 0 }
    }
}

/// Settings of the review generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticReviews {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// Of the training split.
    pub train: Option<usize>,
    /// Of the validation split.
    pub validation: Option<usize>,
    /// Of the test split.
    pub test: Option<usize>,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// How words are cut.
    pub tokenizer: TokenizerKind,
    /// Entries of the vocabulary, `[PAD]` and `[UNK]` included.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub max_length: usize,
    /// Which end of a longer text stays.
    pub keep: Keep,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { tokenizer: TokenizerKind::Word, vocabulary: 20_000, max_length: 200, keep: Keep::End }
    }
}

/// How words are cut. Each kind reads lower-cased words and punctuation and is trained on the training split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerKind {
    /// The most frequent words.
    Word,
    /// Byte-pair encoding (Sennrich et al., ACL 2016).
    Bpe,
    /// `WordPiece` (Schuster and Nakajima, ICASSP 2012).
    WordPiece,
}

/// Which end of a long text stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first tokens.
    Start,
    /// The last tokens.
    End,
}
