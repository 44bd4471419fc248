//! The lab for learning-rate schedules: builds training from specifications, and provides the command line and the
//! registry of models and data sets.
//!
//! A runner with additional models or data sets is a small crate that registers them and calls [`cli`]; `cargo xtask
//! run-grid --runner PATH` uses it:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     let mut registry = lrlab::Registry::default();
//!     registry.model("my_model", |options, context| {
//!         let _ = (options, context.classes, context.seed);
//!         anyhow::bail!("not implemented: build an lrlab_models::Model")
//!     });
//!     lrlab::cli(&registry)
//! }
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod assemble;
mod bench;
mod checkpointer;
mod cli;
mod color;
mod commands;
mod device;
mod exit;
mod kit;
mod log;
mod program;
mod progress;
mod provenance;
mod registry;
mod reporter;

pub use cli::cli;
pub use exit::Exit;
pub use lrlab_options::{CheckpointEvery, DeviceChoice};
pub use registry::{ModelContext, Registration, Registry};
