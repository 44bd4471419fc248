//! From a resolved specification to the parts of a run.

use std::path::Path;

use anyhow::Context;
use candle_core::{DType, Device};
use lrlab_data::{Augment, DataConfig, Files, Kind, Limit, Source, TokenConfig, Validation};
use lrlab_kernels::{Params, Precision};
use lrlab_models::{self as models, Model};
use lrlab_optim::{AdamConfig, Optimizer, OptimizerConfig, SgdConfig};
use lrlab_spec::{self as spec, DataSpec, ModelSpec, OptimizerSpec, RunSpec, SourceSpec};
use lrlab_train::Settings;

mod watch;

pub(crate) use watch::{callbacks, is_top};

/// Examples per batch in evaluation.
const EVAL_BATCH_SIZE: usize = 256;
/// Batches made ahead: one to be taken while the next is in the making.
const PREFETCH: usize = 2;

/// The loop's settings.
#[must_use]
pub(crate) fn settings(run: &RunSpec) -> Settings {
    let augment = &run.data.augment;
    let any = augment.crop_padding > 0 || augment.flip || augment.cutout > 0;
    Settings {
        lr: run.lr,
        lr_min: run.lr_min,
        lr_max: run.lr_max,
        epochs: run.epochs,
        batch_size: run.batch_size,
        accumulate: run.accumulate,
        clip_norm: run.clip_norm,
        label_smoothing: run.label_smoothing,
        select: run.select.clone(),
        seed: run.seed,
        augment: any.then_some(Augment {
            crop_padding: augment.crop_padding,
            flip: augment.flip,
            cutout: augment.cutout,
            seed: run.seed,
            epoch: 0,
        }),
        eval_batch_size: EVAL_BATCH_SIZE,
        prefetch: PREFETCH,
    }
}

/// The update rule over `params`.
///
/// # Errors
/// Allocating its state fails.
pub(crate) fn optimizer(run: &RunSpec, params: &Params) -> candle_core::Result<Box<dyn Optimizer>> {
    let adam = |a: &spec::AdamSpec| AdamConfig {
        beta1: a.beta1,
        beta2: a.beta2,
        eps: a.eps,
        weight_decay: a.weight_decay,
        decay_all: a.decay_all,
    };
    let config = match &run.optimizer {
        OptimizerSpec::Sgd(s) => OptimizerConfig::Sgd(SgdConfig {
            momentum: s.momentum,
            nesterov: s.nesterov,
            weight_decay: s.weight_decay,
            decay_all: s.decay_all,
        }),
        OptimizerSpec::Adam(a) => OptimizerConfig::Adam(adam(a)),
        OptimizerSpec::Adamw(a) => OptimizerConfig::AdamW(adam(a)),
    };
    lrlab_optim::build(&config, params)
}

/// Where the data are and how they are prepared. `cache` is where what is derived from them may be kept.
///
/// # Errors
/// A data set that only another runner knows.
pub(crate) fn data(data: &DataSpec, cache: &Path) -> anyhow::Result<DataConfig> {
    let files = |files: &spec::FilesSpec| match &files.folder {
        Some(folder) => Files::Folder(folder.clone()),
        None => Files::Hub,
    };
    let source = match &data.source {
        SourceSpec::Cifar10(f) => Source::Cifar10(files(f)),
        SourceSpec::Imdb(f) => Source::Imdb(files(f)),
        SourceSpec::SyntheticPictures(s) => Source::SyntheticPictures(lrlab_data::SyntheticPictures {
            train: s.train,
            test: s.test,
            size: s.size,
            classes: s.classes,
            seed: s.seed,
        }),
        SourceSpec::SyntheticReviews(s) => Source::SyntheticReviews(lrlab_data::SyntheticReviews {
            train: s.train,
            test: s.test,
            seed: s.seed,
        }),
        SourceSpec::Custom(custom) => anyhow::bail!("this runner has no data set {:?}", custom.name),
    };
    Ok(DataConfig {
        source,
        split_seed: data.split_seed,
        validation: data.validation.map(|validation| match validation {
            spec::ValidationSpec::Examples(examples) => Validation::Examples(examples),
            spec::ValidationSpec::Split(spec::ValidationSplit::Test) => Validation::TestSplit,
        }),
        limit: Limit { train: data.limit.train, validation: data.limit.validation, test: data.limit.test },
        pin_digest: data.pin_digest.clone(),
        tokens: TokenConfig {
            tokenizer: match data.tokens.tokenizer {
                spec::Tokenizer::Word => lrlab_data::TokenizerKind::Word,
                spec::Tokenizer::Bpe => lrlab_data::TokenizerKind::Bpe,
                spec::Tokenizer::WordPiece => lrlab_data::TokenizerKind::WordPiece,
            },
            vocabulary: data.tokens.vocabulary,
            max_length: data.tokens.max_length,
            keep: match data.tokens.keep {
                spec::Keep::Start => lrlab_data::Keep::Start,
                spec::Keep::End => lrlab_data::Keep::End,
            },
        },
        cache: cache.to_path_buf(),
    })
}

/// Where a run's parameters will live: f32, with matrix products in the run's precision.
///
/// # Errors
/// The device has no products in this precision.
pub(crate) fn params(run: &RunSpec, device: &Device) -> anyhow::Result<Params> {
    let precision = match run.precision {
        spec::PrecisionSpec::F32 => Precision::F32,
        spec::PrecisionSpec::Bf16 => Precision::Bf16,
    };
    precision.check(device).with_context(|| format!("precision = {:?}", precision.name()))?;
    Ok(Params::new(device.clone(), DType::F32).in_precision(precision))
}

/// The network for data of this kind, freshly initialised from `seed`.
///
/// # Errors
/// A network that only another runner knows, one that does not read this kind of data, or bad sizes.
pub(crate) fn model(
    network: &ModelSpec,
    kind: &Kind,
    classes: usize,
    seed: u64,
    params: Params,
) -> anyhow::Result<Box<dyn Model>> {
    Ok(match (network, kind) {
        (ModelSpec::Resnet(r), Kind::Pictures { channels, .. }) => {
            let config = resnet(r, *channels, classes);
            Box::new(models::ResNet::new(&config, seed, params)?)
        }
        (ModelSpec::Linear(_), Kind::Pictures { channels, height, width }) => {
            let config = models::LinearConfig { inputs: channels * height * width, classes };
            Box::new(models::Linear::new(&config, seed, params)?)
        }
        (ModelSpec::Lstm(l), Kind::Tokens { vocabulary, .. }) => {
            Box::new(models::Lstm::new(&lstm(l, *vocabulary, classes), seed, params)?)
        }
        (ModelSpec::Transformer(t), Kind::Tokens { vocabulary, max_length }) => {
            let config = transformer(t, *vocabulary, *max_length, classes);
            Box::new(models::Transformer::new(&config, seed, params)?)
        }
        (ModelSpec::BagOfEmbeddings(b), Kind::Tokens { vocabulary, .. }) => {
            let config = models::BagOfEmbeddingsConfig {
                vocabulary: *vocabulary,
                embedding: b.embedding,
                dropout: b.dropout,
                classes,
            };
            Box::new(models::BagOfEmbeddings::new(&config, seed, params)?)
        }
        (ModelSpec::Custom(custom), _) => anyhow::bail!("this runner has no model {:?}", custom.name),
        (ModelSpec::Resnet(_) | ModelSpec::Linear(_), Kind::Tokens { .. }) => {
            anyhow::bail!("this network reads pictures, and the data are text")
        }
        (_, Kind::Pictures { .. }) => anyhow::bail!("this network reads text, and the data are pictures"),
    })
}

fn resnet(r: &spec::ResNetSpec, channels: usize, classes: usize) -> models::ResNetConfig {
    models::ResNetConfig {
        depth: r.depth,
        stem: match r.stem {
            spec::Stem::Cifar => models::Stem::Cifar,
            spec::Stem::Imagenet => models::Stem::ImageNet,
        },
        shortcut: match r.shortcut {
            spec::Shortcut::A => models::Shortcut::A,
            spec::Shortcut::B => models::Shortcut::B,
        },
        width: r.width,
        init: match r.init {
            spec::ConvInit::Torchvision => models::ConvInit::Torchvision,
            spec::ConvInit::TorchDefault => models::ConvInit::TorchDefault,
        },
        classes,
        channels,
    }
}

fn pooling(pooling: spec::Pooling) -> models::Pooling {
    match pooling {
        spec::Pooling::Last => models::Pooling::Last,
        spec::Pooling::Mean => models::Pooling::Mean,
        spec::Pooling::Max => models::Pooling::Max,
    }
}

fn lstm(l: &spec::LstmSpec, vocabulary: usize, classes: usize) -> models::LstmConfig {
    models::LstmConfig {
        vocabulary,
        embedding: l.embedding,
        hidden: l.hidden,
        layers: l.layers,
        bidirectional: l.bidirectional,
        dropout: l.dropout,
        pooling: pooling(l.pooling),
        forget_bias: l.forget_bias,
        classes,
    }
}

fn transformer(
    t: &spec::TransformerSpec,
    vocabulary: usize,
    max_length: usize,
    classes: usize,
) -> models::TransformerConfig {
    models::TransformerConfig {
        vocabulary,
        max_length,
        width: t.width,
        heads: t.heads,
        feed_forward: t.feed_forward,
        layers: t.layers,
        dropout: t.dropout,
        norm: match t.norm {
            spec::NormPlacement::Pre => models::NormPlacement::Pre,
            spec::NormPlacement::Post => models::NormPlacement::Post,
        },
        positions: match t.positions {
            spec::Positions::Learned => models::Positions::Learned,
            spec::Positions::Sinusoidal => models::Positions::Sinusoidal,
        },
        activation: match t.activation {
            spec::Activation::Relu => models::Activation::Relu,
            spec::Activation::Gelu => models::Activation::Gelu,
        },
        pooling: pooling(t.pooling),
        classes,
    }
}
