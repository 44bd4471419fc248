//! Settings of networks. Sizes that depend on the data (channels, classes, vocabulary) are not included.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first layers of a residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3×3, stride 1.
    Cifar,
    /// 7×7, stride 2, then a 3×3 max-pool of stride 2.
    #[serde(rename = "imagenet")]
    ImageNet,
}

/// The shortcut of a residual block whose input and output shapes differ (He et al., section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// Option A: every second pixel, with zero channels added half before and half after the existing ones; no parameters.
    A,
    /// Option B: 1×1 convolution with batch norm.
    B,
}

/// The initialisation of a residual network's convolutions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConvInit {
    /// Normal with variance 2 / fan-out (He et al., ICCV 2015), as torchvision's `ResNet`.
    #[default]
    Torchvision,
    /// Uniform on ±1/√fan-in, the default of `torch.nn.Conv2d`.
    TorchDefault,
}

/// `resnet = { depth = 20 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResNetConfig {
    /// 8, 14, 20, 32, 44, 56, … (6n + 2: three stages of n basic blocks, widths 16/32/64; section 4.2), or 18, 34 (basic
    /// blocks), 50 (bottlenecks; widths 64/128/256/512; table 1). Default: 20.
    pub depth: usize,
    /// The first layers. Default: `cifar`.
    pub stem: Stem,
    /// The shortcut of blocks whose shapes differ. Default: `b`.
    pub shortcut: Shortcut,
    /// Multiplies every width; 1 is the published network.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub width: f64,
    /// The initialisation of convolutions. Default: `torchvision`.
    pub init: ConvInit,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self { depth: 20, stem: Stem::Cifar, shortcut: Shortcut::B, width: 1.0, init: ConvInit::Torchvision }
    }
}

/// The reduction of a sequence of states to one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// State at the last token that is not padding (with two directions: the last of each).
    Last,
    /// Mean over the tokens that are not padding.
    Mean,
    /// Maximum over the tokens that are not padding.
    Max,
}

/// `lstm = { hidden = 128 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LstmConfig {
    /// Width of the embedding.
    #[schemars(range(min = 1))]
    pub embedding: usize,
    /// Width of the state.
    #[schemars(range(min = 1))]
    pub hidden: usize,
    /// Stacked layers.
    #[schemars(range(min = 1))]
    pub layers: usize,
    /// Read in both directions.
    pub bidirectional: bool,
    /// Dropout probability on the embeddings, between layers, and before the head.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// The reduction of the states. Default: `last`.
    pub pooling: Pooling,
    /// Initial forget-gate bias (Jozefowicz et al., ICML 2015: 1).
    pub forget_bias: f64,
}

impl Default for LstmConfig {
    fn default() -> Self {
        Self {
            embedding: 128,
            hidden: 128,
            layers: 1,
            bidirectional: false,
            dropout: 0.0,
            pooling: Pooling::Last,
            forget_bias: 1.0,
        }
    }
}

/// The placement of layer norm in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// Before each sub-layer, and once at the end (Xiong et al., ICML 2020).
    Pre,
    /// After each residual sum (Vaswani et al., 2017).
    Post,
}

/// The position encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A trained table.
    Learned,
    /// Sines and cosines (Vaswani et al., section 3.5).
    Sinusoidal,
}

/// The function between a block's two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// x·Φ(x), exact.
    Gelu,
}

/// `transformer = { layers = 2 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Width of the embedding and of every layer.
    #[schemars(range(min = 1))]
    pub width: usize,
    /// Attention heads; divides the width.
    #[schemars(range(min = 1))]
    pub heads: usize,
    /// Width between a block's two linear layers.
    #[schemars(range(min = 1))]
    pub feed_forward: usize,
    /// Blocks.
    #[schemars(range(min = 1))]
    pub layers: usize,
    /// Dropout probability on the embeddings, the attention weights and the outputs of both sub-layers.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// The placement of layer norm. Default: `post`.
    pub norm: NormPlacement,
    /// The position encoding. Default: `learned`.
    pub positions: Positions,
    /// The activation between the linear layers of a block. Default: `relu`.
    pub activation: Activation,
    /// The reduction of the states. Default: `mean`.
    pub pooling: Pooling,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            width: 128,
            heads: 4,
            feed_forward: 256,
            layers: 2,
            dropout: 0.1,
            norm: NormPlacement::Post,
            positions: Positions::Learned,
            activation: Activation::Relu,
            pooling: Pooling::Mean,
        }
    }
}

/// `bag_of_embeddings = { embedding = 64 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BagOfEmbeddingsConfig {
    /// Width of the embedding.
    #[schemars(range(min = 1))]
    pub embedding: usize,
    /// Dropout probability on the mean.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
}

impl Default for BagOfEmbeddingsConfig {
    fn default() -> Self {
        Self { embedding: 64, dropout: 0.0 }
    }
}
