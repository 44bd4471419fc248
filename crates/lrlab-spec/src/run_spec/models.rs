//! Networks and their sizes.

use lrlab_config::{BagOfEmbeddingsConfig, CustomConfig, LstmConfig, ResNetConfig, TransformerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSpec {
    /// A residual network (He et al., CVPR 2016).
    Resnet(ResNetConfig),
    /// An LSTM (Hochreiter and Schmidhuber, 1997) as a classifier over token embeddings.
    Lstm(LstmConfig),
    /// A Transformer encoder (Vaswani et al., `NeurIPS` 2017) as a classifier.
    Transformer(TransformerConfig),
    /// The mean of embeddings and a linear layer, a linear baseline for text (Joulin et al., EACL 2017).
    BagOfEmbeddings(BagOfEmbeddingsConfig),
    /// Multinomial logistic regression on the pixels, a linear baseline for pictures.
    Linear(LinearSpec),
    /// A model that a user's runner registers.
    Custom(CustomConfig),
}

/// `linear = {}`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSpec {}
