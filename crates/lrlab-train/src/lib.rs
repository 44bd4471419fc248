//! The training loop, written out in one function.
//!
//! [`fit()`] reads like the algorithm: for each epoch, for each window of batches, the rate is computed, the
//! gradient is accumulated, clipped and applied; after each epoch the validation split is evaluated; callbacks
//! watch in fixed phases and return actions, which the loop's [`Session`](lrlab_callbacks::Session) carries out. The rate in
//! force is
//!
//! ```text
//! lr = clamp(schedule(base, t) × product of the callbacks' gains, lr_min, lr_max)
//! ```
//!
//! computed once per update, before it, at `t.update` (0-based) and `t.epoch = update / updates_per_epoch`.
//! A run of T updates uses the times 0 … T − 1; a decision holds from the next update.
//!
//! [`fit_from`] goes on from a [`State`], taken between any two updates by a [`Keeper`], and ends with the bits of a run
//! that was never interrupted.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a reference may call the system's functions"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod error;
mod evaluate;
mod fit;
mod fitted;
mod host;
mod keeper;
mod pass;
mod probe;
mod run;
mod running;
mod scores;
mod settings;
mod state;
mod sweep;
mod trainer;

pub use error::Error;
pub use evaluate::{evaluate, outcomes};
pub use fit::{Fit, fit, fit_from};
pub use fitted::{Fitted, Stop};
pub use keeper::{Keeper, Position, Wish};
pub use pass::{DeviceBatches, DeviceData};
pub use probe::probe;
pub use scores::{Outcome, Scores};
pub use settings::Settings;
pub use state::State;
pub use sweep::sweep;
