//! Residual blocks: y = max(F(x) + shortcut(x), 0).

use candle_core::Result;
use lrlab_config::{ConvInit, Shortcut};
use lrlab_kernels::{ConvNet, Value};

use crate::{init::Builder, layers::conv_norm};

/// What F is (He et al., figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 3×3, 3×3.
    Basic,
    /// 1×1, 3×3 (which strides, as in torchvision), 1×1 to four times the width.
    Bottleneck,
}

/// A residual block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Input channels.
    pub(super) inputs: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    /// Only if the shapes of input and output differ.
    pub(super) shortcut: Shortcut,
    pub(super) init: ConvInit,
}

impl Block {
    /// Output channels.
    pub(super) fn outputs(&self) -> usize {
        match self.kind {
            Kind::Basic => self.width,
            Kind::Bottleneck => 4 * self.width,
        }
    }

    /// Width, kernel and stride of each convolution of F.
    fn layers(&self) -> Vec<(usize, usize, usize)> {
        let (width, stride) = (self.width, self.stride);
        match self.kind {
            Kind::Basic => vec![(width, 3, stride), (width, 3, 1)],
            Kind::Bottleneck => vec![(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)],
        }
    }

    /// Appends the block, which reads `x`; all its convolutions but the last are followed by max(·, 0).
    pub(super) fn add_to(&self, net: &mut ConvNet, x: Value, b: &mut Builder, name: &str) -> Result<Value> {
        let layers = self.layers();
        let (mut y, mut channels) = (x, self.inputs);
        let mut units = Vec::with_capacity(layers.len());
        for (i, (out, kernel, stride)) in (1..).zip(layers) {
            let names = [format!("{name}.conv{i}"), format!("{name}.bn{i}")];
            units.push(conv_norm(b, self.init, [&names[0], &names[1]], [channels, out], kernel, stride)?);
            channels = out;
        }
        let last = units.pop();
        for unit in units {
            y = net.unit(y, unit, None, true);
        }
        let shortcut = self.skip(net, x, b, name)?;
        Ok(last.map_or(y, |unit| net.unit(y, unit, Some(shortcut), true)))
    }

    fn skip(&self, net: &mut ConvNet, x: Value, b: &mut Builder, name: &str) -> Result<Value> {
        if self.stride == 1 && self.inputs == self.outputs() {
            return Ok(x);
        }
        Ok(match self.shortcut {
            Shortcut::A => {
                let new = self.outputs().saturating_sub(self.inputs);
                net.subsample(x, self.stride, new / 2, new - new / 2)
            }
            Shortcut::B => {
                let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
                let sizes = [self.inputs, self.outputs()];
                let unit = conv_norm(b, self.init, [&names[0], &names[1]], sizes, 1, self.stride)?;
                net.unit(x, unit, None, false)
            }
        })
    }
}
