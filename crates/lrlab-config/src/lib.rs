#![doc = include_str!("../README.md")]

mod averaging;
mod control;
mod data;
mod metric;
mod networks;
mod optimizers;

pub use averaging::{AverageEvery, AveragingConfig, EmaConfig, LawaConfig, SwaConfig};
pub use control::{AtRestart, DivergenceConfig, EarlyStoppingConfig, GainPolicy, OnDivergence};
pub use data::{
    AugmentConfig, Files, Keep, Limit, SyntheticPictures, SyntheticReviews, TokenConfig, TokenizerKind,
    Validation, ValidationSplit,
};
pub use metric::Metric;
pub use networks::{
    Activation, BagOfEmbeddingsConfig, ConvInit, LstmConfig, NormPlacement, Pooling, Positions, ResNetConfig,
    Shortcut, Stem, TransformerConfig,
};
pub use optimizers::{AdamConfig, OptimizerConfig, SgdConfig};
