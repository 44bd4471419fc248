//! Learning-rate schedules as pure functions of time, and metric-driven controllers.
//!
//! The crate separates three things that training libraries often combine:
//!
//! - A [`Schedule`] is a pure function from base rate and [`Time`] to rate. It holds no optimizer and has no state
//!   to save; the rate at any time can be computed in any order. The same function drives momentum or weight decay.
//! - A [`Controller`] observes a metric and decides on a *gain*, which multiplies the rate of the schedule. Its
//!   configuration never changes; its state is a value that can be saved.
//! - The training loop applies both: `lr = clamp(schedule.lr(base, t) × product of gains)`.
//!
//! Schedules and controllers exist as data ([`ScheduleSpec`], [`ControllerSpec`]), externally tagged (`cosine = { … }`),
//! with lengths that include their unit ([`Span`]). Building resolves the lengths for a run ([`Horizon`]). An invalid value
//! is an [`Error`] that names its keys. Nothing in this crate panics, and no accepted value gives a rate that is NaN or
//! infinite for a finite base rate.
//!
//! ```
//! use lrlab_schedulers::{ControllerSpec, Decision, Horizon, Observation, ScheduleSpec};
//!
//! let run = Horizon { updates: 60, updates_per_epoch: 10 };
//! let schedule = ScheduleSpec::parse("warmup = { over = '1 epoch', then = { cosine = {} } }")?.build(&run)?;
//! let mut plateau = ControllerSpec::parse("plateau = { factor = 0.5, patience = 1 }")?.build()?;
//! let mut gain = 1.0;
//! for update in 0..run.updates {
//!     let lr = schedule.lr(0.1, run.at(update)) * gain;
//!     assert!((0.0..=0.1).contains(&lr)); // … the optimizer's step, with this rate …
//!     if (update + 1) % run.updates_per_epoch == 0 {
//!         let validation_loss = 0.5;
//!         if let Decision::Gain { gain: new, reason } = plateau.observe(&Observation { value: validation_loss, stderr: None }) {
//!             assert_eq!(reason, "cut × 0.5: 2 bad > patience 1, best 0.5 at observation 1");
//!             gain = new;
//!         }
//!     }
//! }
//! assert_eq!(gain, 0.25);
//! # Ok::<(), lrlab_schedulers::Error>(())
//! ```
//!
//! # Conventions
//!
//! - Time is the 0-based index of the next update. A run of T updates uses times 0 … T − 1, so the value of a schedule
//!   at T is not applied.
//! - After its end, a schedule holds its last value, unless its documentation states otherwise.
//! - Percentages refer to the part of the run that a schedule covers: after a warm-up, to the rest of the run.
//! - The base rate is an argument, so parameter groups with different base rates share one schedule: a reference or an
//!   [`Arc`](std::sync::Arc) is a schedule too.
//!
//! # Where to look
//!
//! - a schedule as data: [`ScheduleSpec`], whose variants' documentation has each formula, its units and its source;
//! - a schedule in code: [`Compose`] (combinators), [`lambda`], by name [`Lambdas`], [`multiplicative`], [`recursive`],
//!   [`CyclicSpec::with_peaks`]; from gradient norms: [`refined`];
//! - a controller: [`ControllerSpec`], with one type per rule ([`Plateau`], [`NoiseAwarePlateau`], [`Greedy`],
//!   [`NewBob`], [`BoldDriver`], [`AutoLrs`], [`Scripted`]);
//! - use in a training loop: [`Rates`] for one optimizer, [`Driver`] for parameter groups and other hyperparameters, with
//!   any library, for example candle-nn (`examples/candle_nn.rs`);
//! - tools: [`trace`], [`replay`], [`replay_scheduled`] and [`decisions`] for text, [`EXAMPLES`], [`lint`], [`plot_svg`],
//!   [`plot_text`];
//! - comparison with other libraries: [`comparison`].
//!
//! # Features
//!
//! All are enabled by default. Without them, the schedules and controllers depend only on `libm` and `thiserror` outside
//! this project.
//!
//! - `serde`: reading and writing of specifications and of the states of controllers.
//! - `schemars`: JSON schemas of the specifications.
//! - `toml`: schedules and controllers from a line of text (`ScheduleSpec::parse`, [`trace`], [`replay`], [`decisions`]).
//!
//! # Coming from PyTorch, Keras, timm, transformers or Optax
//!
//! Names and parameters are those of `torch.optim.lr_scheduler` in snake case without `LR`; lengths need a unit.
//! Sequences and chains nest, `cosine` does not rise again past its end, restarts are found without rounding, a
//! plateau composes with every schedule and is right for negative metrics. The [`torch`] module has PyTorch's own
//! behaviour, to the bit. [`keras`], [`timm`], [`transformers`] and [`optax`] have constructors where those differ.

#![cfg_attr(
    not(feature = "serde"),
    allow(dead_code, unused_imports, reason = "only deserialization uses these defaults")
)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "references may call the system's functions"))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod algebra;
mod bind;
mod check;
pub mod comparison {
    #![doc = include_str!("comparison.md")]
}
mod controlled;
mod controller;
mod controllers;
mod conventions;
mod drive;
mod error;
mod examples;
mod lambda;
mod lint;
#[cfg(feature = "toml")]
mod parse;
mod plot;
mod refined;
mod registered;
mod schedule;
mod schedules;
mod span;
mod spec;
#[cfg(feature = "toml")]
mod text;
mod time;
pub mod torch;

pub use algebra::{Above, Clamp, Compose, Delay, Max, Min, Over, Plus, Repeat, Scale, Then};
pub use controlled::{AnyController, Controlled};
pub use controller::{Controller, Decision, Observation};
pub use controllers::*;
pub use conventions::{keras, optax, timm, transformers};
pub use drive::{Driver, Hyper, Rates};
pub use error::{Error, Problem};
pub use examples::EXAMPLES;
pub use lambda::{Factor, Lambda, Recursive, fixed, lambda, multiplicative, recursive};
pub use lint::{Finding, lint};
pub use plot::{Curve, plot_dots, plot_line, plot_svg, plot_text};
pub use refined::refined;
pub use registered::{LambdaSpec, Lambdas};
pub use schedule::{Mark, MarkKind, Schedule};
pub use schedules::*;
pub use span::{Span, SpanError};
pub use spec::{
    ChainedSpec, ClampSpec, DelaySpec, FloorSpec, MaxSpec, MinSpec, NoiseKind, NoiseSpec, RepeatSpec,
    ScaleSpec, ScheduleSpec, SequentialSpec, StaircaseSpec, SumSpec, SwaSpec, WarmupClock, WarmupShape,
    WarmupSpec,
};
#[cfg(feature = "toml")]
pub use text::{Compat, decisions, replay, replay_scheduled, replay_under, trace};
pub use time::{Every, Horizon, Time};
