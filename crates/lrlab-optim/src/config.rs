//! The update rules by name.

use candle_core::Result;
use lrlab_kernels::Params;

use crate::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};

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
