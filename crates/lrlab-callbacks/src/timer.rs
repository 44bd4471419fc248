//! A wall-clock budget.

use std::time::Duration;

use crate::{Action, Callback, Context, Error, Hook, Phase};

/// Stops after the first update or epoch at which the elapsed time of all attempts ([`Context::elapsed_s`]) reaches the budget.
/// At the last update of an epoch it waits for the metrics of the epoch. A run with a timer is not reproducible bit for bit.
#[derive(Debug, Clone)]
pub struct Timer {
    budget_s: f64,
}

impl Timer {
    /// Creates a timer with this budget.
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
        let checks = match context.hook {
            Hook::UpdateEnd { .. } => !context.epoch_ends(),
            Hook::EpochEnd(_) => context.update < context.updates,
            _ => false,
        };
        if phase != Phase::Control || !checks || context.elapsed_s < self.budget_s {
            return Ok(Vec::new());
        }
        let (elapsed, budget) = (context.elapsed_s, self.budget_s);
        let reason = format!("stop at update {}: {elapsed:.1} s ≥ budget {budget:.1} s", context.update);
        Ok(vec![Action::Stop { metric: "elapsed_s".to_owned(), value: elapsed, reason }])
    }
}
