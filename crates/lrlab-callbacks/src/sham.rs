//! Another run's decisions, replayed: tells feedback from trace.

use lrlab_runs::{Decision, DecisionKind};
use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::{Action, Callback, Context, Error, Moment, Phase};

const NAME: &str = "sham_control";

/// Takes another run's decisions at the updates at which that run took them, whatever this run's metrics say.
///
/// Under the same schedule and bounds this run then has the other's rates, to the bit. If it does as well as a
/// run under real control, the trace of the rate is what helps, and not the feedback. Gains and stops are
/// replayed; a rewind is not, because it is about the other run's weights.
#[derive(Debug, Clone)]
pub struct ShamControl {
    /// In order.
    decisions: Vec<Decision>,
    /// How many were replayed.
    done: usize,
}

impl ShamControl {
    /// What a run recorded (`decisions` of its `result.json`), in its order. Rewinds are left out. Each decision's
    /// `gain` is taken to be the gain in force after it.
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
        let looks = matches!(
            context.moment,
            Moment::FitStart | Moment::EpochStart | Moment::Update { .. } | Moment::Epoch(_)
        );
        if phase != Phase::Control || !looks {
            return Ok(Vec::new());
        }
        // The epoch tells a decision taken on an epoch's figures from one taken at its last update.
        let rest = &self.decisions[self.done.min(self.decisions.len())..];
        let due = rest.iter().take_while(|d| d.update <= context.update && d.epoch <= context.epoch);
        let actions: Vec<Action> = due.map(replay).collect();
        self.done += actions.len();
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

fn replay(decision: &Decision) -> Action {
    let metric = decision.metric.clone();
    let value = decision.value.unwrap_or(f64::NAN);
    let reason = format!("replayed from {}: {}", decision.source, decision.reason);
    match decision.kind {
        DecisionKind::Stop => Action::Stop { metric, value, reason },
        DecisionKind::Cut | DecisionKind::Raise | DecisionKind::Rewind => {
            Action::SetGain { gain: decision.gain, metric, value, reason }
        }
    }
}
