//! A controller together with its state, behind one type whatever the controller.

use std::fmt::Debug;

use crate::{Controller, Decision, Observation};

/// A controller with its state, as a callback holds it.
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
    /// Takes in one observation and decides.
    fn observe(&mut self, seen: &Observation) -> Decision;

    /// Takes in what the trial that [`Decision::Try`] asked for came to, and decides.
    fn tried(&mut self, seen: &Observation) -> Decision;

    /// The state, for a checkpoint. Configuration is not in it.
    #[cfg(feature = "serde")]
    fn state(&self) -> serde_json::Value;

    /// Goes on from a state that [`AnyController::state`] gave. The configuration stays as it is here.
    ///
    /// # Errors
    /// A state of another kind of controller; this one then keeps its own.
    #[cfg(feature = "serde")]
    fn restore(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error>;
}

/// A [`Controller`] with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled<C: Controller> {
    controller: C,
    state: C::State,
}

impl<C: Controller> Controlled<C> {
    /// A controller before its first observation.
    #[must_use]
    pub fn new(controller: C) -> Self {
        let state = controller.init();
        Self { controller, state }
    }
}

impl<C: Controller + Debug + Send> AnyController for Controlled<C>
where
    C::State: Debug + Send,
{
    fn observe(&mut self, seen: &Observation) -> Decision {
        self.controller.observe(&mut self.state, seen)
    }

    fn tried(&mut self, seen: &Observation) -> Decision {
        self.controller.tried(&mut self.state, seen)
    }

    #[cfg(feature = "serde")]
    fn state(&self) -> serde_json::Value {
        // States are plain structs of numbers, which always serialise.
        serde_json::to_value(&self.state).unwrap_or(serde_json::Value::Null)
    }

    #[cfg(feature = "serde")]
    fn restore(&mut self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        self.state = serde_json::from_value(state)?;
        Ok(())
    }
}
