//! SGD, Adam and AdamW for candle with the rate as an argument, clipping, accumulation and weight averaging.
//!
//! An [`Optimizer`] works on a model's [`lrlab_kernels::Params`]: parameters have names and a sorted order, so every
//! run makes the same updates in the same order, and state goes into a checkpoint under the parameters' names. The
//! learning rate is an argument of each step: a schedule is a function, and nothing here remembers a rate.
//!
//! `VarMapHost` (feature `host`) is a ready host of `lrlab-callbacks` for a `VarMap`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod adam;
mod average;
mod build;
mod candle;
mod check;
mod grads;
mod groups;
#[cfg(feature = "host")]
mod kept;
mod optimizer;
mod sgd;
mod slots;
#[cfg(feature = "host")]
mod var_map_host;

pub use adam::Adam;
pub use average::WeightAverage;
pub use build::build;
pub use candle::CandleOptimizer;
pub use grads::{accumulate, clip_finite_grad_norm, clip_grad_norm};
pub use groups::{Group, Groups};
pub use lrlab_config::{AdamConfig, OptimizerConfig, SgdConfig};
pub use lrlab_schedulers::{Driver, Hyper};
pub use optimizer::Optimizer;
pub use sgd::Sgd;
#[cfg(feature = "host")]
pub use var_map_host::VarMapHost;

#[cfg(feature = "host")]
pub mod side_by_side {
    #![doc = include_str!("side_by_side.md")]
    #![doc = "```no_run"]
    #![doc = include_str!("../examples/mlp.rs")]
    #![doc = "```"]
}
