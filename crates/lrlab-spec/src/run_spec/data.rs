//! Data sets and how they are prepared.

use lrlab_config::{AugmentConfig, Limit, Source, TokenConfig, Validation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The data and how they are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the examples come from.
    pub source: Source,
    /// Seed of the split into training and validation; not the run's seed.
    pub split_seed: u64,
    /// What validation reads: so many training examples held out, or `"test"`; `None` is the data set's own number
    /// (5,000 for CIFAR-10, 2,500 for IMDB).
    pub validation: Option<Validation>,
    /// Use only so many examples of each split, a fixed choice by `split_seed`.
    pub limit: Limit,
    /// Refuse to run unless the data have this content digest. It is no part of the identity of a run.
    #[schemars(length(min = 1), extend("$comment" = "leave it out, or pin a digest"))]
    pub pin_digest: Option<String>,
    /// For pictures.
    pub augment: AugmentConfig,
    /// For text.
    pub tokens: TokenConfig,
}
