//! The trait of metric-driven controllers.

#[cfg(feature = "serde")]
use serde::{Serialize, de::DeserializeOwned};

/// An observation of the monitored metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The metric.
    pub value: f64,
    /// Its standard error, if known.
    pub stderr: Option<f64>,
}

/// The decision of a controller with its reason, such as "cut × 0.5: 3 bad > patience 2, best 0.431 at observation 4".
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing changes.
    Keep,
    /// The controller's gain becomes `gain`. The rate is `schedule × product of gains`.
    Gain {
        /// The new gain, > 0.
        gain: f64,
        /// The reason.
        reason: String,
    },
    /// Weights and optimizer return to the best state so far, and the gain becomes `gain`.
    Rewind {
        /// The new gain, > 0.
        gain: f64,
        /// The reason.
        reason: String,
    },
    /// A trial from the current state: the host trains `updates` updates at `gain`, observes the metric, restores the
    /// state and passes the observation to [`Controller::tried`], which returns the next decision.
    Try {
        /// The gain to try, > 0.
        gain: f64,
        /// The number of updates.
        updates: u64,
        /// The number of the trial.
        reason: String,
    },
    /// Training ends.
    Stop {
        /// The reason.
        reason: String,
    },
}

/// The state of a controller, which can be compared and, with the feature `serde`, saved.
#[cfg(feature = "serde")]
pub trait ControllerState: Clone + PartialEq + Serialize + DeserializeOwned {}
#[cfg(feature = "serde")]
impl<S: Clone + PartialEq + Serialize + DeserializeOwned> ControllerState for S {}

/// The state of a controller, which can be compared and, with the feature `serde`, saved.
#[cfg(not(feature = "serde"))]
pub trait ControllerState: Clone + PartialEq {}
#[cfg(not(feature = "serde"))]
impl<S: Clone + PartialEq> ControllerState for S {}

/// A controller: the configuration is `self`, and the state is a separate value.
pub trait Controller {
    /// The state.
    type State: ControllerState;

    /// Returns the state before the first observation.
    fn init(&self) -> Self::State;

    /// Processes an observation and decides.
    fn observe(&self, state: &mut Self::State, seen: &Observation) -> Decision;

    /// Processes the observation of a trial and decides. A host without trials never calls it.
    fn tried(&self, _state: &mut Self::State, _seen: &Observation) -> Decision {
        Decision::Keep
    }
}
