//! A run's resolved specification: everything that decides its result, no default left out.
//!
//! These types are also the vocabulary of experiment files. Every enum is externally tagged and every struct
//! refuses unknown keys, so that a mistake keeps its place in the file.

use lrlab_schedulers::{ControllerSpec, ScheduleSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that decides a run's result. Device, paths and worker counts are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The network.
    pub model: ModelSpec,
    /// The data and how they are prepared.
    pub data: DataSpec,
    /// The update rule.
    pub optimizer: OptimizerSpec,
    /// Base learning rate.
    pub lr: f64,
    /// The rate over time.
    pub schedule: ScheduleSpec,
    /// Floor of the rate in force, after schedule and gains.
    pub lr_min: f64,
    /// Ceiling of the rate in force, after schedule and gains.
    pub lr_max: Option<f64>,
    /// What changes the rate while training, by a metric; `None` is off.
    pub monitor: Option<MonitorSpec>,
    /// What ends the run early; `None` is off.
    pub early_stopping: Option<EarlyStoppingSpec>,
    /// Passes over the training split.
    pub epochs: u64,
    /// Examples per batch.
    pub batch_size: usize,
    /// Batches per update.
    pub accumulate: usize,
    /// Upper bound of the global gradient norm; `None` does not clip.
    pub clip_norm: Option<f64>,
    /// Mass moved from the true class to the uniform distribution, 0 … 1 (Szegedy et al., CVPR 2016).
    pub label_smoothing: f64,
    /// The metric whose best epoch counts.
    pub select: String,
    /// Of the operands of matrix products. Default: `f32`.
    #[serde(default)]
    pub precision: PrecisionSpec,
    /// Seed of initialisation, order, augmentation and dropout.
    pub seed: u64,
}

/// What the operands of matrix products are rounded to, forward and backward. Parameters, sums, norms, softmax, losses
/// and the optimizer are f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionSpec {
    /// As they are.
    #[default]
    F32,
    /// bfloat16, to nearest: linear maps, LSTM, attention; convolutions on GPUs only.
    Bf16,
}

/// A network and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelSpec {
    /// He et al., CVPR 2016.
    Resnet(ResNetSpec),
    /// Hochreiter and Schmidhuber, 1997, as a classifier over token embeddings.
    Lstm(LstmSpec),
    /// Encoder of Vaswani et al., `NeurIPS` 2017, as a classifier.
    Transformer(TransformerSpec),
    /// Mean of embeddings and a linear layer: the linear floor (Joulin et al., EACL 2017).
    BagOfEmbeddings(BagOfEmbeddingsSpec),
    /// Multinomial logistic regression on the pixels: the linear floor for pictures.
    Linear(LinearSpec),
    /// A model that a runner of the user's own registers.
    Custom(CustomSpec),
}

/// Where a residual network begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3×3, stride 1.
    Cifar,
    /// 7×7, stride 2, then a 3×3 max-pool of stride 2.
    Imagenet,
}

/// How a residual block's input reaches its output where shapes differ (He et al., section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// Subsampled identity, new channels zero: no parameters.
    A,
    /// 1×1 convolution with batch norm.
    B,
}

/// `resnet = { depth = 20 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResNetSpec {
    /// 8, 14, 20, 32, 44, 56, … (6n + 2, widths 16/32/64) or 18, 34, 50 (widths 64/128/256/512).
    pub depth: usize,
    /// Default: `cifar`.
    pub stem: Stem,
    /// Default: `b`.
    pub shortcut: Shortcut,
    /// Multiplies every width; 1 is the published network.
    pub width: f64,
}
impl Default for ResNetSpec {
    fn default() -> Self {
        Self { depth: 20, stem: Stem::Cifar, shortcut: Shortcut::B, width: 1.0 }
    }
}

/// What a sequence of states is reduced to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// State at the last token that is no padding (with two directions: each one's last).
    Last,
    /// Mean over the tokens that are no padding.
    Mean,
    /// Maximum over the tokens that are no padding.
    Max,
}

/// `lstm = { hidden = 128 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LstmSpec {
    /// Width of the embedding.
    pub embedding: usize,
    /// Width of the state.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Read in both directions.
    pub bidirectional: bool,
    /// On the embeddings, between layers, and before the head.
    pub dropout: f64,
    /// Default: `last`.
    pub pooling: Pooling,
    /// Initial forget-gate bias (Jozefowicz et al., ICML 2015: 1).
    pub forget_bias: f64,
}
impl Default for LstmSpec {
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

/// Where layer norm stands in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// Before each sub-layer (Xiong et al., ICML 2020).
    Pre,
    /// After each residual sum (Vaswani et al., 2017).
    Post,
}

/// How tokens know their place.
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
pub struct TransformerSpec {
    /// Width of the embedding and of every layer.
    pub width: usize,
    /// Attention heads; divides the width.
    pub heads: usize,
    /// Width between a block's two linear layers.
    pub feed_forward: usize,
    /// Blocks.
    pub layers: usize,
    /// On the embeddings, the attention weights and both sub-layers' outputs.
    pub dropout: f64,
    /// Default: `post`.
    pub norm: NormPlacement,
    /// Default: `learned`.
    pub positions: Positions,
    /// Default: `relu`.
    pub activation: Activation,
    /// Default: `mean`.
    pub pooling: Pooling,
}
impl Default for TransformerSpec {
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
pub struct BagOfEmbeddingsSpec {
    /// Width of the embedding.
    pub embedding: usize,
    /// On the mean.
    pub dropout: f64,
}
impl Default for BagOfEmbeddingsSpec {
    fn default() -> Self {
        Self { embedding: 64, dropout: 0.0 }
    }
}

/// `linear = {}`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSpec {}

/// `custom = { name = "my_model", options = { … } }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomSpec {
    /// The name it is registered under.
    pub name: String,
    /// Passed on as it stands.
    #[serde(default)]
    pub options: serde_json::Value,
}

/// The data and how they are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the examples come from.
    pub source: SourceSpec,
    /// Seed of the split into training and validation; not the run's seed.
    pub split_seed: u64,
    /// Examples held out for validation; `None` is the data set's own (5,000 for CIFAR-10, 2,500 for IMDB).
    pub validation: Option<usize>,
    /// Use only so many examples of each split, a fixed choice by `split_seed`.
    pub limit: LimitSpec,
    /// Refuse to run unless the data have this content digest.
    pub pin_digest: Option<String>,
    /// For pictures.
    pub augment: AugmentSpec,
    /// For text.
    pub tokens: TokensSpec,
}

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceSpec {
    /// CIFAR-10 (Krizhevsky, 2009).
    Cifar10(FilesSpec),
    /// IMDB reviews (Maas et al., ACL 2011).
    Imdb(FilesSpec),
    /// Generated pictures, embedded: no download.
    SyntheticPictures(SyntheticPicturesSpec),
    /// Generated reviews, embedded: no download.
    SyntheticReviews(SyntheticReviewsSpec),
    /// A data set that a runner of the user's own registers.
    Custom(CustomSpec),
}

/// Files of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSpec {
    /// A folder with the data set's own files (CIFAR-10's binary version, `aclImdb`); `None` is the hub.
    /// A path does not enter the run's identity: the content's digest does.
    pub folder: Option<std::path::PathBuf>,
}

/// `synthetic_pictures = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticPicturesSpec {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Height and width.
    pub size: usize,
    /// Classes.
    pub classes: usize,
    /// Seed of the generator.
    pub seed: u64,
}
impl Default for SyntheticPicturesSpec {
    fn default() -> Self {
        Self { train: 640, test: 256, size: 16, classes: 4, seed: 0 }
    }
}

/// `synthetic_reviews = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticReviewsSpec {
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples of the test split.
    pub test: usize,
    /// Seed of the generator.
    pub seed: u64,
}
impl Default for SyntheticReviewsSpec {
    fn default() -> Self {
        Self { train: 1280, test: 256, seed: 0 }
    }
}

/// Upper bounds on the examples used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSpec {
    /// Of the training split.
    pub train: Option<usize>,
    /// Of the validation split.
    pub validation: Option<usize>,
    /// Of the test split.
    pub test: Option<usize>,
}

/// What is done to training pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSpec {
    /// Pad by so many pixels of zeros and crop back at a random place.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Blank a square of this side at a random place (`DeVries` and Taylor, 2017); 0 is off.
    pub cutout: usize,
}

/// How words are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tokenizer {
    /// Lower-case words and punctuation.
    Word,
    /// Byte-pair encoding, trained on the training split.
    Bpe,
    /// `WordPiece`, trained on the training split.
    WordPiece,
}

/// Which end of a long text is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first tokens.
    Start,
    /// The last tokens.
    End,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokensSpec {
    /// Default: `word`.
    pub tokenizer: Tokenizer,
    /// Entries of the vocabulary, specials included.
    pub vocabulary: usize,
    /// Longest sequence.
    pub max_length: usize,
    /// Default: `end`.
    pub keep: Keep,
}
impl Default for TokensSpec {
    fn default() -> Self {
        Self { tokenizer: Tokenizer::Word, vocabulary: 20_000, max_length: 200, keep: Keep::End }
    }
}

/// An update rule and its constants. The rate is not among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent as torch defines it.
    Sgd(SgdSpec),
    /// Kingma and Ba, ICLR 2015; weight decay added to the gradient.
    Adam(AdamSpec),
    /// Loshchilov and Hutter, ICLR 2019: decoupled weight decay.
    Adamw(AdamSpec),
}

/// `sgd = { momentum = 0.9 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdSpec {
    /// 0 … 1.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Added to the gradient.
    pub weight_decay: f64,
    /// Also decay norms and biases (torch's default; theirs is a group without decay here unless set).
    pub decay_all: bool,
}
impl Default for SgdSpec {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0, decay_all: false }
    }
}

/// `adam = {}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSpec {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Also decay norms and biases.
    pub decay_all: bool,
}
impl Default for AdamSpec {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay_all: false }
    }
}

/// A controller and the metric it watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// What decides.
    pub controller: ControllerSpec,
    /// Default: `val_loss`.
    #[serde(default = "val_loss")]
    pub metric: String,
}

/// When to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingSpec {
    /// Default: `val_loss`.
    pub metric: String,
    /// Epochs without improvement before stopping.
    pub patience: u64,
    /// Smallest change that counts.
    pub min_delta: f64,
    /// First epoch that counts, from 1.
    pub start_epoch: u64,
    /// Put the best weights back at the end.
    pub restore_best: bool,
}
impl Default for EarlyStoppingSpec {
    fn default() -> Self {
        Self { metric: val_loss(), patience: 3, min_delta: 0.0, start_epoch: 1, restore_best: false }
    }
}

fn val_loss() -> String {
    "val_loss".to_owned()
}
