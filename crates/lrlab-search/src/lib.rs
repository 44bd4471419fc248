//! Which points of a space are tried, how far each trial is trained, and who wins.
//!
//! [`draw`] and [`grid`] pick points of [`Space`]s; [`arms`] finds the trials among a plan's runs; [`judge`] says of an
//! arm, from what is known of its trials so far, what is due next, who is out, and who won. All of them are pure:
//! nothing about a search is stored besides the runs themselves, and it does not matter in which order runs end.
//!
//! The method is synchronous successive halving (Jamieson and Talwalkar, AISTATS 2016): at each rung every trial is
//! trained equally long before any is judged. A search over a whole grid, or over random points (Bergstra and Bengio,
//! JMLR 2012), is one without rungs.

mod arm;
mod judge;
mod space;

pub use arm::{Arm, TRIAL, Trial, arms};
pub use judge::{Due, Record, Score, Stage, Standing, Verdict, judge};
pub use space::{Space, draw, grid};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
