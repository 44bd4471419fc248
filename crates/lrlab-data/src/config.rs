//! What to load and how to prepare it.

use std::path::PathBuf;

use lrlab_config::{Files, Limit, SyntheticPictures, SyntheticReviews, TokenConfig, Validation};

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
