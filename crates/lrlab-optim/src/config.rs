//! Constants of the update rules, and the rules by name.

use candle_core::{Result, bail};
use lrlab_kernels::Params;

use crate::{Adam, Optimizer, Sgd};

/// An update rule and its constants. The rate is not among them.
#[derive(Debug, Clone, PartialEq)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with torch's rule; the default momentum is 0.9, where torch has 0.
    Sgd(SgdConfig),
    /// Kingma and Ba, ICLR 2015; weight decay added to the gradient.
    Adam(AdamConfig),
    /// Loshchilov and Hutter, ICLR 2019: decoupled weight decay.
    AdamW(AdamConfig),
}

/// Constants of [`Sgd`]. By default momentum 0.9 and no weight decay.
#[derive(Debug, Clone, PartialEq)]
pub struct SgdConfig {
    /// μ, 0 … 1; default 0.9. `torch.optim.SGD` has 0.
    pub momentum: f64,
    /// Nesterov's momentum; needs a momentum above 0.
    pub nesterov: bool,
    /// λ: added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Also decay norms and biases, as one torch parameter group does.
    pub decay_all: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0, decay_all: false }
    }
}

impl SgdConfig {
    pub(crate) fn check(&self) -> Result<()> {
        in_range("momentum", self.momentum, 0.0, 1.0)?;
        in_range("weight decay", self.weight_decay, 0.0, f64::MAX)?;
        if self.nesterov && self.momentum == 0.0 {
            bail!("Nesterov's form needs a momentum above 0");
        }
        Ok(())
    }
}

/// Constants of [`Adam`].
#[derive(Debug, Clone, PartialEq)]
pub struct AdamConfig {
    /// β₁, decay of the first moment, 0 … 1.
    pub beta1: f64,
    /// β₂, decay of the second moment, 0 … 1.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// λ.
    pub weight_decay: f64,
    /// Also decay norms and biases, as one torch parameter group does.
    pub decay_all: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, decay_all: false }
    }
}

impl AdamConfig {
    pub(crate) fn check(&self) -> Result<()> {
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            in_range(name, beta, 0.0, 1.0 - f64::EPSILON)?;
        }
        in_range("eps", self.eps, 0.0, f64::MAX)?;
        in_range("weight decay", self.weight_decay, 0.0, f64::MAX)
    }
}

/// The update rule over what `params` trains.
///
/// # Errors
/// A constant is out of its range, or allocating the state fails.
pub fn build(config: &OptimizerConfig, params: &Params) -> Result<Box<dyn Optimizer>> {
    Ok(match config {
        OptimizerConfig::Sgd(config) => Box::new(Sgd::new(config.clone(), params)?),
        OptimizerConfig::Adam(config) => Box::new(Adam::new(config.clone(), params)?),
        OptimizerConfig::AdamW(config) => Box::new(Adam::decoupled(config.clone(), params)?),
    })
}

pub(crate) fn in_range(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) { Ok(()) } else { bail!("{name} {value} is not in {low} … {high}") }
}
