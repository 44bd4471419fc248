//! ResNet, LSTM, Transformer and bag-of-embeddings classifiers for candle, with seeded initialisation.
//!
//! Your own networks are built from the same parts: [`Builder`], [`Affine`], [`LayerNorm`], [`Dropout`], and the operators
//! of `lrlab-kernels`.
//!
//! Every network is a [`Model`]: it reads an [`Input`], gives logits, and keeps its tensors in
//! [`lrlab_kernels::Params`] under the names that torchvision and `torch.nn` give them, so weights can be exchanged with PyTorch.
//!
//! Initial values are a function of the seed and the parameter's name alone: two networks that share a layer share
//! its values, regardless of their other layers and of the order of creation. Dropout masks are a function of the
//! seed, the layer's name and the index of the batch.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "references may call the system's functions"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod bag;
mod init;
mod layers;
mod linear;
mod lstm;
mod model;
mod pooling;
mod resnet;
mod sizes;
mod transformer;

pub use bag::BagOfEmbeddings;
pub use init::{Builder, Init};
pub use layers::{Affine, Dropout, LayerNorm, NORM_MOMENTUM};
pub use linear::{Linear, LinearConfig};
pub use lrlab_config::{
    Activation, BagOfEmbeddingsConfig, ConvInit, LstmConfig, NormPlacement, Pooling, Positions, ResNetConfig,
    Shortcut, Stem, TransformerConfig,
};
pub use lstm::Lstm;
pub use model::{Input, Mode, Model};
pub use resnet::ResNet;
pub use sizes::{PictureSizes, TextSizes};
pub use transformer::Transformer;
