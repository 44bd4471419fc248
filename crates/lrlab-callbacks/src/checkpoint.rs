//! Snapshots of the best and the last weights.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::Metric;
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "checkpoint";

/// The interval at which the tag `last` is saved, in addition to the end of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SaveEvery {
    /// A number of epochs, > 0.
    Epochs(u64),
    /// A number of updates, > 0.
    Updates(u64),
    /// A number of minutes of elapsed time, > 0.
    Minutes(f64),
}

/// The configuration of a [`Checkpoint`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointConfig {
    /// The metric that selects the best epochs.
    pub metric: String,
    /// Whether to save the best epoch as `best`.
    pub best: bool,
    /// The number of best epochs to save as `epoch-0007`, …; the earlier one wins a tie.
    pub top_k: usize,
    /// When to save the current state as `last`; `None` is never.
    pub last: Option<SaveEvery>,
    /// Whether to save the state as `error` when the run fails.
    pub on_error: bool,
}

impl SaveEvery {
    /// Returns an error of `callback` if the interval is not above 0.
    pub(crate) fn check(self, callback: &str) -> Result<(), Error> {
        let invalid = match self {
            Self::Epochs(n) => (n == 0).then(|| format!("{n} epochs")),
            Self::Updates(n) => (n == 0).then(|| format!("{n} updates")),
            Self::Minutes(n) => (n.is_nan() || n <= 0.0).then(|| format!("{n} minutes")),
        };
        match invalid {
            Some(every) => {
                Err(Error::config(callback, format!("the interval is {every}, expected more than 0")))
            }
            None => Ok(()),
        }
    }
}

impl Default for CheckpointConfig {
    /// Saves the best epoch by `val_loss`, and the last epoch.
    fn default() -> Self {
        Self {
            metric: "val_loss".to_owned(),
            best: true,
            top_k: 0,
            last: Some(SaveEvery::Epochs(1)),
            on_error: false,
        }
    }
}

/// Saves the best, the last, the top k and the failing state of a run. A best epoch is saved before control actions, with the
/// weights that its metrics were measured on. The last state is saved after control actions, as training continues from it, and
/// at the end of the run before other callbacks restore the best weights or apply an average.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: CheckpointConfig,
    metric: Metric,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    best: Option<f64>,
    /// The values and epochs of the top k, the best first.
    top: Vec<(f64, u64)>,
    /// The update and the elapsed time of the newest `last`.
    saved_update: u64,
    saved_s: f64,
}

impl Checkpoint {
    /// Creates the callback.
    ///
    /// # Errors
    /// Returns an error if the metric is unknown or has no better direction, or if the interval is not above 0.
    pub fn new(config: CheckpointConfig) -> Result<Self, Error> {
        let metric = Metric::new(NAME, &config.metric)?;
        config.last.map_or(Ok(()), |every| every.check(NAME))?;
        Ok(Self { config, metric, state: State::default() })
    }

    fn epoch(&mut self, value: f64, epoch: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.config.best && self.metric.better(value, self.state.best, 0.0) {
            self.state.best = Some(value);
            actions.push(save("best"));
        }
        let top = &mut self.state.top;
        let rank = top.partition_point(|&(other, _)| !self.metric.better(value, Some(other), 0.0));
        if value.is_finite() && rank < self.config.top_k {
            top.insert(rank, (value, epoch));
            actions.push(save(&top_tag(epoch)));
            if top.len() > self.config.top_k {
                actions.extend(top.pop().map(|(_, epoch)| Action::Discard { tag: top_tag(epoch) }));
            }
        }
        actions
    }

    fn last(&mut self, context: &Context<'_>) -> Option<Action> {
        let due = match (self.config.last?, context.hook) {
            (_, Hook::FitEnd) => self.state.saved_update != context.update,
            (SaveEvery::Epochs(n), Hook::EpochEnd(_)) => context.epoch.is_multiple_of(n),
            // After the last update of an epoch, its end may still change the weights.
            (_, Hook::UpdateEnd { .. }) if context.epoch_ends() => false,
            (SaveEvery::Updates(n), Hook::UpdateEnd { .. } | Hook::EpochEnd(_)) => {
                context.update.is_multiple_of(n)
            }
            (SaveEvery::Minutes(minutes), Hook::UpdateEnd { .. } | Hook::EpochEnd(_)) => {
                context.elapsed_s - self.state.saved_s >= 60.0 * minutes
            }
            _ => false,
        };
        due.then(|| {
            (self.state.saved_update, self.state.saved_s) = (context.update, context.elapsed_s);
            save("last")
        })
    }
}

impl Callback for Checkpoint {
    fn name(&self) -> &'static str {
        NAME
    }

    fn monitors(&self) -> Vec<&str> {
        vec![&self.metric.key]
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        Ok(match (phase, context.hook) {
            (Phase::Keep, Hook::EpochEnd(metrics)) => match self.metric.value(metrics) {
                Some(value) => self.epoch(value, metrics.epoch),
                None => Vec::new(),
            },
            (Phase::Snapshot, Hook::Failed { .. }) if self.config.on_error => vec![save("error")],
            (Phase::Snapshot, Hook::FitEnd) => Vec::new(),
            // At the end of the run, before other callbacks restore the best weights or apply an average.
            (Phase::Keep, Hook::FitEnd) | (Phase::Snapshot, _) => self.last(context).into_iter().collect(),
            _ => Vec::new(),
        })
    }

    fn state(&self) -> Value {
        to_state(&self.state)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.state = from_state(NAME, state)?;
        Ok(())
    }
}

fn save(tag: &str) -> Action {
    Action::Save { tag: tag.to_owned() }
}

fn top_tag(epoch: u64) -> String {
    format!("epoch-{epoch:04}")
}
