//! The settings of a data set.

use std::path::PathBuf;

use lrlab_config::{Limit, Source, TokenConfig, Validation};

/// The settings of a data set, and where its examples are kept, which does not affect the content.
#[derive(Debug, Clone, PartialEq)]
pub struct DataConfig {
    /// The source of the examples.
    pub source: Source,
    /// The seed of the split into training and validation and of the selection by [`Limit`]; not the seed of a run.
    pub split_seed: u64,
    /// What validation reads; `None` holds out [`Source::default_validation`] examples.
    pub validation: Option<Validation>,
    /// Upper bounds on the examples used.
    pub limit: Limit,
    /// The required digest of the content, if any.
    pub pin_digest: Option<String>,
    /// The tokenization of text; without effect on pictures.
    pub tokens: TokenConfig,
    /// The most bytes that are kept in memory of the decoded pictures of a part, and of the tokens of a split. More are read
    /// from a file in `cache`, with the same bits.
    pub memory: u64,
    /// The folder for trained tokenizers, tokenised splits, digests of files and decoded pictures.
    pub cache: PathBuf,
}

impl DataConfig {
    /// The default of `memory`: 2 GiB.
    pub const MEMORY: u64 = 2 << 30;

    /// Creates the settings of `source` with the defaults: split seed 0, default validation, no limit, no required digest.
    #[must_use]
    pub fn new(source: Source, cache: impl Into<PathBuf>) -> Self {
        Self {
            source,
            split_seed: 0,
            validation: None,
            limit: Limit::default(),
            pin_digest: None,
            tokens: TokenConfig::default(),
            memory: Self::MEMORY,
            cache: cache.into(),
        }
    }
}
