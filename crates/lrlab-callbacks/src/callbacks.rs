//! The collection a host drives: every callback, phase by phase, and their state as one value.

use std::any::Any;

use lrlab_runs::EpochMetrics;
use lrlab_schedulers::Observation;
use serde_json::{Map, Value};

use crate::{Action, Callback, Context, Error, Moment, Phase};

/// Callbacks in a fixed order. At every event the host runs the phases one after the other and carries out each
/// phase's actions before the next: what the keep phase saves is what the event's figures were measured on, and what the
/// snapshot phase saves is the state after control.
///
/// ```
/// # use lrlab_callbacks::{Callbacks, Context, Error, Phase};
/// # fn event(callbacks: &mut Callbacks, context: &Context<'_>) -> Result<(), Error> {
/// for phase in Phase::ALL {
///     for (source, action) in callbacks.run(phase, context)? {
///         println!("{source} asks for {action:?}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Callbacks {
    list: Vec<Box<dyn Callback>>,
}

impl Callbacks {
    /// In the order they are asked within a phase.
    #[must_use]
    pub fn new(list: Vec<Box<dyn Callback>>) -> Self {
        Self { list }
    }

    /// One more at the end.
    #[must_use]
    pub fn with(mut self, callback: impl Callback) -> Self {
        self.list.push(Box::new(callback));
        self
    }

    /// What every callback asks for in this phase of this event, with the name of who asks.
    ///
    /// # Errors
    /// A callback's own; and before the first phase of [`Moment::FitStart`] two callbacks of one name
    /// ([`Error::Config`]) or a monitored metric that no run has ([`Error::UnknownMetric`]).
    pub fn run(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<(String, Action)>, Error> {
        if phase == Phase::Measure && context.moment == Moment::FitStart {
            self.check()?;
        }
        let mut asked = Vec::new();
        for callback in &mut self.list {
            let actions = callback.on(phase, context)?;
            asked.extend(actions.into_iter().map(|action| (callback.name().to_owned(), action)));
        }
        Ok(asked)
    }

    /// What the callback called `source` asks for, now that the trial it asked for ([`Action::Try`]) has come to
    /// `seen`: a further trial, or what the trials say.
    ///
    /// # Errors
    /// The callback's own.
    pub fn tried(&mut self, source: &str, seen: &Observation) -> Result<Vec<(String, Action)>, Error> {
        let Some(callback) = self.list.iter_mut().find(|callback| callback.name() == source) else {
            return Ok(Vec::new());
        };
        let actions = callback.tried(seen)?;
        Ok(actions.into_iter().map(|action| (source.to_owned(), action)).collect())
    }

    /// Everything all callbacks remember: a JSON object by callback name, without those that remember nothing.
    #[must_use]
    pub fn state(&self) -> Value {
        let states = self.list.iter().map(|callback| (callback.name().to_owned(), callback.state()));
        Value::Object(states.filter(|(_, state)| !state.is_null()).collect())
    }

    /// Takes back what [`Callbacks::state`] gave. A callback that the state does not know begins anew.
    ///
    /// # Errors
    /// [`Error::State`] for a state of another shape, [`Error::Config`] for a state whose callback is not here.
    pub fn restore(&mut self, state: Value) -> Result<(), Error> {
        let mut states: Map<String, Value> = from_state("callbacks", state)?;
        for callback in &mut self.list {
            if let Some(state) = states.remove(callback.name()) {
                callback.restore(state)?;
            }
        }
        match states.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::Config {
                callback: name.clone(),
                message: format!("has a saved state but is not among the callbacks: {}", self.names()),
            }),
        }
    }

    /// The first callback of this type.
    #[must_use]
    pub fn get<C: Callback>(&self) -> Option<&C> {
        self.list.iter().find_map(|callback| {
            let any: &dyn Any = &**callback;
            any.downcast_ref()
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn check(&self) -> Result<(), Error> {
        for (i, callback) in self.list.iter().enumerate() {
            let name = callback.name();
            if self.list[..i].iter().any(|other| other.name() == name) {
                return Err(Error::Config {
                    callback: name.to_owned(),
                    message: format!("two callbacks of one name: {}", self.names()),
                });
            }
            if let Some(unknown) = callback.monitors().into_iter().find(|m| !EpochMetrics::NAMES.contains(m))
            {
                return Err(Error::unknown_metric(name, unknown));
            }
        }
        Ok(())
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.list.iter().map(|callback| callback.name()).collect();
        names.join(", ")
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Callbacks").field(&self.names()).finish()
    }
}

/// What a callback remembers, as JSON. Only for states whose maps have string keys and whose numbers are finite.
pub(crate) fn to_state(state: &impl serde::Serialize) -> Value {
    serde_json::to_value(state).unwrap_or(Value::Null)
}

/// The opposite of [`to_state`].
pub(crate) fn from_state<S: serde::de::DeserializeOwned>(callback: &str, state: Value) -> Result<S, Error> {
    serde_json::from_value(state).map_err(|source| Error::State { callback: callback.to_owned(), source })
}
