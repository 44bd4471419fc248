//! The collection of callbacks of a run.

use std::any::Any;
use std::collections::BTreeSet;

use lrlab_runs::EpochMetrics;
use lrlab_schedulers::Observation;
use serde_json::{Map, Value};

use crate::metric::user_defined;
use crate::{Action, Callback, Context, Error, Hook, Phase};

/// An ordered collection of callbacks. At each hook, the loop runs the phases in order and carries out the actions of a phase
/// before the next one. The keep phase therefore saves the weights that the metrics were measured on, and the snapshot phase
/// saves the state after control actions.
///
/// ```
/// # use lrlab_callbacks::{Callbacks, Context, Error, Phase};
/// # fn event(callbacks: &mut Callbacks, context: &Context<'_>) -> Result<(), Error> {
/// for phase in Phase::ALL {
///     for (source, action) in callbacks.run(phase, context)? {
///         println!("{source} requests {action:?}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Callbacks {
    list: Vec<Box<dyn Callback>>,
}

impl Callbacks {
    /// Creates a collection. Within a phase, callbacks run in this order.
    #[must_use]
    pub fn new(list: Vec<Box<dyn Callback>>) -> Self {
        Self { list }
    }

    /// Appends a callback.
    #[must_use]
    pub fn with(mut self, callback: impl Callback) -> Self {
        self.list.push(Box::new(callback));
        self
    }

    /// Runs a phase of a hook and returns the requested actions, each with the name of its callback.
    ///
    /// # Errors
    /// Returns the error of a callback. At [`Hook::FitStart`], returns [`Error::Config`] if two callbacks have the same name, and
    /// [`Error::UnknownMetric`] if a monitored metric does not exist.
    pub fn run(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<(String, Action)>, Error> {
        if phase == Phase::Measure && context.hook == Hook::FitStart {
            self.check()?;
        }
        if phase == Phase::Measure {
            self.check_user_defined(context)?;
        }
        let mut requested = Vec::new();
        for callback in &mut self.list {
            let actions = callback.on(phase, context)?;
            requested.extend(actions.into_iter().map(|action| (callback.name().to_owned(), action)));
        }
        Ok(requested)
    }

    /// Passes the observation of a trial ([`Action::Try`]) to the callback `source` that requested it, and returns its actions,
    /// which may include another trial.
    ///
    /// # Errors
    /// Returns the error of the callback.
    pub fn tried(&mut self, source: &str, seen: &Observation) -> Result<Vec<(String, Action)>, Error> {
        let Some(callback) = self.list.iter_mut().find(|callback| callback.name() == source) else {
            return Ok(Vec::new());
        };
        let actions = callback.tried(seen)?;
        Ok(actions.into_iter().map(|action| (source.to_owned(), action)).collect())
    }

    /// Returns the state of all callbacks: a JSON object by callback name, without stateless callbacks.
    #[must_use]
    pub fn state(&self) -> Value {
        let states = self.list.iter().map(|callback| (callback.name().to_owned(), callback.state()));
        Value::Object(states.filter(|(_, state)| !state.is_null()).collect())
    }

    /// Restores the output of [`Callbacks::state`]. A callback without a saved state keeps its initial state.
    ///
    /// # Errors
    /// Returns [`Error::State`] if a state has another shape, and [`Error::Config`] if a state has no callback.
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

    /// Returns the first callback of type `C`.
    #[must_use]
    pub fn get<C: Callback>(&self) -> Option<&C> {
        self.list.iter().find_map(|callback| {
            let any: &dyn Any = &**callback;
            any.downcast_ref()
        })
    }

    /// Returns the number of callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there are no callbacks.
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
                    message: format!("two callbacks have this name: {}", self.names()),
                });
            }
            let known =
                |metric: &str| user_defined(metric).is_some() || EpochMetrics::NAMES.contains(&metric);
            if let Some(unknown) = callback.monitors().into_iter().find(|metric| !known(metric)) {
                return Err(Error::unknown_metric(name, unknown));
            }
        }
        Ok(())
    }

    /// Checks that user-defined metrics that a callback monitors are measured: all of them in the first epoch that measures any
    /// user-defined metric, and each of them at least once in the run.
    fn check_user_defined(&self, context: &Context<'_>) -> Result<(), Error> {
        let measured = match context.hook {
            Hook::EpochEnd(metrics) if context.history.iter().rev().skip(1).all(|m| m.extra.is_empty()) => {
                if metrics.extra.is_empty() {
                    return Ok(());
                }
                std::slice::from_ref(metrics)
            }
            Hook::FitEnd if !context.history.is_empty() => context.history,
            _ => return Ok(()),
        };
        for callback in &self.list {
            for (_, name) in callback.monitors().into_iter().filter_map(user_defined) {
                if !measured.iter().any(|metrics| metrics.extra.contains_key(name)) {
                    let names: BTreeSet<&str> = measured
                        .iter()
                        .flat_map(|metrics| metrics.extra.keys())
                        .map(String::as_str)
                        .collect();
                    return Err(Error::config(
                        callback.name(),
                        format!(
                            "monitors {name:?}, which no epoch measured; `EpochMetrics::extra` has {names:?}"
                        ),
                    ));
                }
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

/// Converts the state of a callback to JSON. Maps must have string keys, and numbers must be finite.
pub(crate) fn to_state(state: &impl serde::Serialize) -> Value {
    serde_json::to_value(state).unwrap_or(Value::Null)
}

/// Converts JSON to the state of a callback; the inverse of [`to_state`].
pub(crate) fn from_state<S: serde::de::DeserializeOwned>(callback: &str, state: Value) -> Result<S, Error> {
    serde_json::from_value(state).map_err(|source| Error::State { callback: callback.to_owned(), source })
}
