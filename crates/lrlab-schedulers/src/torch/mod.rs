//! The schedulers of `PyTorch`, bit for bit, including their recursive forms and side effects.
//!
//! This module is for comparison with `PyTorch` and for migration from it; otherwise, prefer the closed forms of this crate. A
//! [`Scheduler`] corresponds to a scheduler of `torch.optim.lr_scheduler` on an optimizer with one parameter [`Group`]. As in
//! `PyTorch`, creating it changes the rate of the group, [`Scheduler::step`] changes it again, and several schedulers on one
//! group affect each other. Lengths are numbers of steps.
//!
//! The order of operations is that of torch 2.11.0, `torch/optim/lr_scheduler.py`. Bits are equal with the mathematical
//! library of glibc, which `CPython` uses; with other libraries, the difference is at most 4 units in the last place per step.
//! Where `PyTorch` raises an exception, or continues with a complex rate, the functions return an [`Error`](crate::Error).
//!
//! Up to version 2.15 there is one difference: a sequence whose first milestone is 0 starts with its second scheduler in
//! `PyTorch` and with its first here. Integers are accepted where Python expects a float (`pct_start = 1`).
//! `tests/torch_random.py check` compares new random cases with an installed `PyTorch`.
//!
//! ```
//! use lrlab_schedulers::torch;
//! let spec = torch::Spec::parse("cosine = { T_max = 50, eta_min = 1e-5 }")?;
//! let rates = torch::trace(&spec, 0.1, 3)?;
//! assert_eq!(rates, [0.1, 0.09990134628777145, 0.09960577449221733]);
//! # Ok::<(), lrlab_schedulers::Error>(())
//! ```

#![allow(clippy::disallowed_methods, reason = "PyTorch calls the system's functions")]

mod group;
mod plateau;
mod python;
mod rule;
mod scheduler;
mod spec;

pub use group::Group;
pub use plateau::{Plateau, PlateauState};
pub use scheduler::{Scheduler, trace};
pub use spec::*;
