//! `ReduceLROnPlateau`, whose state is the rate itself.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::python::{maximum, raises};
use crate::{Error, Mode, ThresholdMode};

/// `plateau = { factor = 0.5, patience = 2 }`: `ReduceLROnPlateau`.
///
/// Unlike [`crate::Plateau`] it changes the rate itself, `lr ← max(lr · factor, min_lr)` if that lowers it by more
/// than `eps`, and its relative threshold is wrong for negative metrics.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Plateau {
    /// Which way is better; default `min`.
    pub mode: Mode,
    /// Factor of a cut, < 1; default 0.1.
    pub factor: f64,
    /// How many bad observations are put up with; default 10.
    pub patience: i64,
    /// How much better is better; default 1e-4.
    pub threshold: f64,
    /// Whether the threshold is a share of the best value; default `rel`.
    pub threshold_mode: ThresholdMode,
    /// Observations after a cut that are not counted; default 0.
    pub cooldown: i64,
    /// The lowest rate; default 0.
    pub min_lr: f64,
    /// Cuts of no more than this are not made; default 1e-8.
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

/// What [`Plateau`] remembers, the rate included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlateauState {
    /// The rate in force.
    pub lr: f64,
    /// The best metric so far; an infinity before the first.
    pub best: f64,
    /// Bad observations in a row.
    pub bad: i64,
    /// Observations still not to be counted.
    pub cooldown: i64,
}

impl Plateau {
    /// The state before the first observation.
    ///
    /// # Errors
    /// A factor of 1 or more.
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

    /// `step(metric)`: the rate in force afterwards is in the state.
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
