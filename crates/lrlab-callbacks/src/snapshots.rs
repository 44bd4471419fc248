//! Snapshot ensembles: one set of weights per cycle of the schedule.

use serde_json::Value;

use crate::callbacks::{from_state, to_state};
use crate::{Action, Callback, Context, Error, Hook, Phase};

const NAME: &str = "snapshot_ensemble";

/// Saves the weights at the end of each cycle, just before the warm restart, and after the last update of the run, as
/// `cycle-0001`, `cycle-0002`, … (Huang et al., ICLR 2017). The restart marks of the schedule delimit the cycles. A run that is
/// stopped within a cycle has no snapshot of it, because its rate has not fallen.
#[derive(Debug, Clone, Default)]
pub struct SnapshotEnsemble {
    keep: Option<usize>,
    /// The number of saved cycles.
    saved: u64,
}

impl SnapshotEnsemble {
    /// Creates an ensemble of all cycles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps only the last `members` cycles; 0 is treated as 1.
    #[must_use]
    pub fn keep(mut self, members: usize) -> Self {
        self.keep = Some(members.max(1));
        self
    }

    /// Returns the tags of the members, oldest first.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let keep = self.keep.map_or(self.saved, |keep| self.saved.min(keep as u64));
        (self.saved - keep + 1..=self.saved).map(tag).collect()
    }
}

impl Callback for SnapshotEnsemble {
    fn name(&self) -> &'static str {
        NAME
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let cycle_ends = phase == Phase::Snapshot
            && matches!(context.hook, Hook::UpdateEnd { .. })
            && (context.restarts() || context.update == context.updates);
        if !cycle_ends {
            return Ok(Vec::new());
        }
        self.saved += 1;
        let mut actions = vec![Action::Save { tag: tag(self.saved) }];
        let outdated = self.keep.map_or(0, |keep| self.saved.saturating_sub(keep as u64));
        if outdated > 0 {
            actions.push(Action::Discard { tag: tag(outdated) });
        }
        Ok(actions)
    }

    fn state(&self) -> Value {
        to_state(&self.saved)
    }

    fn restore(&mut self, state: Value) -> Result<(), Error> {
        self.saved = from_state(NAME, state)?;
        Ok(())
    }
}

fn tag(cycle: u64) -> String {
    format!("cycle-{cycle:04}")
}
