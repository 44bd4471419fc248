//! Layers: parameters with the operator that reads them.

use candle_core::{Result, Tensor, Var, bail};
use lrlab_config::ConvInit;
use lrlab_kernels::{ConvNorm, Precision, Role};
use lrlab_random::{Purpose, Stream};

use crate::{Mode, init::Builder, init::Init};

/// Weight of the batch in batch norm's running statistics, torch's default.
pub const NORM_MOMENTUM: f64 = 0.1;

/// torch's default, for batch norm and layer norm.
pub(crate) const NORM_EPS: f64 = 1e-5;

/// A convolution without bias, and its batch norm: scale 1, shift 0, running mean 0, running variance 1 at the start.
///
/// `conv.weight (outputs, inputs, kernel, kernel)`, padded by half the kernel; `norm.weight`, `norm.bias`,
/// `norm.running_mean`, `norm.running_var`.
pub(crate) fn conv_norm(
    b: &mut Builder,
    init: ConvInit,
    [conv, norm]: [&str; 2],
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
) -> Result<ConvNorm> {
    let init = match init {
        ConvInit::Torchvision => Init::kaiming_fan_out(outputs, kernel),
        ConvInit::TorchDefault => Init::torch_conv(inputs, kernel),
    };
    let shape = [outputs, inputs, kernel, kernel];
    let weight = b.create(&format!("{conv}.weight"), &shape, init, Role::Weight)?;
    let mut create = |field: &str, value, role| {
        b.create(&format!("{norm}.{field}"), &[outputs], Init::Constant(value), role)
    };
    Ok(ConvNorm {
        weight,
        stride,
        padding: kernel / 2,
        scale: create("weight", 1.0, Role::NoDecay)?,
        shift: create("bias", 0.0, Role::NoDecay)?,
        running_mean: create("running_mean", 0.0, Role::Buffer)?,
        running_var: create("running_var", 1.0, Role::Buffer)?,
        eps: NORM_EPS,
    })
}

/// Affine map over the last dimension, initialised as `torch.nn.Linear`.
#[derive(Debug)]
pub struct Affine {
    weight: Var,
    bias: Var,
    precision: Precision,
}

impl Affine {
    /// Creates `name.weight (outputs, inputs)` and `name.bias (outputs)`, multiplied in the precision of `b`.
    ///
    /// # Errors
    /// Returns an error if a parameter of one of these names exists.
    pub fn new(b: &mut Builder, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_bias(b, name, inputs, outputs, Init::torch_linear(inputs))
    }

    /// Creates the map with a bias that starts at 0.
    ///
    /// # Errors
    /// Returns the errors of [`Affine::new`].
    pub fn zero_bias(b: &mut Builder, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_bias(b, name, inputs, outputs, Init::Constant(0.0))
    }

    fn with_bias(b: &mut Builder, name: &str, inputs: usize, outputs: usize, bias: Init) -> Result<Self> {
        let init = Init::torch_linear(inputs);
        Ok(Self {
            weight: b.create(&format!("{name}.weight"), &[outputs, inputs], init, Role::Weight)?,
            bias: b.create(&format!("{name}.bias"), &[outputs], bias, Role::NoDecay)?,
            precision: b.precision(),
        })
    }

    /// Maps `(…, inputs)` to `(…, outputs)`.
    ///
    /// # Errors
    /// Returns an error if the last dimension of `x` is not `inputs`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        lrlab_kernels::linear(x, &self.weight, Some(&self.bias), self.precision)
    }

    /// Weight and bias.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }
}

/// Layer norm over the last dimension (Ba et al., 2016): scale 1, shift 0 at the start, ε = 1e-5.
#[derive(Debug)]
pub struct LayerNorm {
    scale: Var,
    shift: Var,
}

impl LayerNorm {
    /// Creates `name.weight (width)` and `name.bias (width)`, to which weight decay does not apply.
    ///
    /// # Errors
    /// Returns an error if a parameter of one of these names exists.
    pub fn new(b: &mut Builder, name: &str, width: usize) -> Result<Self> {
        let mut create = |field: &str, value| {
            b.create(&format!("{name}.{field}"), &[width], Init::Constant(value), Role::NoDecay)
        };
        Ok(Self { scale: create("weight", 1.0)?, shift: create("bias", 0.0)? })
    }

    /// Normalises `(…, width)`.
    ///
    /// # Errors
    /// Returns an error if the last dimension of `x` is not `width`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        lrlab_kernels::layer_norm(x, &self.scale, &self.shift, NORM_EPS)
    }

    /// Scale and shift.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.scale, &self.shift)
    }
}

/// Dropout (Srivastava et al., 2014). The mask is a function of the run's seed, this layer's name and the batch.
#[derive(Debug)]
pub struct Dropout {
    name: String,
    p: f64,
}

impl Dropout {
    /// Creates a dropout of probability `p`, whose masks depend on `name`.
    ///
    /// # Errors
    /// Returns an error if `p` is not in [0, 1).
    pub fn new(name: impl Into<String>, p: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&p) {
            bail!("dropout is {p}, expected 0 or more and below 1");
        }
        Ok(Self { name: name.into(), p })
    }

    /// The draws of this batch; `None` if nothing is dropped.
    pub(crate) fn draws(&self, mode: Mode) -> Option<lrlab_kernels::Dropout> {
        match mode {
            Mode::Train { seed, batch } if self.p > 0.0 => Some(lrlab_kernels::Dropout {
                p: self.p,
                stream: Stream::new(seed, Purpose::Dropout, &self.name).child(batch),
            }),
            Mode::Train { .. } | Mode::Eval => None,
        }
    }

    /// Sets values to 0 with probability p and divides the others by 1 − p in training; returns `x` in evaluation.
    ///
    /// # Errors
    /// Returns an error if the operation fails on the device.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self.draws(mode) {
            Some(draws) => lrlab_kernels::dropout(x, draws),
            None => Ok(x.clone()),
        }
    }
}

/// Rejects a size of zero.
pub(crate) fn positive(sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => bail!("{name} is 0, expected at least 1"),
        None => Ok(()),
    }
}
