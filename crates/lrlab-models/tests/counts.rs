//! Parameter counts against published ones.
#![allow(clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod common;

use candle_core::Result;
use lrlab_models::{
    Activation, BagOfEmbeddings, BagOfEmbeddingsConfig, ConvInit, Linear, LinearConfig, Lstm, LstmConfig,
    Model, NormPlacement, PictureSizes, Pooling, Positions, ResNet, ResNetConfig, Shortcut, Stem, TextSizes,
    Transformer, TransformerConfig,
};

fn resnet(depth: usize, stem: Stem, shortcut: Shortcut, classes: usize) -> Result<usize> {
    let config = ResNetConfig { depth, stem, shortcut, init: ConvInit::default(), width: 1.0 };
    let sizes = PictureSizes { channels: 3, classes };
    Ok(ResNet::new(&config, sizes, 0, common::params())?.params().count())
}

/// He et al., table 6: 0.27M, 0.46M, 0.66M, 0.85M; to the digit, the same networks in torch (`golden/make.py`).
#[test]
fn cifar_networks() -> Result<()> {
    for (depth, count) in [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)] {
        assert_eq!(resnet(depth, Stem::Cifar, Shortcut::A, 10)?, count, "ResNet-{depth}");
    }
    // Two more 1×1 convolutions with batch norm: 16·32 + 2·32 + 32·64 + 2·64.
    assert_eq!(resnet(20, Stem::Cifar, Shortcut::B, 10)?, 269_722 + 2_752);
    Ok(())
}

/// torchvision's `num_params` of the three weights.
#[test]
fn imagenet_networks() -> Result<()> {
    for (depth, count) in [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)] {
        assert_eq!(resnet(depth, Stem::ImageNet, Shortcut::B, 1000)?, count, "ResNet-{depth}");
    }
    Ok(())
}

/// kuangliu/pytorch-cifar's `ResNet18`: the 3×3 stem and 10 classes.
#[test]
fn resnet18_for_small_pictures() -> Result<()> {
    assert_eq!(resnet(18, Stem::Cifar, Shortcut::B, 10)?, 11_173_962);
    Ok(())
}

/// torch: per layer and direction 4h (in + h) weights and 8h biases.
#[test]
fn lstms() -> Result<()> {
    for (bidirectional, directions) in [(false, 1), (true, 2)] {
        let (vocabulary, embedding, hidden, layers, classes) = (50, 12, 20, 3, 2);
        let config = LstmConfig {
            embedding,
            hidden,
            layers,
            bidirectional,
            dropout: 0.0,
            pooling: Pooling::Last,
            forget_bias: 1.0,
        };
        let sizes = TextSizes { vocabulary, max_length: 1, classes };
        let layer = |inputs: usize| directions * (4 * hidden * (inputs + hidden) + 8 * hidden);
        let expected = vocabulary * embedding
            + layer(embedding)
            + (layers - 1) * layer(directions * hidden)
            + classes * (directions * hidden + 1);
        assert_eq!(Lstm::new(&config, sizes, 0, common::params())?.params().count(), expected);
    }
    Ok(())
}

/// torch: per block 4d² + 4d for attention, 2df + f + d for the feed-forward network, 4d for two norms.
#[test]
fn transformers() -> Result<()> {
    for (norm, positions) in [
        (NormPlacement::Pre, Positions::Learned),
        (NormPlacement::Pre, Positions::Sinusoidal),
        (NormPlacement::Post, Positions::Learned),
        (NormPlacement::Post, Positions::Sinusoidal),
    ] {
        let (vocabulary, max_length, d, f, layers, classes) = (50, 30, 16, 24, 3, 2);
        let config = TransformerConfig {
            width: d,
            heads: 4,
            feed_forward: f,
            layers,
            dropout: 0.0,
            norm,
            positions,
            activation: Activation::Relu,
            pooling: Pooling::Mean,
        };
        let sizes = TextSizes { vocabulary, max_length, classes };
        let block = 4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d;
        let table = if positions == Positions::Learned { max_length * d } else { 0 };
        let last = if norm == NormPlacement::Pre { 2 * d } else { 0 };
        let expected = vocabulary * d + table + layers * block + last + classes * (d + 1);
        assert_eq!(Transformer::new(&config, sizes, 0, common::params())?.params().count(), expected);
    }
    Ok(())
}

#[test]
fn linear_baselines() -> Result<()> {
    let bag = BagOfEmbeddingsConfig { embedding: 12, dropout: 0.0 };
    let sizes = TextSizes { vocabulary: 50, max_length: 1, classes: 2 };
    assert_eq!(BagOfEmbeddings::new(&bag, sizes, 0, common::params())?.params().count(), 50 * 12 + 2 * 13);
    let linear = LinearConfig { inputs: 3072, classes: 10 };
    assert_eq!(Linear::new(&linear, 0, common::params())?.params().count(), 30_730);
    Ok(())
}
