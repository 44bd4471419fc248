//! The update rule of a configuration.

use candle_core::Result;
use lrlab_config::OptimizerConfig;
use lrlab_kernels::Params;

use crate::{Adam, Optimizer, Sgd};

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
