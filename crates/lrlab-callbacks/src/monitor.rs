//! Change the rate while training, by a metric: any controller, any metric, beside any schedule.

use lrlab_config::GainPolicy;
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::{AnyController, Decision, Observation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::Metric;
use crate::{Action, Callback, Context, Error, Moment, Phase};

const NAME: &str = "monitor";

/// Shows a controller one metric after each epoch that measured it, and turns its decisions into actions.
///
/// The rate in force is `clamp(schedule(base, t) × gain)`: the monitor never sets a rate, so it composes with any
/// schedule. `val_loss` comes with its standard error. What a metric that is not finite does is
/// the controller's to say. The best epoch's weights are kept under `monitor-best` (before the
/// first epoch: the initial ones), so that a controller may rewind at any time; an epoch that is the best so far and
/// not good enough for the controller is itself what it rewinds to. A controller that asks for trials
/// ([`lrlab_schedulers::AutoLrs`]) has them where the loop hands their outcomes back, as [`crate::Session`] does;
/// with the schedule at a restart it begins anew, its gain and its search with it.
#[derive(Debug)]
pub struct ValidationLossMonitor {
    name: String,
    metric: Metric,
    policy: GainPolicy,
    controller: Box<dyn AnyController>,
    /// The controller's state before its first observation.
    initial: Value,
    /// The controller's gain in force.
    gain: f64,
    best: Option<f64>,
    /// The value that a running search began with; a search is over before its event is.
    looked_at: f64,
}

#[derive(Serialize, Deserialize)]
struct State {
    controller: Value,
    gain: f64,
    best: Option<f64>,
}

impl ValidationLossMonitor {
    /// A controller sees the metric as it is: one whose `mode` is `min` has to be told `max` for an accuracy.
    ///
    /// # Errors
    /// A metric that is unknown, or neither better high nor low.
    pub fn new(controller: Box<dyn AnyController>, metric: &str) -> Result<Self, Error> {
        Ok(Self {
            name: NAME.to_owned(),
            metric: Metric::new(NAME, metric)?,
            policy: GainPolicy::default(),
            initial: controller.state(),
            controller,
            gain: 1.0,
            best: None,
            looked_at: f64::NAN,
        })
    }

    /// Another name than `monitor`, for a second one in the same run: their gains multiply.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What a warm restart does.
    #[must_use]
    pub fn at_restart(mut self, policy: GainPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The gain in force.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// Keeps the best epoch so far, before a rewind may take its weights away.
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
                let restore = Action::Restore { tag: self.tag(), reason: reason.clone() };
                vec![restore, self.set_gain(gain, value, reason)]
            }
            Decision::Try { gain, updates, .. } => {
                self.looked_at = value;
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

    /// Forgets what the controller saw in the old cycle.
    fn reset(&mut self, actions: &mut Vec<Action>) -> Result<(), Error> {
        self.restore_controller(self.initial.clone())?;
        actions.retain(|action| !matches!(action, Action::SetGain { .. } | Action::Try { .. }));
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
        vec![&self.metric.name]
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let mut actions = match (phase, context.moment) {
            (Phase::Keep, Moment::Epoch(metrics)) => self.keep(metrics).into_iter().collect(),
            (Phase::Control, Moment::Epoch(metrics)) => {
                let mut actions = self.observe(metrics);
                if context.update >= context.updates {
                    // No update is left that a trial could choose a rate for.
                    actions.retain(|action| !matches!(action, Action::Try { .. }));
                }
                actions
            }
            (Phase::Snapshot, Moment::FitStart) if context.update == 0 => {
                vec![Action::Save { tag: self.tag() }]
            }
            _ => Vec::new(),
        };
        if phase == Phase::Control && self.policy == GainPolicy::ResetAtRestart && context.cycle_ended() {
            self.reset(&mut actions)?;
        }
        Ok(actions)
    }

    fn tried(&mut self, seen: &Observation) -> Result<Vec<Action>, Error> {
        let decision = self.controller.tried(seen);
        Ok(self.act(decision, self.looked_at))
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
