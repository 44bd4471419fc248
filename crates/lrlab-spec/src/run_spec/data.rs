//! Data sets and their preparation.

use lrlab_config::{AugmentConfig, Limit, Source, TokenConfig, Validation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The data and its preparation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// The source of the examples.
    pub source: Source,
    /// The seed of the split into training and validation; independent of the run's seed.
    pub split_seed: u64,
    /// The validation split: a number of training examples to hold out, or `"test"`; `None` holds out the data set's default
    /// (5,000 for CIFAR-10, 2,500 for IMDB).
    pub validation: Option<Validation>,
    /// Upper bounds on the number of examples of each split; `split_seed` determines the choice.
    pub limit: Limit,
    /// The required content digest of the data; other data are an error. It is not part of the identity of a run.
    #[schemars(length(min = 1), extend("$comment" = "leave it out, or pin a digest"))]
    pub pin_digest: Option<String>,
    /// Random changes to pictures.
    pub augment: AugmentConfig,
    /// The tokenization of text.
    pub tokens: TokenConfig,
}
