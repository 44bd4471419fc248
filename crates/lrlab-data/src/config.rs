//! What to load and how to prepare it.

use std::path::PathBuf;

use lrlab_config::{Limit, Source, TokenConfig, Validation};

/// Everything that decides a data set's content, and the folder for caches, which does not.
#[derive(Debug, Clone, PartialEq)]
pub struct DataConfig {
    /// Where the examples come from.
    pub source: Source,
    /// Seed of the split into training and validation and of the choice under [`Limit`]; not a run's seed.
    pub split_seed: u64,
    /// What validation reads; `None` holds out [`Source::default_validation`] examples.
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
