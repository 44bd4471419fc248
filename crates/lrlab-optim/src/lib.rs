//! SGD, Adam and AdamW for candle with the rate as an argument, clipping, accumulation and weight averaging.
//!
//! An [`Optimizer`] works on a model's [`lrlab_kernels::Params`]: parameters have names and a sorted order, so every
//! run makes the same updates in the same order, and state goes into a checkpoint under the parameters' names. The
//! learning rate is an argument of each step: a schedule is a function, and nothing here remembers a rate.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod adam;
mod average;
mod build;
mod check;
mod grads;
mod optimizer;
mod sgd;
mod slots;

pub use adam::Adam;
pub use average::WeightAverage;
pub use build::build;
pub use grads::{accumulate, clip_finite_grad_norm, clip_grad_norm};
pub use lrlab_config::{AdamConfig, OptimizerConfig, SgdConfig};
pub use optimizer::Optimizer;
pub use sgd::Sgd;
