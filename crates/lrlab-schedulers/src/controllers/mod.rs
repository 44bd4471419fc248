//! The controllers, one per file. Each type is the configuration; the state is a separate type.

mod auto_lrs;
mod bold_driver;
mod gaussian;
mod greedy;
mod new_bob;
mod noise_aware;
mod plateau;
mod scripted;
mod spec;

pub use auto_lrs::{AutoLrs, AutoLrsState, Trial};
pub use bold_driver::{BoldDriver, BoldDriverState};
pub use greedy::{Greedy, GreedyState, ResetRule};
pub use new_bob::{NewBob, NewBobState};
pub use noise_aware::{NoiseAwarePlateau, NoiseAwarePlateauState};
pub use plateau::{Mode, OnNan, PatienceRule, Plateau, PlateauState, ThresholdMode};
pub use scripted::{Scripted, ScriptedState};
pub use spec::ControllerSpec;

use crate::{Error, check};

/// Checks the factor of a cut: 0 < x < 1.
fn check_cut(field: &str, x: f64) -> Result<(), Error> {
    check::range(field, x, x > 0.0 && x < 1.0, "a number above 0 and below 1")
}

/// Checks the bounds of a gain: `min_gain` 0 … 1, `max_gain` 1 … 1e30.
fn check_bounds(min_gain: f64, max_gain: f64) -> Result<(), Error> {
    check::unit("min_gain", min_gain)?;
    check::range("max_gain", max_gain, (1.0..=check::MAX).contains(&max_gain), "a number from 1 to 1e30")
}

/// Appends a value and keeps the last `most`. A state that was saved with a larger limit may hold more.
fn push_last<T>(values: &mut Vec<T>, value: T, most: u32) {
    values.push(value);
    values.drain(..values.len().saturating_sub(most as usize));
}

/// Returns the gain after a cut, which is above 0.
fn cut(gain: f64, factor: f64, min_gain: f64) -> f64 {
    (gain * factor).max(min_gain).max(f64::MIN_POSITIVE)
}
