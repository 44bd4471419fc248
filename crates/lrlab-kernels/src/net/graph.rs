//! A network as data: its nodes and the sizes of their values.

use std::sync::Arc;

use candle_core::{Result, Var, bail};

use crate::conv::geometry::{Geometry, Sizes};
use crate::{NormMode, Precision, check};

/// A convolution without bias and the batch norm after it.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    /// `(o, c, kh, kw)`
    pub weight: Var,
    /// Of both sides.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// The norm's scale `(o)`.
    pub scale: Var,
    /// The norm's shift `(o)`.
    pub shift: Var,
    /// `(o)`; moves in training.
    pub running_mean: Var,
    /// `(o)`; moves in training.
    pub running_var: Var,
    /// Added to the variance.
    pub eps: f64,
}

impl ConvNorm {
    pub(super) fn vectors(&self) -> [(&'static str, &Var); 4] {
        [
            ("scale", &self.scale),
            ("shift", &self.shift),
            ("running mean", &self.running_mean),
            ("running variance", &self.running_var),
        ]
    }
}

/// The largest number of channels; with more, sizes could overflow.
const MOST_CHANNELS: usize = 1 << 20;

/// The output of a node, which later nodes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(pub(super) usize);

#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// max(norm(conv(input)) + residual, 0)
    Unit {
        input: usize,
        unit: ConvNorm,
        residual: Option<usize>,
        relu: bool,
    },
    MaxPool {
        input: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    /// Every `stride`-th pixel, with channels of zeros before and after.
    Subsample {
        input: usize,
        stride: usize,
        before: usize,
        after: usize,
    },
}

impl Node {
    pub(crate) fn input(&self) -> usize {
        match self {
            Self::Unit { input, .. } | Self::MaxPool { input, .. } | Self::Subsample { input, .. } => *input,
        }
    }
}

/// Convolutions with batch norm, residual sums and pools, ending in the mean over all pixels.
///
/// ```
/// use candle_core::{DType, Device, Result, Tensor, Var};
/// use lrlab_kernels::{ConvNet, ConvNorm, NormMode};
///
/// # fn main() -> Result<()> {
/// let full = |value: f32| Var::from_tensor(&Tensor::full(value, 8, &Device::Cpu)?);
/// let mut net = ConvNet::new();
/// let x = net.input();
/// net.unit(
///     x,
///     ConvNorm {
///         weight: Var::from_tensor(&Tensor::ones((8, 3, 3, 3), DType::F32, &Device::Cpu)?)?,
///         stride: 1,
///         padding: 1,
///         scale: full(1.0)?,
///         shift: full(0.0)?,
///         running_mean: full(0.0)?,
///         running_var: full(1.0)?,
///         eps: 1e-5,
///     },
///     None,
///     true,
/// );
/// let pictures = Tensor::ones((2, 3, 6, 6), DType::F32, &Device::Cpu)?;
/// let features = net.forward(&pictures, NormMode::Train { momentum: 0.1 })?;
/// assert_eq!(features.dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConvNet {
    pub(crate) precision: Precision,
    pub(crate) nodes: Arc<Vec<Node>>,
}

impl ConvNet {
    /// A network without nodes: the mean over the picture's pixels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with convolutions in `precision` on a GPU; on the CPU they are f32.
    #[must_use]
    pub fn in_precision(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// The pictures.
    #[must_use]
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// max(norm(conv(input)) + residual, 0), without the maximum unless `relu`.
    pub fn unit(&mut self, input: Value, unit: ConvNorm, residual: Option<Value>, relu: bool) -> Value {
        let residual = residual.map(|value| value.0);
        self.push(Node::Unit { input: input.0, unit, residual, relu })
    }

    /// See [`max_pool2d`](crate::max_pool2d()).
    pub fn max_pool(&mut self, input: Value, kernel: usize, stride: usize, padding: usize) -> Value {
        self.push(Node::MaxPool { input: input.0, kernel, stride, padding })
    }

    /// Every `stride`-th pixel of every `stride`-th row, with `before` and `after` channels of zeros (He et al.,
    /// section 3.3, option A).
    pub fn subsample(&mut self, input: Value, stride: usize, before: usize, after: usize) -> Value {
        self.push(Node::Subsample { input: input.0, stride, before, after })
    }

    fn push(&mut self, node: Node) -> Value {
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.push(node);
        Value(nodes.len())
    }

    /// The sizes of every value, checked.
    pub(super) fn sizes(
        &self,
        (n, c, h, w): (usize, usize, usize, usize),
        mode: NormMode,
    ) -> Result<Vec<Sizes>> {
        if n * c * h * w == 0 {
            bail!("conv_net: empty input {:?}", (n, c, h, w));
        }
        let mut sizes = vec![Sizes { n, c, h, w }];
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(from) = sizes.get(node.input()).copied() else {
                bail!("conv_net: node {index} reads value {}, expected at most {index}", node.input());
            };
            let to = match node {
                Node::Unit { unit, residual, .. } => {
                    let to = unit_sizes(index, from, unit)?;
                    if mode != NormMode::Eval && to.n * to.pixels() == 1 {
                        bail!("conv_net: node {index}: one value per channel has no variance, output {to}");
                    }
                    match residual.map(|residual| sizes.get(residual)) {
                        Some(None) => {
                            bail!("conv_net: node {index} adds a later value, expected at most value {index}")
                        }
                        Some(Some(residual)) if *residual != to => {
                            bail!("conv_net: node {index} adds {residual} to {to}")
                        }
                        _ => to,
                    }
                }
                Node::MaxPool { kernel, stride, padding, .. } => {
                    let side = |size: usize| pooled(size, *kernel, *stride, *padding);
                    let (Some(h), Some(w)) = (side(from.h), side(from.w)) else {
                        bail!(
                            "conv_net: node {index}: a pool of kernel {kernel}, stride {stride} and padding \
                             {padding} does not fit {from}"
                        );
                    };
                    Sizes { h, w, ..from }
                }
                Node::Subsample { stride, before, after, .. } => {
                    if *stride == 0 {
                        bail!("conv_net: node {index}: stride 0");
                    }
                    let (h, w) = (from.h.div_ceil(*stride), from.w.div_ceil(*stride));
                    let c = from.c.checked_add(*before).and_then(|c| c.checked_add(*after));
                    let Some(c) = c.filter(|c| *c <= MOST_CHANNELS) else {
                        bail!("conv_net: node {index}: {before} and {after} more channels are too many")
                    };
                    Sizes { c, h, w, ..from }
                }
            };
            sizes.push(to);
        }
        Ok(sizes)
    }
}

fn unit_sizes(index: usize, from: Sizes, unit: &ConvNorm) -> Result<Sizes> {
    let name = format!("conv_net: node {index}");
    let [o, c, kh, kw] = check::dims(&name, "weight", &unit.weight, "(o, c, kh, kw)")?;
    for (what, var) in unit.vectors() {
        if var.dims() != [o] {
            bail!("{name}: {what} is {:?} for {o} channels", var.shape());
        }
    }
    check::eps(&name, unit.eps, "1e-5")?;
    let weight = (o, c, kh, kw);
    let g = Geometry::new((from.n, from.c, from.h, from.w), weight, unit.stride, unit.padding)?;
    Ok(g.output())
}

/// Windows along one side.
fn pooled(size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    // Twice the padding is at most the kernel, so this form does not overflow.
    let fits = kernel > 0 && stride > 0 && padding <= kernel / 2 && size >= kernel - 2 * padding;
    fits.then(|| (size - (kernel - 2 * padding)) / stride + 1)
}
