//! Early stopping: stops a run when a metric no longer improves.

use lrlab_config::{AtRestart, EarlyStoppingConfig};
use lrlab_runs::DecisionKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::Metric;
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "early_stopping";
/// The tag of the best weights.
const TAG: &str = "early_stopping-best";

/// Stops when a metric has not improved for `patience` epochs. A non-finite value is never an improvement. Epochs in which the
/// metric was not measured do not count.
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    config: EarlyStoppingConfig,
    metric: Metric,
    state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The value that the next one must improve on, and its epoch.
    bar: Option<(f64, u64)>,
    /// Consecutive epochs or cycles without improvement.
    bad: u64,
    /// Whether the metric was measured in the current cycle.
    cycle_measured: bool,
    /// The best finite value of the current cycle.
    cycle_best: Option<f64>,
    /// The best value of the run, whose weights are saved, and its epoch.
    best: Option<(f64, u64)>,
    /// The number of updates when it was measured.
    best_update: u64,
}

impl EarlyStopping {
    /// Creates the callback.
    ///
    /// # Errors
    /// Returns an error if the metric is unknown or has no better direction, or if `min_delta` is negative or not finite.
    pub fn new(config: EarlyStoppingConfig) -> Result<Self, Error> {
        let metric = Metric::new(NAME, &config.metric)?;
        if !(config.min_delta >= 0.0 && config.min_delta.is_finite()) {
            return Err(Error::config(NAME, format!("min_delta is {}, expected ≥ 0", config.min_delta)));
        }
        Ok(Self { config, metric, state: State::default() })
    }

    /// Returns the best value so far and its epoch.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.state.best
    }

    /// Records the value if it is the best so far, and returns whether it is.
    fn improves(&mut self, value: f64, context: &Context<'_>) -> bool {
        let state = &mut self.state;
        let best = self.metric.better(value, state.best.map(|(v, _)| v), 0.0);
        if best {
            (state.best, state.best_update) = (Some((value, context.epoch)), context.update);
        }
        best
    }

    /// Restores the best epoch, unless its weights are still current: no update and no rewind happened since it was measured.
    fn restore_best(&self, context: &Context<'_>) -> Option<Action> {
        let (value, epoch) = self.state.best?;
        let newest = context.decisions.iter().rev().take_while(|d| d.update == context.update);
        let rewound = newest.filter(|d| d.epoch == epoch).any(|d| d.kind == DecisionKind::Rewind);
        let reason = format!("best {} {value} at epoch {epoch}", self.metric.name);
        (rewound || self.state.best_update != context.update)
            .then(|| Action::Restore { tag: TAG.to_owned(), reason })
    }

    fn observe(&mut self, value: f64, epoch: u64) -> Option<Action> {
        let state = &mut self.state;
        state.cycle_measured = true;
        if self.metric.better(value, state.cycle_best, 0.0) {
            state.cycle_best = Some(value);
        }
        match self.config.at_restart {
            AtRestart::CountCycles => None,
            AtRestart::Ignore | AtRestart::BeginAnew => self.count(value, epoch),
        }
    }

    fn count(&mut self, value: f64, epoch: u64) -> Option<Action> {
        let state = &mut self.state;
        state.bad += 1;
        if self.metric.better(value, state.bar.map(|(v, _)| v), self.config.min_delta) {
            state.bar = Some((value, epoch));
            if self.metric.better(value, self.config.baseline, self.config.min_delta) {
                state.bad = 0;
            }
        }
        let patience = self.config.patience.max(1);
        (state.bad >= patience).then(|| {
            let what = if self.config.at_restart == AtRestart::CountCycles { "cycles" } else { "epochs" };
            let best = match state.bar {
                Some((best, at)) => format!("best {best} at epoch {at}"),
                None => "never finite".to_owned(),
            };
            let reason =
                format!("stop at epoch {epoch}: {} bad {what} ≥ patience {patience}, {best}", state.bad);
            Action::Stop { metric: self.metric.name.clone(), value, reason }
        })
    }

    /// Handles the end of a cycle of the schedule.
    fn restart(&mut self, epoch: u64) -> Option<Action> {
        let measured = std::mem::take(&mut self.state.cycle_measured);
        let best = self.state.cycle_best.take();
        match self.config.at_restart {
            AtRestart::BeginAnew => {
                (self.state.bar, self.state.bad) = (None, 0);
                None
            }
            AtRestart::CountCycles if measured => self.count(best.unwrap_or(f64::NAN), epoch),
            AtRestart::CountCycles | AtRestart::Ignore => None,
        }
    }
}

impl Callback for EarlyStopping {
    fn name(&self) -> &'static str {
        NAME
    }

    fn monitors(&self) -> Vec<&str> {
        vec![&self.metric.key]
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let restore = self.config.restore_best;
        let observed = match context.hook {
            Hook::EpochEnd(metrics) if context.epoch >= self.config.start_epoch => self.metric.value(metrics),
            _ => None,
        };
        let requested = match (phase, context.hook) {
            (Phase::Keep, Hook::EpochEnd(_)) => observed
                .filter(|&value| self.improves(value, context) && restore)
                .map(|_| Action::Save { tag: TAG.to_owned() }),
            (Phase::Control, Hook::EpochEnd(_) | Hook::UpdateEnd { .. }) => {
                let stop = observed.and_then(|value| self.observe(value, context.epoch));
                let at_restart = if context.cycle_ended() { self.restart(context.epoch) } else { None };
                stop.or(at_restart)
            }
            (Phase::Control, Hook::FitEnd) if restore => self.restore_best(context),
            _ => None,
        };
        Ok(requested.into_iter().collect())
    }

    fn state(&self) -> Value {
        to_state(&self.state)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.state = from_state(NAME, state)?;
        Ok(())
    }
}
