//! Networks for pictures and text, in both precisions.

use candle_core::{DType, Device};
use lrlab_callbacks::{Callbacks, WeightAveraging};
use lrlab_data::{AugmentConfig, DataConfig, Dataset, Kind, Source, SyntheticReviews, TokenConfig};
use lrlab_kernels::{Params, Precision};
use lrlab_models::{
    Activation, ConvInit, Lstm, LstmConfig, Model, NormPlacement, PictureSizes, Pooling, Positions, ResNet,
    ResNetConfig, Shortcut, Stem, TextSizes, Transformer, TransformerConfig,
};
use lrlab_optim::{AdamConfig, OptimizerConfig, SgdConfig};
use lrlab_schedulers::Span;
use lrlab_train::Settings;

use crate::callbacks::{monitor, stopping};
use crate::{Build, Case, cache, pictures};

/// Running statistics, windows of batches, augmented pictures.
#[test]
fn resnet() {
    let data = pictures();
    let network = |data: &Dataset| -> Box<dyn Model> {
        let (stem, shortcut) = (Stem::Cifar, Shortcut::B);
        let config = ResNetConfig { depth: 8, stem, shortcut, init: ConvInit::default(), width: 0.25 };
        let sizes = PictureSizes { channels: 3, classes: data.classes };
        Box::new(ResNet::new(&config, sizes, 1, Params::new(Device::Cpu, DType::F32)).unwrap())
    };
    let augment = AugmentConfig { crop_padding: 1, flip: true, cutout: 2 };
    let case = Case {
        name: "resnet".to_owned(),
        data: &data,
        settings: Settings {
            epochs: 3,
            batch_size: 12,
            accumulate: 2,
            clip_norm: Some(1.0),
            label_smoothing: 0.1,
            augment,
            seed: 1,
            ..Settings::new(0.1)
        },
        schedule: "cosine = {}",
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        model: &network,
        callbacks: &|| Callbacks::default().with(monitor(true)).with(WeightAveraging::ema(0.9).unwrap()),
    };
    assert_eq!(case.holds().history.len(), 3);
}

fn params(precision: Precision) -> Params {
    Params::new(Device::Cpu, DType::F32).in_precision(precision)
}

/// Dropout, and shuffled batches, in both precisions.
#[test]
fn text() {
    let reviews = SyntheticReviews { train: 100, test: 20, seed: 0 };
    let mut config = DataConfig::new(Source::SyntheticReviews(reviews), cache());
    config.tokens = TokenConfig { vocabulary: 200, max_length: 12, ..TokenConfig::default() };
    let data = lrlab_data::load(&config).unwrap();
    let Kind::Tokens { vocabulary, max_length } = data.kind else { panic!("reviews are no text") };
    let classes = data.classes;
    let lstm = |precision: Precision| -> Box<dyn Model> {
        let config = LstmConfig {
            embedding: 8,
            hidden: 8,
            layers: 1,
            bidirectional: true,
            dropout: 0.3,
            pooling: Pooling::Mean,
            forget_bias: 1.0,
        };
        let sizes = TextSizes { vocabulary, max_length: 1, classes };
        Box::new(Lstm::new(&config, sizes, 2, params(precision)).unwrap())
    };
    let transformer = |precision: Precision| -> Box<dyn Model> {
        let config = TransformerConfig {
            width: 8,
            heads: 2,
            feed_forward: 16,
            layers: 1,
            dropout: 0.3,
            norm: NormPlacement::Post,
            positions: Positions::Learned,
            activation: Activation::Gelu,
            pooling: Pooling::Mean,
        };
        let sizes = TextSizes { vocabulary, max_length, classes };
        Box::new(Transformer::new(&config, sizes, 2, params(precision)).unwrap())
    };
    let (f32, bf16) = (Precision::F32, Precision::Bf16);
    let networks: [(&str, &Build<'_>); 4] = [
        ("lstm", &|_| lstm(f32)),
        ("transformer", &|_| transformer(f32)),
        ("lstm in bf16", &|_| lstm(bf16)),
        ("transformer in bf16", &|_| transformer(bf16)),
    ];
    for (name, model) in networks {
        let case = Case {
            name: name.to_owned(),
            data: &data,
            settings: Settings { epochs: 3, batch_size: 24, seed: 2, ..Settings::new(0.02) },
            schedule: "one_cycle = { max_lr = 0.05 }",
            optimizer: OptimizerConfig::Adam(AdamConfig::default()),
            model,
            callbacks: &|| {
                let stop = stopping(0.0, true);
                Callbacks::default().with(stop).with(WeightAveraging::swa(Span::Epochs(1.0)).unwrap())
            },
        };
        case.holds();
    }
}
