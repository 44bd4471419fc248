//! A wall-clock budget.

use std::time::Duration;

use crate::{Action, Callback, Context, Error, Moment, Phase};

/// Stops after the first update or epoch at which the run has lasted its budget, counted over all attempts
/// ([`Context::elapsed_s`]). At an epoch's last update it waits for the epoch's figures. A run with a timer is not reproducible to the bit.
#[derive(Debug, Clone)]
pub struct Timer {
    budget_s: f64,
}

impl Timer {
    /// The run may last so long.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self { budget_s: budget.as_secs_f64() }
    }
}

impl Callback for Timer {
    fn name(&self) -> &'static str {
        "timer"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let looks = match context.moment {
            Moment::Update { .. } => !context.epoch_ends(),
            Moment::Epoch(_) => context.update < context.updates,
            _ => false,
        };
        if phase != Phase::Control || !looks || context.elapsed_s < self.budget_s {
            return Ok(Vec::new());
        }
        let (elapsed, budget) = (context.elapsed_s, self.budget_s);
        let reason = format!("stop at update {}: {elapsed:.1} s ≥ budget {budget:.1} s", context.update);
        Ok(vec![Action::Stop { metric: "elapsed_s".to_owned(), value: elapsed, reason }])
    }
}
