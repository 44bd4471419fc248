//! The training loop, written out in one function.
//!
//! [`fit()`] reads like the algorithm: for each epoch and each window of batches, it computes the rate, and accumulates, clips
//! and applies the gradient; after each epoch it evaluates the validation split. Callbacks run in fixed phases and return
//! actions, which the [`Session`](lrlab_callbacks::Session) of the loop carries out. The learning rate is
//!
//! ```text
//! lr = clamp(schedule(base, t) × product of the callbacks' gains, lr_min, lr_max)
//! ```
//!
//! computed once before each update, at `t.update` (0-based) and `t.epoch = update / updates_per_epoch`. A run of T updates
//! uses the times 0 … T − 1; a decision takes effect at the next update.
//!
//! [`fit_from`] resumes from a [`State`], which a [`CheckpointPolicy`] saved between two updates, and gives the same bits as a
//! run without interruption.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "references may call the system's functions"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch_source;
mod checkpoint;
mod error;
mod evaluate;
mod fit;
mod fitted;
mod host;
mod probe;
mod run;
mod running_metrics;
mod scores;
mod settings;
mod state;
mod sweep;
mod trainer;

pub use batch_source::{DeviceBatches, DeviceData};
pub use checkpoint::{CheckpointAction, CheckpointPolicy, Position};
pub use error::Error;
pub use evaluate::{evaluate, predictions};
pub use fit::{Fit, fit, fit_from};
pub use fitted::{Fitted, Stop};
pub use probe::probe;
pub use scores::{Prediction, Scores};
pub use settings::Settings;
pub use state::State;
pub use sweep::sweep;
