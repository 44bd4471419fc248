//! `PyTorch`'s schedulers to the bit: recursive forms, stepping, side effects and all.
//!
//! The closed forms of this crate are better behaved; this module is for those who compare with `PyTorch` or
//! move over from it. A [`Scheduler`] is what `torch.optim.lr_scheduler` builds on an optimizer with one
//! parameter [`Group`]: making one changes the group's rate at once, [`Scheduler::step`] changes it again, and
//! several on one group see each other's changes, as there. Lengths are bare numbers of steps.
//!
//! Follows torch 2.11.0, `torch/optim/lr_scheduler.py`, in its order of operations. Bits are equal where the
//! mathematical library is glibc's, as `CPython`'s are; elsewhere up to 4 units in the last place differ per step.
//! Where `PyTorch` raises, an [`Error`](crate::Error) is returned and no rate; so too where it would go on with a
//! rate that is no real number.
//!
//! Up to 2.15 one thing has changed: a sequence whose first milestone is 0 begins with its second scheduler there, with
//! its first here. A whole number where Python wants a float (`pct_start = 1`) is taken for one.
//! `tests/torch_random.py check` compares fresh random cases of the command line with an installed `PyTorch`.
//!
//! ```
//! use lrlab_schedulers::torch;
//! let spec = torch::Spec::parse("cosine = { T_max = 50, eta_min = 1e-5 }")?;
//! let rates = torch::trace(&spec, 0.1, 3)?;
//! assert_eq!(rates, [0.1, 0.09990134628777145, 0.09960577449221733]);
//! # Ok::<(), lrlab_schedulers::Error>(())
//! ```

#![allow(clippy::disallowed_methods, reason = "the system's functions, as PyTorch calls them")]

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
