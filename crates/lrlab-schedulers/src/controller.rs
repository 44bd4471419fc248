//! The trait every metric-driven controller implements.

#[cfg(feature = "serde")]
use serde::{Serialize, de::DeserializeOwned};

/// One look at the monitored metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The metric.
    pub value: f64,
    /// Its standard error, where known.
    pub stderr: Option<f64>,
}

/// What a controller decided, with its reason in words ("cut × 0.5: 3 bad > patience 2, best 0.431 at 4").
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing changes.
    Keep,
    /// The controller's gain becomes `gain`: the rate in force is `schedule × product of gains`.
    Gain {
        /// The new gain, > 0.
        gain: f64,
        /// Why.
        reason: String,
    },
    /// Weights and optimizer go back to the best state so far, then the gain applies.
    Rewind {
        /// The new gain, > 0.
        gain: f64,
        /// Why.
        reason: String,
    },
    /// A trial from here: train `updates` updates at `gain`, observe, come back, and tell
    /// [`Controller::tried`] what was seen, which decides anew. Nothing else changes.
    Try {
        /// The gain to try, > 0.
        gain: f64,
        /// How many updates.
        updates: u64,
        /// Which trial it is.
        reason: String,
    },
    /// Training ends.
    Stop {
        /// Why.
        reason: String,
    },
}

/// What a controller remembers: a value that can be compared and, with the feature `serde`, saved.
#[cfg(feature = "serde")]
pub trait ControllerState: Clone + PartialEq + Serialize + DeserializeOwned {}
#[cfg(feature = "serde")]
impl<S: Clone + PartialEq + Serialize + DeserializeOwned> ControllerState for S {}

/// What a controller remembers: a value that can be compared and, with the feature `serde`, saved.
#[cfg(not(feature = "serde"))]
pub trait ControllerState: Clone + PartialEq {}
#[cfg(not(feature = "serde"))]
impl<S: Clone + PartialEq> ControllerState for S {}

/// A controller: configuration in `self`, state a value that can be saved.
pub trait Controller {
    /// Everything the controller remembers.
    type State: ControllerState;

    /// The state before the first observation.
    fn init(&self) -> Self::State;

    /// Takes in one observation and decides.
    fn observe(&self, state: &mut Self::State, seen: &Observation) -> Decision;

    /// Takes in what the trial it asked for came to, and decides. A host that cannot try leaves it uncalled.
    fn tried(&self, _state: &mut Self::State, _seen: &Observation) -> Decision {
        Decision::Keep
    }
}
