//! Residual blocks: y = max(F(x) + shortcut(x), 0).

use candle_core::{Result, Tensor};
use lrlab_kernels::max_pool2d;

use super::Shortcut;
use crate::{
    Mode,
    init::Builder,
    layers::{BatchNorm, Conv},
};

/// What F is (He et al., figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 3×3, 3×3.
    Basic,
    /// 1×1, 3×3 (which strides, as in torchvision), 1×1 to four times the width.
    Bottleneck,
}

/// A residual block.
#[derive(Debug)]
pub(super) struct Block {
    /// Convolutions, each with its norm; all but the last are followed by max(·, 0).
    convs: Vec<(Conv, BatchNorm)>,
    skip: Skip,
    outputs: usize,
}

#[derive(Debug)]
enum Skip {
    Identity,
    /// Option A.
    Subsample {
        stride: usize,
        before: usize,
        after: usize,
    },
    /// Option B.
    Project(Conv, BatchNorm),
}

impl Block {
    pub(super) fn new(
        b: &mut Builder,
        name: &str,
        kind: Kind,
        [inputs, width]: [usize; 2],
        stride: usize,
        shortcut: Shortcut,
    ) -> Result<Self> {
        let (layers, outputs) = match kind {
            Kind::Basic => (vec![(width, 3, stride), (width, 3, 1)], width),
            Kind::Bottleneck => (vec![(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)], 4 * width),
        };
        let mut convs = Vec::with_capacity(layers.len());
        let mut channels = inputs;
        for (i, (out, kernel, stride)) in (1..).zip(layers) {
            let conv = Conv::new(b, &format!("{name}.conv{i}"), [channels, out], kernel, stride)?;
            convs.push((conv, BatchNorm::new(b, &format!("{name}.bn{i}"), out)?));
            channels = out;
        }
        let skip = if stride == 1 && inputs == outputs {
            Skip::Identity
        } else {
            Skip::new(b, name, [inputs, outputs], stride, shortcut)?
        };
        Ok(Self { convs, skip, outputs })
    }

    /// Channels that come out.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let shortcut = self.skip.forward(x, mode)?;
        let mut y = x.clone();
        for (i, (conv, norm)) in self.convs.iter().enumerate() {
            y = conv.forward(&y)?;
            y = if i + 1 < self.convs.len() {
                norm.relu(&y, mode)?
            } else {
                norm.add_relu(&y, mode, &shortcut)?
            };
        }
        Ok(y)
    }
}

impl Skip {
    fn new(
        b: &mut Builder,
        name: &str,
        [inputs, outputs]: [usize; 2],
        stride: usize,
        shortcut: Shortcut,
    ) -> Result<Self> {
        Ok(match shortcut {
            Shortcut::A => {
                let new = outputs.saturating_sub(inputs);
                Self::Subsample { stride, before: new / 2, after: new - new / 2 }
            }
            Shortcut::B => Self::Project(
                Conv::new(b, &format!("{name}.downsample.0"), [inputs, outputs], 1, stride)?,
                BatchNorm::new(b, &format!("{name}.downsample.1"), outputs)?,
            ),
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Subsample { stride, before, after } => {
                // The maximum over a window of one pixel is that pixel.
                let picked = if *stride == 1 { x.clone() } else { max_pool2d(x, 1, *stride, 0)? };
                picked.pad_with_zeros(1, *before, *after)
            }
            Self::Project(conv, norm) => norm.forward(&conv.forward(x)?, mode),
        }
    }
}
