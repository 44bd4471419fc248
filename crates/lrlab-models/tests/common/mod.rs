//! Models, inputs and values of the tests.
#![allow(dead_code, reason = "each test binary uses its part")]

use candle_core::{DType, Device, Result, Tensor};
use lrlab_kernels::Params;
use lrlab_models::{
    Activation, BagOfEmbeddings, BagOfEmbeddingsConfig, ConvInit, Input, Linear, LinearConfig, Lstm,
    LstmConfig, Model, NormPlacement, PictureSizes, Pooling, Positions, ResNet, ResNetConfig, Shortcut, Stem,
    TextSizes, Transformer, TransformerConfig,
};

pub(crate) const VOCABULARY: usize = 17;

pub(crate) fn params() -> Params {
    params_of(DType::F32)
}

pub(crate) fn params_of(dtype: DType) -> Params {
    Params::new(Device::Cpu, dtype)
}

pub(crate) fn resnet(depth: usize, stem: Stem, shortcut: Shortcut, width: f64) -> Result<Box<dyn Model>> {
    resnet_of(params(), depth, stem, shortcut, width)
}

pub(crate) fn resnet_of(
    params: Params,
    depth: usize,
    stem: Stem,
    shortcut: Shortcut,
    width: f64,
) -> Result<Box<dyn Model>> {
    let config = ResNetConfig { depth, stem, shortcut, init: ConvInit::default(), width };
    let sizes = PictureSizes { channels: 3, classes: 3 };
    Ok(Box::new(ResNet::new(&config, sizes, 0, params)?))
}

pub(crate) fn lstm(bidirectional: bool, pooling: Pooling, dropout: f64) -> Result<Box<dyn Model>> {
    lstm_of(params(), bidirectional, pooling, dropout)
}

pub(crate) fn lstm_of(
    params: Params,
    bidirectional: bool,
    pooling: Pooling,
    dropout: f64,
) -> Result<Box<dyn Model>> {
    let config =
        LstmConfig { embedding: 5, hidden: 7, layers: 2, bidirectional, dropout, pooling, forget_bias: 1.0 };
    let sizes = TextSizes { vocabulary: VOCABULARY, max_length: 1, classes: 3 };
    Ok(Box::new(Lstm::new(&config, sizes, 0, params)?))
}

pub(crate) fn transformer(
    norm: NormPlacement,
    positions: Positions,
    activation: Activation,
    pooling: Pooling,
    dropout: f64,
) -> Result<Box<dyn Model>> {
    transformer_of(params(), norm, positions, activation, pooling, dropout)
}

pub(crate) fn transformer_of(
    params: Params,
    norm: NormPlacement,
    positions: Positions,
    activation: Activation,
    pooling: Pooling,
    dropout: f64,
) -> Result<Box<dyn Model>> {
    let config = TransformerConfig {
        width: 8,
        heads: 2,
        feed_forward: 12,
        layers: 2,
        dropout,
        norm,
        positions,
        activation,
        pooling,
    };
    let sizes = TextSizes { vocabulary: VOCABULARY, max_length: 6, classes: 3 };
    Ok(Box::new(Transformer::new(&config, sizes, 0, params)?))
}

pub(crate) fn bag(dropout: f64) -> Result<Box<dyn Model>> {
    let config = BagOfEmbeddingsConfig { embedding: 5, dropout };
    let sizes = TextSizes { vocabulary: VOCABULARY, max_length: 1, classes: 3 };
    Ok(Box::new(BagOfEmbeddings::new(&config, sizes, 0, params())?))
}

pub(crate) fn linear() -> Result<Box<dyn Model>> {
    Ok(Box::new(Linear::new(&LinearConfig { inputs: 3 * 9 * 9, classes: 3 }, 0, params())?))
}

/// The model of a case of `golden/make.py`.
pub(crate) fn by_name(case: &str) -> Result<Box<dyn Model>> {
    let words: Vec<&str> = case.split(' ').collect();
    let has = |word: &str| words.contains(&word);
    let pooling = match words.last() {
        Some(&"last") => Pooling::Last,
        Some(&"max") => Pooling::Max,
        _ => Pooling::Mean,
    };
    let stem = if has("cifar") { Stem::Cifar } else { Stem::ImageNet };
    let shortcut = if has("A") { Shortcut::A } else { Shortcut::B };
    let norm = if has("pre") { NormPlacement::Pre } else { NormPlacement::Post };
    let positions = if has("learned") { Positions::Learned } else { Positions::Sinusoidal };
    let activation = if has("relu") { Activation::Relu } else { Activation::Gelu };
    match words[0] {
        "resnet8" => resnet(8, stem, shortcut, 1.0 / 4.0),
        "resnet18" => resnet(18, stem, shortcut, 1.0 / 16.0),
        "resnet50" => resnet(50, stem, shortcut, 1.0 / 16.0),
        "lstm" => lstm(has("bi"), pooling, 0.0),
        "transformer" => transformer(norm, positions, activation, pooling, 0.0),
        "bag" => bag(0.0),
        "linear" => linear(),
        other => panic!("no model {other:?}"),
    }
}

/// Four texts of 6, 3, 1 and 5 tokens, padded to `length`.
pub(crate) fn tokens(length: usize) -> Result<Input> {
    let lengths = [6, 3, 1, 5];
    let id = |b: usize, t: usize| if t < lengths[b] { (1 + (5 * b + 3 * t) % 16) as u32 } else { 0 };
    let ids: Vec<u32> = (0..4).flat_map(|b| (0..length).map(move |t| id(b, t))).collect();
    let mask: Vec<f32> = ids.iter().map(|id| if *id == 0 { 0.0 } else { 1.0 }).collect();
    Ok(Input::Tokens {
        ids: Tensor::from_vec(ids, (4, length), &Device::Cpu)?,
        mask: Tensor::from_vec(mask, (4, length), &Device::Cpu)?,
    })
}

/// Four pictures of `size` × `size`.
pub(crate) fn pictures(size: usize) -> Result<Input> {
    Ok(Input::Pictures(scaled_wave("pictures", &[4, 3, size, size], 2.0, 0.0)?))
}

/// `count` numbers on [−1, 1) that depend on name and index alone, as in `golden/make.py`.
pub(crate) fn wave(name: &str, count: usize) -> Vec<f64> {
    let start = u64::from(crc32(name.as_bytes())) << 32;
    (0..count as u64).map(|i| 2.0 * ((mix(start + i) >> 11) as f64 / (1_u64 << 53) as f64) - 1.0).collect()
}

/// `SplitMix64`.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(crate) fn scaled_wave(name: &str, shape: &[usize], scale: f64, offset: f64) -> Result<Tensor> {
    let values: Vec<f32> =
        wave(name, shape.iter().product()).into_iter().map(|v| (offset + scale * v) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Sets every trained parameter to its value in `golden/make.py`.
pub(crate) fn fill(params: &Params) -> Result<()> {
    for (name, param) in params.trainable() {
        let shape = param.var.dims();
        let fan = shape[1..].iter().product::<usize>().max(1);
        let scale = if shape.len() == 1 { 0.3 } else { 2.0 / (fan as f64).sqrt() };
        let offset = if shape.len() == 1 && name.ends_with("weight") { 1.0 } else { 0.0 };
        param.var.set(&scaled_wave(name, shape, scale, offset)?)?;
    }
    Ok(())
}

/// zlib's CRC-32.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
