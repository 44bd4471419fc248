//! SGD, Adam and AdamW for candle with the rate as an argument, gradient clipping and accumulation, and weight averaging.
//!
//! An [`Optimizer`] updates the [`lrlab_kernels::Params`] of a model. Parameters are sorted by name, so every run makes the same
//! updates in the same order, and the tensors of the state are named after the parameters. The learning rate is an argument of
//! each step; optimizers do not store it.
//!
//! `VarMapHost` (feature `host`) is a host of `lrlab-callbacks` for a `VarMap`.

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
mod optimizer;
mod sgd;
mod slots;
#[cfg(feature = "host")]
mod snapshots;
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
