//! What to keep of a run, and when.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::metric::Metric;
use crate::{Action, Callback, Context, Error, Moment, Phase};

const NAME: &str = "checkpoint";

/// When the tag `last` is saved, beside the run's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SaveEvery {
    /// So many epochs, > 0.
    Epochs(u64),
    /// So many updates, > 0.
    Updates(u64),
    /// So many minutes of the run's time, > 0.
    Minutes(f64),
}

/// What to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointConfig {
    /// What the best is best by.
    pub metric: String,
    /// Keep the best epoch as `best`.
    pub best: bool,
    /// Keep the `top_k` best epochs as `epoch-0007`, …; 0 is none. Ties go to the earlier.
    pub top_k: usize,
    /// Keep the newest state as `last`; `None` does not.
    pub last: Option<SaveEvery>,
    /// Keep the state as `error` when the run is about to fail.
    pub on_error: bool,
}

impl Default for CheckpointConfig {
    /// The best by `val_loss` and, each epoch, the last.
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

/// Keeps the best, the last, the top k and the failing state of a run. An epoch that is among the best is saved before
/// control, as its figures were measured, also where control rewinds from there; the last state after all control, as
/// training goes on from it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: CheckpointConfig,
    metric: Metric,
    state: State,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    best: Option<f64>,
    /// Value and epoch, the best first.
    top: Vec<(f64, u64)>,
    /// Update and clock of the newest `last`.
    saved_update: u64,
    saved_s: f64,
}

impl Checkpoint {
    /// # Errors
    /// An unknown or incomparable metric, an interval that is not above 0.
    pub fn new(config: CheckpointConfig) -> Result<Self, Error> {
        let metric = Metric::new(NAME, &config.metric)?;
        let bad = match config.last {
            Some(SaveEvery::Epochs(n)) => (n == 0).then(|| format!("{n} epochs")),
            Some(SaveEvery::Updates(n)) => (n == 0).then(|| format!("{n} updates")),
            Some(SaveEvery::Minutes(n)) => (n.is_nan() || n <= 0.0).then(|| format!("{n} minutes")),
            None => None,
        };
        if let Some(every) = bad {
            return Err(Error::config(NAME, format!("saves every {every}, expected more than 0")));
        }
        Ok(Self { config, metric, state: State::default() })
    }

    fn epoch(&mut self, value: f64, epoch: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.config.best && self.metric.better(value, self.state.best, 0.0) {
            self.state.best = Some(value);
            actions.push(save("best"));
        }
        let top = &mut self.state.top;
        let place = top.partition_point(|&(other, _)| !self.metric.better(value, Some(other), 0.0));
        if value.is_finite() && place < self.config.top_k {
            top.insert(place, (value, epoch));
            actions.push(save(&top_tag(epoch)));
            if top.len() > self.config.top_k {
                actions.extend(top.pop().map(|(_, epoch)| Action::Discard { tag: top_tag(epoch) }));
            }
        }
        actions
    }

    fn last(&mut self, context: &Context<'_>) -> Option<Action> {
        let due = match (self.config.last?, context.moment) {
            (_, Moment::FitEnd) => self.state.saved_update != context.update,
            (SaveEvery::Epochs(n), Moment::Epoch(_)) => context.epoch.is_multiple_of(n),
            (SaveEvery::Updates(n), Moment::Update { .. }) => context.update.is_multiple_of(n),
            (SaveEvery::Minutes(minutes), Moment::Update { .. }) => {
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
        vec![&self.metric.name]
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        Ok(match (phase, context.moment) {
            (Phase::Keep, Moment::Epoch(metrics)) => match self.metric.value(metrics) {
                Some(value) => self.epoch(value, metrics.epoch),
                None => Vec::new(),
            },
            (Phase::Snapshot, Moment::Failed { .. }) if self.config.on_error => vec![save("error")],
            (Phase::Snapshot, _) => self.last(context).into_iter().collect(),
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
