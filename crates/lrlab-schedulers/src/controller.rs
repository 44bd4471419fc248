//! The trait of metric-driven controllers.

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

/// A controller: the configuration is `self`, and the state is a separate value.
pub trait Controller {
    /// The state, which can be copied and compared. [`Controlled`](crate::Controlled) states which ones can be saved.
    type State: Clone + PartialEq;

    /// Returns the state before the first observation.
    fn init(&self) -> Self::State;

    /// Processes an observation and decides.
    fn observe(&self, state: &mut Self::State, seen: &Observation) -> Decision;

    /// Processes the observation of a trial and decides. A host without trials never calls it.
    fn tried(&self, _state: &mut Self::State, _seen: &Observation) -> Decision {
        Decision::Keep
    }
}
