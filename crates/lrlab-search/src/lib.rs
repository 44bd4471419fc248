//! Hyperparameter search: selects points of the search space, the training length of each trial, and the winner.
//!
//! [`draw`] and [`grid`] pick points of [`Space`]s; [`arms`] finds the trials among a plan's runs; [`judge`] derives from
//! the records of an arm's trials which runs are due, which trials are eliminated, and which one won. All of them are
//! pure functions: a search stores nothing besides its runs, and the order in which runs end does not matter.
//!
//! The method is synchronous successive halving (Jamieson and Talwalkar, AISTATS 2016): at each rung, all trials are
//! trained for the same number of epochs before they are judged. Grid search and random search (Bergstra and Bengio, JMLR 2012) are searches
//! without rungs.

mod arm;
mod error;
mod judge;
mod metric;
mod range;
mod space;

pub use arm::{Arm, TRIAL, Trial, arms};
pub use error::Error;
pub use judge::{Due, Record, Score, Stage, TrialStatus, Verdict, judge};
pub use space::{Space, draw, grid, points};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
