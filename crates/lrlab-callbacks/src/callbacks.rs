//! The collection of callbacks of a run.

use std::any::Any;
use std::collections::BTreeSet;

use lrlab_runs::EpochMetrics;
use lrlab_schedulers::Observation;
use serde_json::{Map, Value};

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
    /// [`Error::UnknownMetric`] if a monitored metric does not exist. At [`Hook::EpochEnd`], returns [`Error::Config`] if a
    /// monitored user-defined metric is missing and the epoch has it in another spelling, and after the last phase of
    /// [`Hook::FitEnd`] if a run that completed all updates never measured a monitored metric.
    pub fn run(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<(String, Action)>, Error> {
        if phase == Phase::Measure && context.hook == Hook::FitStart {
            self.check()?;
        }
        if let (Phase::Measure, Hook::EpochEnd(metrics)) = (phase, context.hook) {
            self.check_spelling(metrics)?;
        }
        let mut requested = Vec::new();
        for callback in &mut self.list {
            let actions = callback.on(phase, context)?;
            requested.extend(actions.into_iter().map(|action| (callback.name().to_owned(), action)));
        }
        if phase == Phase::Report && context.hook == Hook::FitEnd && context.update >= context.updates {
            self.check_measured(context.history)?;
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
            let known = |metric: &str| {
                EpochMetrics::custom(metric).is_some() || EpochMetrics::NAMES.contains(&metric)
            };
            if let Some(unknown) = callback.monitors().into_iter().find(|metric| !known(metric)) {
                return Err(Error::unknown_metric(name, unknown));
            }
        }
        Ok(())
    }

    /// Rejects a monitored user-defined metric that an epoch does not have while it has one of another spelling. Others may be
    /// measured in later epochs.
    fn check_spelling(&self, metrics: &EpochMetrics) -> Result<(), Error> {
        for (callback, metric) in self.monitored() {
            let Some((direction, name)) = EpochMetrics::custom(metric) else { continue };
            if metrics.extra.contains_key(name) {
                continue;
            }
            if let Some(other) = metrics.extra.keys().find(|other| letters(other) == letters(name)) {
                let message = format!(
                    "monitors {name:?}, which `EpochMetrics::extra` does not have; did you mean \"{direction}:{other}\"?"
                );
                return Err(Error::config(callback, message));
            }
        }
        Ok(())
    }

    /// Rejects a monitored metric that no epoch has.
    fn check_measured(&self, history: &[EpochMetrics]) -> Result<(), Error> {
        for (callback, metric) in self.monitored().filter(|_| !history.is_empty()) {
            let name = EpochMetrics::custom(metric).map_or(metric, |(_, name)| name);
            if history.iter().all(|metrics| metrics.get(name).flatten().is_none()) {
                let extra: BTreeSet<&str> = history.iter().flat_map(EpochMetrics::own_names).collect();
                return Err(Error::config(
                    callback,
                    format!(
                        "monitors {name:?}, which no epoch measured; `EpochMetrics::extra` has {extra:?}"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The monitored metrics, each with the name of its callback.
    fn monitored(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list
            .iter()
            .flat_map(|callback| callback.monitors().into_iter().map(|metric| (callback.name(), metric)))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.list.iter().map(|callback| callback.name()).collect();
        names.join(", ")
    }
}

/// The letters and digits of a name, without case: `Top-5` is another spelling of `top5`.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
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
