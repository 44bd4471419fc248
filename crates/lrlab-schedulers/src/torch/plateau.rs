//! `ReduceLROnPlateau`, whose state contains the rate.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::python::{maximum, raises};
use crate::{Error, Mode, ThresholdMode};

/// `plateau = { factor = 0.5, patience = 2 }`: `ReduceLROnPlateau`.
///
/// Unlike [`crate::Plateau`], it sets the rate to `max(lr · factor, min_lr)` if this lowers it by more than `eps`, and its
/// relative threshold is wrong for negative metrics.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Plateau {
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// Factor of a cut, < 1; default 0.1.
    pub factor: f64,
    /// Bad observations in a row that are tolerated; default 10.
    pub patience: i64,
    /// The improvement that a better observation exceeds; default 1e-4.
    pub threshold: f64,
    /// The unit of `threshold`; default `rel`.
    pub threshold_mode: ThresholdMode,
    /// Observations after a cut that do not count; default 0.
    pub cooldown: i64,
    /// The lowest rate; default 0.
    pub min_lr: f64,
    /// Cuts by at most this are not applied; default 1e-8.
    pub eps: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            mode: Mode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// The state of [`Plateau`], including the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlateauState {
    /// The rate in force.
    pub lr: f64,
    /// The best metric so far; infinite before the first.
    pub best: f64,
    /// Bad observations in a row.
    pub bad: i64,
    /// Remaining observations of the cooldown.
    pub cooldown: i64,
}

impl Plateau {
    /// Returns the state before the first observation.
    ///
    /// # Errors
    /// Returns an error if the factor is 1 or more.
    pub fn init(&self, lr: f64) -> Result<PlateauState, Error> {
        if self.factor >= 1.0 {
            return Err(raises("ValueError: expected below 1").under("plateau.factor"));
        }
        let best = match self.mode {
            Mode::Min => f64::INFINITY,
            Mode::Max => f64::NEG_INFINITY,
        };
        Ok(PlateauState { lr, best, bad: 0, cooldown: 0 })
    }

    /// `step(metric)`, which updates the rate in the state.
    pub fn step(&self, state: &mut PlateauState, metric: f64) {
        if self.is_better(metric, state.best) {
            state.best = metric;
            state.bad = 0;
        } else {
            state.bad += 1;
        }
        if state.cooldown > 0 {
            state.cooldown -= 1;
            state.bad = 0;
        }
        if state.bad > self.patience {
            let lr = maximum(state.lr * self.factor, self.min_lr);
            if state.lr - lr > self.eps {
                state.lr = lr;
            }
            state.cooldown = self.cooldown;
            state.bad = 0;
        }
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        match (self.mode, self.threshold_mode) {
            (Mode::Min, ThresholdMode::Rel) => metric < best * (1.0 - self.threshold),
            (Mode::Min, ThresholdMode::Abs) => metric < best - self.threshold,
            (Mode::Max, ThresholdMode::Rel) => metric > best * (self.threshold + 1.0),
            (Mode::Max, ThresholdMode::Abs) => metric > best + self.threshold,
        }
    }
}
