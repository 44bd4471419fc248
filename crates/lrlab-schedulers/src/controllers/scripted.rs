//! Predetermined gains.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::{Controller, Decision, Error, Observation, check};

/// `scripted = { gains = [[3, 0.5], [5, 0.25]] }`: applies each gain from its observation on, independently of the metric.
///
/// This is the control arm of an experiment on feedback. With the gains of another run, for example of another seed, a run
/// has the rates that feedback produces, but no feedback: a controller that outperforms its script benefits from its
/// observations. Before the first pair the gain is 1. `lrlab schedule gains` prints the script of a finished run.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Scripted {
    /// Pairs of an observation, counted from 1 and increasing, and the gain after it, above 0 and at most 1e30.
    pub gains: Vec<(u64, f64)>,
}

/// The state of [`Scripted`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ScriptedState {
    /// Observations so far.
    pub seen: u64,
}

impl Scripted {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut previous = 0;
        for (i, &(observation, gain)) in self.gains.iter().enumerate() {
            let expected = "an observation, counted from 1, after that of the previous pair";
            let field = format!("gains[{i}][0]");
            check::range(&field, observation as f64, observation > previous, expected)?;
            check::positive(&format!("gains[{i}][1]"), gain)?;
            previous = observation;
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
        let pair = self.gains.iter().find(|(observation, _)| *observation == state.seen);
        pair.map_or(Decision::Keep, |&(observation, gain)| Decision::Gain {
            gain,
            reason: format!("gain {gain} from observation {observation} on, as written"),
        })
    }
}
