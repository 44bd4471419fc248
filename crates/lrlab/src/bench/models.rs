//! Complete training steps: forward, loss, backward, update.

use candle_core::{DType, Device, Tensor};
use lrlab_kernels::{Params, Precision, cross_entropy};
use lrlab_models::{
    Activation, ConvInit, Input, Lstm, LstmConfig, Mode, Model, NormPlacement, PictureSizes, Pooling,
    Positions, ResNet, ResNetConfig, Shortcut, Stem, TextSizes, Transformer, TransformerConfig,
};
use lrlab_optim::{AdamConfig, OptimizerConfig, SgdConfig, build};
use lrlab_random::{Purpose, Stream};

use super::workload::{Kind, Prepare, Step, Workload};

pub(super) const PICTURES: usize = 128;
pub(super) const TEXTS: usize = 64;
pub(super) const LENGTH: usize = 200;
pub(super) const VOCABULARY: usize = 20_000;
pub(super) const WIDTH: usize = 128;
const SIDE: usize = 32;
const FEED_FORWARD: usize = 256;
const LAYERS: usize = 2;
/// A multiplication and an addition, forward and for both gradients.
const TRAINING: f64 = 6.0;

pub(super) fn models(precision: Precision) -> Vec<Workload> {
    let model = |name: &str, examples, products: f64, prepare: Prepare| Workload {
        kind: Kind::Model,
        name: name.to_owned(),
        examples,
        flops: products * examples as f64,
        bytes: 0.0,
        precision,
        prepare,
    };
    let params = move |device: &Device| Params::new(device.clone(), DType::F32).in_precision(precision);
    let tokens = LENGTH as f64;
    let lstm_products = (8 * WIDTH * WIDTH) as f64;
    let layer_products = (4 * WIDTH * WIDTH + 2 * WIDTH * FEED_FORWARD + 2 * LENGTH * WIDTH) as f64;
    vec![
        model(
            "resnet20",
            PICTURES,
            resnet_flops(20, Stem::Cifar),
            Box::new(move |d| resnet(20, Stem::Cifar, &params(d))),
        ),
        model(
            "resnet18-imagenet-stem",
            PICTURES,
            resnet_flops(18, Stem::ImageNet),
            Box::new(move |d| resnet(18, Stem::ImageNet, &params(d))),
        ),
        model(
            "lstm",
            TEXTS,
            TRAINING * tokens * lstm_products,
            Box::new(move |d| text_step(lstm(&params(d))?, d)),
        ),
        model(
            "transformer",
            TEXTS,
            TRAINING * tokens * LAYERS as f64 * layer_products,
            Box::new(move |d| text_step(transformer(&params(d), LENGTH)?, d)),
        ),
    ]
}

/// Returns the operations of a step per picture: each product forward and for both gradients, except the gradient of
/// the first layer's input.
fn resnet_flops(depth: usize, stem: Stem) -> f64 {
    let conv = |inputs: usize, outputs: usize, kernel: usize, side: usize| {
        (inputs * outputs * kernel * kernel * side * side) as f64
    };
    let (base, stages, blocks) = if depth == 18 { (64, 4, 2) } else { (16, 3, (depth - 2) / 6) };
    let (first, mut side) = match stem {
        Stem::Cifar => (conv(3, base, 3, SIDE), SIDE),
        Stem::ImageNet => (conv(3, base, 7, SIDE / 2), SIDE / 4),
    };
    let (mut products, mut inputs) = (first, base);
    for stage in 0..stages {
        let width = base << stage;
        for block in 0..blocks {
            if stage > 0 && block == 0 {
                side /= 2;
                products += conv(inputs, width, 1, side);
            }
            products += conv(inputs, width, 3, side) + conv(width, width, 3, side);
            inputs = width;
        }
    }
    TRAINING * products - 2.0 * first
}

fn resnet(depth: usize, stem: Stem, params: &Params) -> anyhow::Result<Step> {
    let device = params.device();
    let config = ResNetConfig { depth, stem, shortcut: Shortcut::B, init: ConvInit::default(), width: 1.0 };
    let sizes = PictureSizes { channels: 3, classes: 10 };
    let model = ResNet::new(&config, sizes, 0, params.clone())?;
    let sgd = SgdConfig { momentum: 0.9, weight_decay: 1e-4, decay_all: true, ..SgdConfig::default() };
    let pictures = Input::Pictures(normal(&[PICTURES, 3, SIDE, SIDE], "pictures", device)?);
    let labels = below(PICTURES, 10, "labels", device)?;
    Ok(step(Box::new(model), OptimizerConfig::Sgd(sgd), 0.05, pictures, labels))
}

pub(super) fn lstm(params: &Params) -> anyhow::Result<Box<dyn Model>> {
    let config = LstmConfig {
        embedding: WIDTH,
        hidden: WIDTH,
        layers: 1,
        bidirectional: false,
        dropout: 0.0,
        pooling: Pooling::Last,
        forget_bias: 1.0,
    };
    let sizes = TextSizes { vocabulary: VOCABULARY, max_length: 1, classes: 2 };
    Ok(Box::new(Lstm::new(&config, sizes, 0, params.clone())?))
}

/// Creates a Transformer for texts of up to `length` tokens.
pub(super) fn transformer(params: &Params, length: usize) -> anyhow::Result<Box<dyn Model>> {
    let config = TransformerConfig {
        width: WIDTH,
        heads: 4,
        feed_forward: FEED_FORWARD,
        layers: LAYERS,
        dropout: 0.1,
        norm: NormPlacement::Post,
        positions: Positions::Learned,
        activation: Activation::Relu,
        pooling: Pooling::Mean,
    };
    let sizes = TextSizes { vocabulary: VOCABULARY, max_length: length, classes: 2 };
    Ok(Box::new(Transformer::new(&config, sizes, 0, params.clone())?))
}

fn text_step(model: Box<dyn Model>, device: &Device) -> anyhow::Result<Step> {
    let ids = below(TEXTS * LENGTH, VOCABULARY as u64, "ids", device)?.reshape((TEXTS, LENGTH))?;
    let mask = Tensor::ones((TEXTS, LENGTH), DType::F32, device)?;
    let labels = below(TEXTS, 2, "labels", device)?;
    let adam = OptimizerConfig::Adam(AdamConfig::default());
    Ok(step(model, adam, 1e-3, Input::Tokens { ids, mask }, labels))
}

fn step(model: Box<dyn Model>, config: OptimizerConfig, lr: f64, input: Input, labels: Tensor) -> Step {
    let mut optimizer = None;
    let mut batch = 0;
    Box::new(move || {
        let optimizer = match &mut optimizer {
            Some(optimizer) => optimizer,
            none => none.insert(build(&config, model.params())?),
        };
        let logits = model.forward(&input, Mode::Train { seed: 0, batch })?;
        let loss = cross_entropy(&logits, &labels, 0.0)?;
        optimizer.step(lr, &lrlab_kernels::backward(&loss)?)?;
        batch += 1;
        Ok(loss.detach())
    })
}

/// Returns standard normal values; equal names give equal values.
pub(super) fn normal(shape: &[usize], name: &str, device: &Device) -> candle_core::Result<Tensor> {
    let stream = Stream::new(0, Purpose::Synthetic, name);
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f32> = (0..count).map(|i| stream.normal(i) as f32).collect();
    Tensor::from_vec(values, shape, device)
}

/// Returns integers below `bound`.
pub(super) fn below(count: usize, bound: u64, name: &str, device: &Device) -> candle_core::Result<Tensor> {
    let stream = Stream::new(0, Purpose::Synthetic, name);
    let values: Vec<u32> = (0..count as u64).map(|i| stream.below(i, bound) as u32).collect();
    Tensor::from_vec(values, count, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_residual_networks() {
        // He et al., section 4.2: ResNet-20's convolutions are 40.6 million products, its two projections 0.26.
        let of = |depth, stem| resnet_flops(depth, stem) / 1e6;
        assert!((of(20, Stem::Cifar) - 244.0).abs() < 1.0, "{}", of(20, Stem::Cifar));
        // torchvision's 1.81 · 10⁹ products at 224 pixels are 37 million at 32, a 49th.
        assert!((of(18, Stem::ImageNet) / (6.0 * 1814.0 / 49.0) - 1.0).abs() < 0.03);
    }
}
