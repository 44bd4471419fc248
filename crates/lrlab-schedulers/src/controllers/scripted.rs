//! Gains that were settled before the run.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::{Controller, Decision, Error, Observation, check};

/// `scripted = { gains = [[3, 0.5], [5, 0.25]] }`: each gain from its observation on, whatever the metric says.
///
/// The control of an experiment on feedback: given the gains of another run (another seed, say), a run has the rates
/// that feedback leads to, without feedback. A controller that does better than its script owes it to what it sees.
/// Before the first pair the gain is 1. `lrlab schedule gains` prints the script of a finished run.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Scripted {
    /// Pairs of an observation, counted from 1 and rising, and the gain after it, above 0 and at most 1e30.
    pub gains: Vec<(u64, f64)>,
}

/// What [`Scripted`] remembers.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ScriptedState {
    /// Observations so far.
    pub seen: u64,
}

impl Scripted {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut before = 0;
        for (i, &(observation, gain)) in self.gains.iter().enumerate() {
            let expected = "an observation, counted from 1, later than that of the pair before";
            let field = format!("gains[{i}][0]");
            check::range(&field, observation as f64, observation > before, expected)?;
            check::positive(&format!("gains[{i}][1]"), gain)?;
            before = observation;
        }
        Ok(())
    }
}

impl Controller for Scripted {
    type State = ScriptedState;

    fn init(&self) -> ScriptedState {
        ScriptedState { seen: 0 }
    }

    fn observe(&self, state: &mut ScriptedState, _: &Observation) -> Decision {
        state.seen = state.seen.saturating_add(1);
        let here = self.gains.iter().find(|(observation, _)| *observation == state.seen);
        here.map_or(Decision::Keep, |&(observation, gain)| Decision::Gain {
            gain,
            reason: format!("gain {gain} from observation {observation} on, as written"),
        })
    }
}
