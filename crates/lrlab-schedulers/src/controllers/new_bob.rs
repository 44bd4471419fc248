//! Cuts the rate when the metric hardly improves on the previous one.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Mode, OnNan, check_cut, cut};
use crate::{Controller, Decision, Error, Observation, check};

/// `new_bob = { factor = 0.5, threshold = 0.0025 }`: compares with the previous observation instead of the best one.
///
/// The improvement of `m` on the previous observation `p` is `(p − m) / |p|` (`mode = "min"`) or `(m − p) / |p|`, and 0 if
/// they are equal, also at 0. After `patience` improvements below `threshold`, the next one multiplies the gain by `factor`.
/// Therefore the descent after a spike does not count as a plateau. Source: `QuickNet`'s newbob, as in `SpeechBrain`'s `NewBobScheduler`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct NewBob {
    /// Factor of a cut, 0 < x < 1; default 0.5.
    pub factor: f64,
    /// The smallest sufficient relative improvement, 0 … 1e30; default 0.0025.
    pub threshold: f64,
    /// Insufficient improvements that are tolerated before each cut; default 0.
    pub patience: u64,
    /// The direction of improvement; default `min`.
    pub mode: Mode,
    /// The lowest gain, 0 … 1; default 0.
    pub min_gain: f64,
    /// The effect of a NaN or infinite metric; default `count_as_bad`.
    pub on_nan: OnNan,
}

impl Default for NewBob {
    fn default() -> Self {
        Self {
            factor: 0.5,
            threshold: 0.0025,
            patience: 0,
            mode: Mode::Min,
            min_gain: 0.0,
            on_nan: OnNan::CountAsBad,
        }
    }
}

/// The state of [`NewBob`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NewBobState {
    /// The current gain.
    pub gain: f64,
    /// The previous observation.
    pub previous: Option<f64>,
    /// Insufficient observations since the last cut.
    pub used: u64,
}

impl NewBob {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_cut("factor", self.factor)?;
        check::rate("threshold", self.threshold)?;
        check::unit("min_gain", self.min_gain)
    }
}

impl Controller for NewBob {
    type State = NewBobState;

    fn init(&self) -> NewBobState {
        NewBobState { gain: 1.0, previous: None, used: 0 }
    }

    fn observe(&self, state: &mut NewBobState, seen: &Observation) -> Decision {
        let value = seen.value;
        let words = if value.is_finite() {
            let Some(previous) = state.previous.replace(value) else { return Decision::Keep };
            let gained = match self.mode {
                Mode::Min => previous - value,
                Mode::Max => value - previous,
            };
            // The product may be 0: for a `previous` of 0, or by rounding.
            let enough = gained >= self.threshold * previous.abs() && (gained > 0.0 || self.threshold == 0.0);
            if enough {
                return Decision::Keep;
            }
            format!("improvement of {gained} on {previous} is below {} of it", self.threshold)
        } else {
            match self.on_nan {
                OnNan::Stop => return Decision::Stop { reason: format!("the metric is {value}") },
                OnNan::Ignore => return Decision::Keep,
                OnNan::Rewind | OnNan::CountAsBad => format!("the metric is {value}"),
            }
        };
        let rewind = !value.is_finite() && self.on_nan == OnNan::Rewind;
        if state.used < self.patience && !rewind {
            state.used += 1;
            return Decision::Keep;
        }
        state.used = 0;
        let gain = cut(state.gain, self.factor, self.min_gain);
        let reason = format!("cut × {}: {words}", gain / state.gain);
        if rewind {
            state.gain = gain;
            return Decision::Rewind { gain, reason };
        }
        if gain >= state.gain {
            return Decision::Keep;
        }
        state.gain = gain;
        Decision::Gain { gain, reason }
    }
}
