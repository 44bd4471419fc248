//! Sham control: replays the decisions of another run.

use lrlab_runs::{Decision, DecisionKind};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::rate::{Gains, product};
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "sham_control";

/// Makes the decisions of another run at the same updates, independently of the metrics of this run.
///
/// Under the same schedule and bounds, both runs have bit-identical learning rates. If this run performs as well as one with a
/// real controller, the benefit comes from the sequence of rates rather than from feedback. Gains and stops are replayed;
/// rewinds are not, because they concern the weights of the other run.
#[derive(Debug, Clone)]
pub struct ShamControl {
    /// The decisions, in order.
    decisions: Vec<Decision>,
    /// The number of replayed decisions.
    done: usize,
}

impl ShamControl {
    /// Creates the callback from the recorded decisions of a run (`decisions` of its `result.json`), in order. Rewinds are
    /// ignored. The `gain` of a decision is the gain of its source after it; the gain of this callback is the product over the
    /// sources.
    #[must_use]
    pub fn new(decisions: &[Decision]) -> Self {
        let replayed = decisions.iter().filter(|decision| decision.kind != DecisionKind::Rewind);
        Self { decisions: replayed.cloned().collect(), done: 0 }
    }
}

impl Callback for ShamControl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let checks = matches!(
            context.hook,
            Hook::FitStart | Hook::EpochStart | Hook::UpdateEnd { .. } | Hook::EpochEnd(_)
        );
        if phase != Phase::Control || !checks {
            return Ok(Vec::new());
        }
        // The epoch distinguishes a decision on the metrics of an epoch from one at its last update.
        let done = self.done.min(self.decisions.len());
        let rest = &self.decisions[done..];
        let due = rest.iter().take_while(|d| d.update <= context.update && d.epoch <= context.epoch);
        let due = due.count();
        let mut gains = Gains::new();
        let mut actions = Vec::new();
        for (index, decision) in self.decisions[..done + due].iter().enumerate() {
            gains.insert(decision.source.clone(), decision.gain);
            if index >= done {
                actions.push(replay(decision, product(&gains)));
            }
        }
        self.done = done + due;
        Ok(actions)
    }

    fn state(&self) -> Value {
        to_state(&self.done)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.done = from_state(NAME, state)?;
        Ok(())
    }
}

/// Returns the action that repeats a decision, after which `gain` is the product of the gains.
fn replay(decision: &Decision, gain: f64) -> Action {
    let metric = decision.metric.clone();
    let value = decision.value.unwrap_or(f64::NAN);
    let reason = format!("replayed from {}: {}", decision.source, decision.reason);
    match decision.kind {
        DecisionKind::Stop => Action::Stop { metric, value, reason },
        DecisionKind::Cut | DecisionKind::Raise | DecisionKind::Rewind => {
            Action::SetGain { gain, metric, value, reason }
        }
    }
}
