//! Residual networks (He, Zhang, Ren, Sun: "Deep residual learning for image recognition", CVPR 2016).

use candle_core::{Result, Tensor, bail};
use lrlab_config::{ResNetConfig, Stem};
use lrlab_kernels::{ConvNet, NormMode, Params};

use crate::{
    Input, Mode, Model, PictureSizes,
    init::Builder,
    layers::{Affine, NORM_MOMENTUM, conv_norm, positive},
};

mod block;

use block::{Block, Kind};

/// A residual network with torchvision's parameter names.
#[derive(Debug)]
pub struct ResNet {
    features: ConvNet,
    fc: Affine,
    params: Params,
}

impl ResNet {
    /// Parameters `conv1.weight`, `bn1.weight`, `layer1.0.conv1.weight`, `layer2.0.downsample.0.weight`, …, `fc.bias`.
    ///
    /// Convolutions start as `config.init` says, norms with scale 1 and shift 0, and `fc` as `torch.nn.Linear` does.
    ///
    /// # Errors
    /// Returns an error if there is no network of this depth, a size is zero, or `params` holds these names already.
    pub fn new(config: &ResNetConfig, sizes: PictureSizes, seed: u64, params: Params) -> Result<Self> {
        let PictureSizes { channels, classes } = sizes;
        positive(&[("classes", classes), ("channels", channels)])?;
        let plan = Plan::of(config)?;
        let mut b = Builder::new(seed, params);
        let mut inputs = plan.widths[0];
        let (kernel, stride) = match config.stem {
            Stem::Cifar => (3, 1),
            Stem::ImageNet => (7, 2),
        };
        let mut features = ConvNet::in_precision(b.precision());
        let stem = conv_norm(&mut b, config.init, ["conv1", "bn1"], [channels, inputs], kernel, stride)?;
        let mut x = features.unit(features.input(), stem, None, true);
        if config.stem == Stem::ImageNet {
            x = features.max_pool(x, 3, 2, 1);
        }
        for (stage, (&width, &count)) in plan.widths.iter().zip(&plan.counts).enumerate() {
            for index in 0..count {
                let name = format!("layer{}.{index}", stage + 1);
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = Block {
                    kind: plan.kind,
                    inputs,
                    width,
                    stride,
                    shortcut: config.shortcut,
                    init: config.init,
                };
                x = block.add_to(&mut features, x, &mut b, &name)?;
                inputs = block.outputs();
            }
        }
        let fc = Affine::new(&mut b, "fc", inputs, classes)?;
        Ok(Self { features, fc, params: b.finish() })
    }
}

impl Model for ResNet {
    fn forward(&self, input: &Input, mode: Mode) -> Result<Tensor> {
        let Input::Pictures(x) = input else { bail!("a residual network reads pictures") };
        let norm = match mode {
            Mode::Train { .. } => NormMode::Train { momentum: NORM_MOMENTUM },
            Mode::Eval => NormMode::Eval,
        };
        self.fc.forward(&self.features.forward(x, norm)?)
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

/// Widths and number of blocks, stage by stage.
struct Plan {
    kind: Kind,
    widths: Vec<usize>,
    counts: Vec<usize>,
}

impl Plan {
    fn of(config: &ResNetConfig) -> Result<Self> {
        let (kind, base, counts) = match config.depth {
            18 => (Kind::Basic, 64, vec![2, 2, 2, 2]),
            34 => (Kind::Basic, 64, vec![3, 4, 6, 3]),
            50 => (Kind::Bottleneck, 64, vec![3, 4, 6, 3]),
            depth if depth >= 8 && depth % 6 == 2 => (Kind::Basic, 16, vec![(depth - 2) / 6; 3]),
            depth => {
                bail!("depth is {depth}, expected 18, 34, 50, or 6n + 2 such as 20, 32, 44, 56")
            }
        };
        if !(config.width.is_finite() && config.width > 0.0) {
            bail!("width is {}, expected a finite number above 0", config.width);
        }
        let width = |stage| (((base << stage) as f64 * config.width).round() as usize).max(1);
        Ok(Self { kind, widths: (0..counts.len()).map(width).collect(), counts })
    }
}
