//! Raises the rate after each improvement; cuts it and restores the best state otherwise.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Mode, check_bounds, check_cut, cut};
use crate::{Controller, Decision, Error, Observation, check};

/// `bold_driver = { up = 1.05, down = 0.5 }`: multiplies the gain by `up` after a better observation. After a worse one, it
/// multiplies the gain by `down` and restores weights and optimizer to the best state.
///
/// Observations are compared with the last one that was not undone. A NaN or infinite observation is worse.
/// Source: Vogl et al., Biological Cybernetics 59, 1988; Battiti, Complex Systems 3, 1989.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct BoldDriver {
    /// Factor after a better observation, 1 … 1e30; default 1.05.
    pub up: f64,
    /// Factor after a worse observation, 0 < x < 1; default 0.5.
    pub down: f64,
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The highest gain, 1 … 1e30; default 10.
    pub max_gain: f64,
    /// Whether to restore the best state after a worse observation; default true.
    pub rewind: bool,
}

impl Default for BoldDriver {
    fn default() -> Self {
        Self { up: 1.05, down: 0.5, mode: Mode::Min, min_gain: 0.0, max_gain: 10.0, rewind: true }
    }
}

/// The state of [`BoldDriver`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct BoldDriverState {
    /// The current gain.
    pub gain: f64,
    /// The last observation that was not undone.
    pub last: Option<f64>,
}

impl BoldDriver {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check::range("up", self.up, (1.0..=check::MAX).contains(&self.up), "a number from 1 to 1e30")?;
        check_cut("down", self.down)?;
        check_bounds(self.min_gain, self.max_gain)
    }
}

impl Controller for BoldDriver {
    type State = BoldDriverState;

    fn init(&self) -> BoldDriverState {
        BoldDriverState { gain: 1.0, last: None }
    }

    fn observe(&self, state: &mut BoldDriverState, seen: &Observation) -> Decision {
        let value = seen.value;
        if value.is_finite() {
            let Some(last) = state.last else {
                state.last = Some(value);
                return Decision::Keep;
            };
            if !self.mode.beats(last, value, 0.0) {
                state.last = Some(value);
                let gain = (state.gain * self.up).min(self.max_gain);
                if value == last || gain <= state.gain {
                    return Decision::Keep;
                }
                let reason = format!("raise × {}: {value} is better than {last}", gain / state.gain);
                state.gain = gain;
                return Decision::Gain { gain, reason };
            }
        }
        let gain = cut(state.gain, self.down, self.min_gain);
        let last = state.last.map_or_else(|| "nothing".to_owned(), |last| last.to_string());
        let reason = format!("cut × {}: {value} is worse than {last}", gain / state.gain);
        if self.rewind {
            state.gain = gain;
            return Decision::Rewind { gain, reason };
        }
        if value.is_finite() {
            state.last = Some(value);
        }
        if gain >= state.gain {
            return Decision::Keep;
        }
        state.gain = gain;
        Decision::Gain { gain, reason }
    }
}
