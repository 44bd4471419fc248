//! A plateau rule that accounts for the noise of the metric.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Mode, OnNan, Plateau, PlateauState};
use crate::{Controller, Decision, Error, Observation, check};

/// `noise_aware_plateau = { z = 1.0, patience = 2 }`: an improvement counts if it exceeds the noise.
///
/// An observation `m` with standard error `s` is better than the best one `b` with standard error `s_b` if it improves on it
/// by more than `z · √(s² + s_b²)`. Small improvements add up, because the best one does not change until an observation
/// exceeds it by this margin. Everything else is as in [`Plateau`] with PyTorch's patience rule. An observation without a
/// standard error counts as exact.
///
/// The rule treats the two errors as independent. Losses on the same validation set are correlated, so `z` is conservative.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NoiseAwarePlateau {
    /// The required improvement in standard errors, 0 … 1e30; default 1.
    pub z: f64,
    /// Factor of a cut, 0 < x < 1; default 0.1.
    pub factor: f64,
    /// Bad observations in a row that are tolerated; default 10.
    pub patience: u64,
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// Observations after a cut that do not count; default 0.
    pub cooldown: u64,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The effect of a NaN or infinite metric; default `count_as_bad`.
    pub on_nan: OnNan,
    /// Whether a cut restores weights and optimizer to the best state; default false.
    pub rewind: bool,
}

impl Default for NoiseAwarePlateau {
    fn default() -> Self {
        let Plateau { factor, patience, mode, cooldown, min_gain, on_nan, rewind, .. } = Plateau::default();
        Self { z: 1.0, factor, patience, mode, cooldown, min_gain, on_nan, rewind }
    }
}

/// The state of [`NoiseAwarePlateau`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NoiseAwarePlateauState {
    /// Gain, best metric and counters.
    pub plateau: PlateauState,
    /// The standard error of the best metric.
    pub best_stderr: f64,
}

impl NoiseAwarePlateau {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check::rate("z", self.z)?;
        self.plateau().check()
    }

    fn plateau(&self) -> Plateau {
        let Self { factor, patience, mode, cooldown, min_gain, on_nan, rewind, .. } = *self;
        Plateau { factor, patience, mode, cooldown, min_gain, on_nan, rewind, ..Plateau::default() }
    }
}

impl Controller for NoiseAwarePlateau {
    type State = NoiseAwarePlateauState;

    fn init(&self) -> NoiseAwarePlateauState {
        NoiseAwarePlateauState { plateau: self.plateau().init(), best_stderr: 0.0 }
    }

    fn observe(&self, state: &mut NoiseAwarePlateauState, seen: &Observation) -> Decision {
        let stderr = seen.stderr.filter(|stderr| stderr.is_finite()).map_or(0.0, f64::abs);
        let margin = check::saturate(self.z * libm::hypot(stderr, state.best_stderr));
        let decision = self
            .plateau()
            .decide(&mut state.plateau, seen.value, |best| self.mode.beats(seen.value, best, margin));
        if state.plateau.best.is_some_and(|(_, at)| at == state.plateau.seen) {
            state.best_stderr = stderr;
        }
        decision
    }
}
