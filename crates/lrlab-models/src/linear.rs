//! Multinomial logistic regression on the pixels: the linear baseline for pictures.

use candle_core::{Result, Tensor, bail};
use lrlab_kernels::Params;

use crate::{
    Input, Mode, Model,
    init::Builder,
    layers::{Affine, positive},
};

/// Sizes of a [`Linear`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearConfig {
    /// Values per picture: channels · height · width.
    pub inputs: usize,
    /// Classes.
    pub classes: usize,
}

/// logits = W x + b over a picture's values.
#[derive(Debug)]
pub struct Linear {
    fc: Affine,
    params: Params,
}

impl Linear {
    /// Parameters `fc.weight (classes, inputs)` and `fc.bias`, initialised as `torch.nn.Linear`.
    ///
    /// # Errors
    /// Returns an error if a size is zero, or `params` holds these names already.
    pub fn new(config: &LinearConfig, seed: u64, params: Params) -> Result<Self> {
        positive(&[("inputs", config.inputs), ("classes", config.classes)])?;
        let mut b = Builder::new(seed, params);
        let fc = Affine::new(&mut b, "fc", config.inputs, config.classes)?;
        Ok(Self { fc, params: b.finish() })
    }
}

impl Model for Linear {
    fn forward(&self, input: &Input, _: Mode) -> Result<Tensor> {
        match input {
            Input::Pictures(x) => self.fc.forward(&x.flatten_from(1)?),
            Input::Tokens { .. } => bail!("a linear model on pixels reads pictures"),
        }
    }

    fn params(&self) -> &Params {
        &self.params
    }
}
