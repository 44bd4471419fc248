//! Training in bf16 reaches the results of f32: small networks on generated data, several seeds.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use lrlab_callbacks::Callbacks;
use lrlab_data::{DataConfig, Dataset, Kind, Source, SyntheticReviews, TokenConfig};
use lrlab_kernels::{Params, Precision};
use lrlab_models::{
    Activation, Lstm, LstmConfig, Model, NormPlacement, Pooling, Positions, TextSizes, Transformer,
    TransformerConfig,
};
use lrlab_optim::{AdamConfig, OptimizerConfig};
use lrlab_schedulers::ScheduleSpec;
use lrlab_train::{Fit, Settings, fit};

const SEEDS: u64 = 3;

fn reviews() -> Dataset {
    let reviews = Source::SyntheticReviews(SyntheticReviews { train: 1280, test: 2, seed: 0 });
    let mut config = DataConfig::new(reviews, std::env::temp_dir().join("lrlab-train-tests"));
    config.tokens = TokenConfig { vocabulary: 2000, max_length: 40, ..TokenConfig::default() };
    lrlab_data::load(&config).unwrap()
}

/// Validation loss and accuracy after the last epoch.
fn train(data: &Dataset, model: Box<dyn Model>, lr: f64, seed: u64) -> (f64, f64) {
    let settings = Settings { epochs: 8, batch_size: 32, clip_norm: Some(1.0), seed, ..Settings::new(lr) };
    let horizon = Fit::horizon(&settings, data.train.len());
    let adam = OptimizerConfig::Adam(AdamConfig::default());
    let parts = Fit {
        optimizer: lrlab_optim::build(&adam, model.params()).unwrap(),
        model,
        schedule: ScheduleSpec::parse("cosine = {}").unwrap().build(&horizon).unwrap(),
        driver: lrlab_schedulers::Driver::default(),
        callbacks: Callbacks::default(),
        data,
        settings: &settings,
        device: &Device::Cpu,
    };
    let fitted = fit(parts, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let last = fitted.history.last().unwrap();
    (last.val_loss.unwrap(), last.val_accuracy.unwrap())
}

/// Compares each seed alone and the mean of all, relative to a network that guesses.
fn check(name: &str, data: &Dataset, lr: f64, build: &dyn Fn(u64, Params) -> Box<dyn Model>) {
    let run = |precision: Precision| -> Vec<(f64, f64)> {
        let params = || Params::new(Device::Cpu, DType::F32).in_precision(precision);
        (0..SEEDS).map(|seed| train(data, build(seed, params()), lr, seed)).collect()
    };
    let (f32, bf16) = (run(Precision::F32), run(Precision::Bf16));
    let mean =
        |of: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| of.iter().map(get).sum::<f64>() / SEEDS as f64;
    let guess = (data.classes as f64).ln();
    let chance = 1.0 / data.classes as f64;
    assert!(mean(&f32, |run| run.1) > chance + 0.15, "{name} does not learn: {f32:?}");
    let off = (mean(&f32, |run| run.0) - mean(&bf16, |run| run.0)).abs();
    assert!(off < 0.03 * guess, "{name}: losses {f32:?} in f32, {bf16:?} in bf16");
    let off = (mean(&f32, |run| run.1) - mean(&bf16, |run| run.1)).abs();
    assert!(off < 0.03, "{name}: accuracies {f32:?} in f32, {bf16:?} in bf16");
    for (f32, bf16) in f32.iter().zip(&bf16) {
        assert!((f32.0 - bf16.0).abs() < 0.15 * guess, "{name}: {f32:?} in f32, {bf16:?} in bf16");
        assert!(f32.0.to_bits() != bf16.0.to_bits(), "{name} was not trained in bf16");
    }
}

#[test]
fn bf16_reaches_the_results_of_f32() {
    let data = reviews();
    let Kind::Tokens { vocabulary, max_length } = data.kind else { panic!("reviews are no text") };
    let classes = data.classes;
    check("LSTM", &data, 1e-2, &|seed, params| {
        let config = LstmConfig {
            embedding: 32,
            hidden: 32,
            layers: 1,
            bidirectional: false,
            dropout: 0.0,
            pooling: Pooling::Last,
            forget_bias: 1.0,
        };
        let sizes = TextSizes { vocabulary, max_length: 1, classes };
        Box::new(Lstm::new(&config, sizes, seed, params).unwrap())
    });
    check("Transformer", &data, 3e-3, &|seed, params| {
        let config = TransformerConfig {
            width: 32,
            heads: 2,
            feed_forward: 64,
            layers: 2,
            dropout: 0.1,
            norm: NormPlacement::Post,
            positions: Positions::Learned,
            activation: Activation::Relu,
            pooling: Pooling::Mean,
        };
        let sizes = TextSizes { vocabulary, max_length, classes };
        Box::new(Transformer::new(&config, sizes, seed, params).unwrap())
    });
}
