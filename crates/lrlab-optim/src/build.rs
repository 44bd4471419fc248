//! The update rule of a configuration.

use candle_core::Result;
use lrlab_config::OptimizerConfig;
use lrlab_kernels::Params;

use crate::{Adam, Optimizer, Sgd};

/// Creates the update rule for the trainable parameters of `params`.
///
/// # Errors
/// Returns an error if a constant is outside its range or an allocation fails.
pub fn build(config: &OptimizerConfig, params: &Params) -> Result<Box<dyn Optimizer>> {
    Ok(match config {
        OptimizerConfig::Sgd(config) => Box::new(Sgd::new(config.clone(), params)?),
        OptimizerConfig::Adam(config) => Box::new(Adam::new(config.clone(), params)?),
        OptimizerConfig::AdamW(config) => Box::new(Adam::decoupled(config.clone(), params)?),
    })
}
