//! A controller that changes the learning rate during training according to a metric.

use lrlab_config::GainPolicy;
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::{AnyController, Decision, Observation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::Metric;
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "monitor";

/// Passes a metric to a controller after each epoch that measured it, and converts the decisions of the controller to actions.
///
/// The learning rate is `clamp(schedule(base, t) × gain)`: the monitor sets a gain, not a rate, so it works with any schedule.
/// `val_loss` is passed with its standard error. The controller decides how to treat a non-finite metric. The weights of the
/// best epoch are saved under `monitor-best` (the initial weights before the first epoch), so that a controller may rewind at
/// any time. If an epoch is the best so far but not good enough for the controller, the controller rewinds to that epoch.
/// Controllers that request trials ([`lrlab_schedulers::AutoLrs`]) need a loop that returns the observations, such as
/// [`crate::Session`]. With [`GainPolicy::ResetAtRestart`], a warm restart of the schedule resets the controller and its gain.
#[derive(Debug)]
pub struct ValidationLossMonitor {
    name: String,
    metric: Metric,
    policy: GainPolicy,
    controller: Box<dyn AnyController>,
    /// The state of the controller before its first observation.
    initial: Value,
    /// The current gain.
    gain: f64,
    best: Option<f64>,
    /// The metric value at which the current search began. A search ends within its hook.
    search_value: f64,
}

#[derive(Serialize, Deserialize)]
struct State {
    controller: Value,
    gain: f64,
    best: Option<f64>,
}

impl ValidationLossMonitor {
    /// Creates a monitor of `metric`. The controller receives its unmodified values, so set the `mode` of the controller to `max`
    /// for an accuracy.
    ///
    /// # Errors
    /// Returns an error if the metric is unknown or has no better direction.
    pub fn new(controller: Box<dyn AnyController>, metric: &str) -> Result<Self, Error> {
        Ok(Self {
            name: NAME.to_owned(),
            metric: Metric::new(NAME, metric)?,
            policy: GainPolicy::default(),
            initial: controller.state(),
            controller,
            gain: 1.0,
            best: None,
            search_value: f64::NAN,
        })
    }

    /// Sets a name other than `monitor`, for a second monitor in the same run; their gains are multiplied.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the effect of a warm restart on the gain.
    #[must_use]
    pub fn at_restart(mut self, policy: GainPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Returns the current gain.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// Saves the best epoch so far, before a rewind may replace its weights.
    fn keep(&mut self, metrics: &EpochMetrics) -> Option<Action> {
        let value = self.metric.value(metrics).filter(|&value| self.metric.better(value, self.best, 0.0))?;
        self.best = Some(value);
        Some(Action::Save { tag: self.tag() })
    }

    fn observe(&mut self, metrics: &EpochMetrics) -> Vec<Action> {
        let Some(value) = self.metric.value(metrics) else { return Vec::new() };
        let stderr = if self.metric.name == "val_loss" { metrics.val_loss_stderr } else { None };
        let stderr = stderr.filter(|stderr| stderr.is_finite());
        let decision = self.controller.observe(&Observation { value, stderr });
        self.act(decision, value)
    }

    fn act(&mut self, decision: Decision, value: f64) -> Vec<Action> {
        match decision {
            Decision::Keep => Vec::new(),
            Decision::Gain { gain, reason } => vec![self.set_gain(gain, value, reason)],
            Decision::Rewind { gain, reason } => {
                let rewind = Action::Rewind { tag: self.tag(), reason: reason.clone() };
                vec![rewind, self.set_gain(gain, value, reason)]
            }
            Decision::Try { gain, updates, .. } => {
                self.search_value = value;
                vec![Action::Try { factor: gain / self.gain, updates }]
            }
            Decision::Stop { reason } => {
                vec![Action::Stop { metric: self.metric.name.clone(), value, reason }]
            }
        }
    }

    fn set_gain(&mut self, gain: f64, value: f64, reason: String) -> Action {
        self.gain = gain;
        Action::SetGain { gain, metric: self.metric.name.clone(), value, reason }
    }

    /// Resets the controller at the start of a new cycle. The gain was `before` when the controller made its decision, which
    /// the reset replaces.
    fn reset(&mut self, before: f64, actions: &mut Vec<Action>) -> Result<(), Error> {
        self.restore_controller(self.initial.clone())?;
        actions.retain(|action| !matches!(action, Action::SetGain { .. } | Action::Try { .. }));
        self.gain = before;
        if self.gain != 1.0 {
            let value = f64::NAN;
            actions.push(self.set_gain(1.0, value, "gain back to 1: the schedule restarts".to_owned()));
        }
        Ok(())
    }

    fn restore_controller(&mut self, state: Value) -> Result<(), Error> {
        let callback = self.name.clone();
        self.controller.restore(state).map_err(|source| Error::State { callback, source })
    }

    fn tag(&self) -> String {
        format!("{}-best", self.name)
    }
}

impl Callback for ValidationLossMonitor {
    fn name(&self) -> &str {
        &self.name
    }

    fn monitors(&self) -> Vec<&str> {
        vec![&self.metric.key]
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let before = self.gain;
        let mut actions = match (phase, context.hook) {
            (Phase::Keep, Hook::EpochEnd(metrics)) => self.keep(metrics).into_iter().collect(),
            (Phase::Control, Hook::EpochEnd(metrics)) => {
                let mut actions = self.observe(metrics);
                if context.update >= context.updates {
                    // A trial is useless after the last update.
                    actions.retain(|action| !matches!(action, Action::Try { .. }));
                }
                actions
            }
            (Phase::Snapshot, Hook::FitStart) if context.update == 0 => {
                vec![Action::Save { tag: self.tag() }]
            }
            _ => Vec::new(),
        };
        if phase == Phase::Control && self.policy == GainPolicy::ResetAtRestart && context.cycle_ended() {
            self.reset(before, &mut actions)?;
        }
        Ok(actions)
    }

    fn tried(&mut self, seen: &Observation) -> Result<Vec<Action>, Error> {
        let decision = self.controller.tried(seen);
        Ok(self.act(decision, self.search_value))
    }

    fn state(&self) -> Value {
        let Self { gain, best, .. } = *self;
        to_state(&State { controller: self.controller.state(), gain, best })
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        let State { controller, gain, best } = from_state(&self.name, state)?;
        self.restore_controller(controller)?;
        (self.gain, self.best) = (gain, best);
        Ok(())
    }
}
