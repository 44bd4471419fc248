#![doc = include_str!("../README.md")]

mod averaging;
mod control;
mod custom;
mod data;
mod metric;
mod nearest;
mod networks;
mod optimizers;
mod precision;

pub use averaging::{AverageEvery, AveragingConfig, EmaConfig, LawaConfig, SwaConfig};
pub use control::{AtRestart, DivergenceConfig, EarlyStoppingConfig, GainPolicy, OnDivergence};
pub use custom::CustomConfig;
pub use data::{
    AugmentConfig, Files, HubPictures, HubTexts, Keep, Limit, Source, SyntheticPictures, SyntheticReviews,
    TokenConfig, TokenizerKind, Validation, ValidationSplit,
};
pub use metric::Metric;
pub use nearest::nearest;
pub use networks::{
    Activation, BagOfEmbeddingsConfig, ConvInit, LstmConfig, NormPlacement, Pooling, Positions, ResNetConfig,
    Shortcut, Stem, TransformerConfig,
};
pub use optimizers::{AdamConfig, OptimizerConfig, ScheduledHyper, SgdConfig};
pub use precision::Precision;
