//! A controller with its state, as a trait object.

use std::fmt::Debug;

#[cfg(feature = "serde")]
use serde::{
    Serialize,
    de::{DeserializeOwned, Error},
};

use crate::{Controller, Decision, Observation};

/// A controller of any type with its state.
///
/// ```
/// use lrlab_schedulers::{ControllerSpec, Decision, Observation, Plateau};
/// let spec = ControllerSpec::from(Plateau { factor: 0.5, patience: 1, ..Plateau::default() });
/// let mut controller = spec.build()?;
/// for value in [0.431, 0.44, 0.45] {
///     if let Decision::Gain { gain, reason } = controller.observe(&Observation { value, stderr: None }) {
///         assert_eq!(gain, 0.5);
///         assert_eq!(reason, "cut × 0.5: 2 bad > patience 1, best 0.431 at observation 1");
///     }
/// }
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
pub trait AnyController: Debug + Send {
    /// Processes an observation and decides.
    fn observe(&mut self, seen: &Observation) -> Decision;

    /// Processes the observation of the trial that [`Decision::Try`] requested, and decides.
    fn tried(&mut self, seen: &Observation) -> Decision;

    /// Returns the state for a checkpoint, without the configuration. The default is null: the state is not saved.
    #[cfg(feature = "serde")]
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Restores a state that [`AnyController::state`] returned. The configuration does not change.
    ///
    /// # Errors
    /// Returns an error, and keeps its own state, if the state belongs to another kind of controller. The default always does.
    #[cfg(feature = "serde")]
    fn restore(&mut self, _state: serde_json::Value) -> Result<(), serde_json::Error> {
        Err(serde_json::Error::custom(format!("{self:?} does not save its state")))
    }
}

/// A [`Controller`] with its state.
///
/// With the feature `serde`, it is an [`AnyController`] if serde can write and read the state. Without the feature, it is one
/// for the controllers of this crate only; others implement [`AnyController`] themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled<C: Controller> {
    controller: C,
    state: C::State,
}

impl<C: Controller> Controlled<C> {
    /// Creates a controller with its initial state.
    #[must_use]
    pub fn new(controller: C) -> Self {
        let state = controller.init();
        Self { controller, state }
    }
}

/// A state that [`Controlled`] can save. Without `serde` these are the states of this crate only, so that the feature adds
/// implementations and removes none.
#[cfg(feature = "serde")]
pub(crate) trait SavedState: Serialize + DeserializeOwned {}
#[cfg(feature = "serde")]
impl<S: Serialize + DeserializeOwned> SavedState for S {}
#[cfg(not(feature = "serde"))]
pub(crate) trait SavedState {}

impl<C: Controller + Debug + Send> AnyController for Controlled<C>
where
    C::State: Debug + Send + SavedState,
{
    fn observe(&mut self, seen: &Observation) -> Decision {
        self.controller.observe(&mut self.state, seen)
    }

    fn tried(&mut self, seen: &Observation) -> Decision {
        self.controller.tried(&mut self.state, seen)
    }

    #[cfg(feature = "serde")]
    fn state(&self) -> serde_json::Value {
        // States are plain structs of numbers, whose serialization cannot fail.
        serde_json::to_value(&self.state).unwrap_or(serde_json::Value::Null)
    }

    #[cfg(feature = "serde")]
    fn restore(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        self.state = serde_json::from_value(state)?;
        Ok(())
    }
}
