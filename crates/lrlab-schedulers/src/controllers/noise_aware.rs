//! A plateau rule that knows how noisy the metric is.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Mode, OnNan, Plateau, PlateauState};
use crate::{Controller, Decision, Error, Observation, check};

/// `noise_aware_plateau = { z = 1.0, patience = 2 }`: an improvement counts if it exceeds the noise.
///
/// An observation `m` with standard error `s` is better than the best one `b` with standard error `s_b` if it beats
/// it by more than `z · √(s² + s_b²)`. Many small improvements add up: the best stays where it is until one of them
/// stands out from it. Otherwise as [`Plateau`], with PyTorch's patience rule. An observation without a standard
/// error counts as exact.
///
/// The two errors are taken as independent. Losses of one validation set are not, so `z` is conservative.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NoiseAwarePlateau {
    /// How many standard errors an improvement has to exceed, 0 … 1e30; default 1.
    pub z: f64,
    /// What a cut multiplies the gain by, 0 < x < 1; default 0.1.
    pub factor: f64,
    /// How many bad observations are put up with; default 10.
    pub patience: u64,
    /// Which way is better; default `min`.
    pub mode: Mode,
    /// Observations after a cut that are not counted; default 0.
    pub cooldown: u64,
    /// The gain never falls below this, 0 … 1; default 0.
    pub min_gain: f64,
    /// What a NaN or infinite metric does; default `count_as_bad`.
    pub on_nan: OnNan,
    /// Whether a cut takes weights and optimizer back to the best state; default false.
    pub rewind: bool,
}

impl Default for NoiseAwarePlateau {
    fn default() -> Self {
        let Plateau { factor, patience, mode, cooldown, min_gain, on_nan, rewind, .. } = Plateau::default();
        Self { z: 1.0, factor, patience, mode, cooldown, min_gain, on_nan, rewind }
    }
}

/// What [`NoiseAwarePlateau`] remembers.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NoiseAwarePlateauState {
    /// Gain, best metric and counters.
    pub plateau: PlateauState,
    /// Standard error of the best metric.
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
