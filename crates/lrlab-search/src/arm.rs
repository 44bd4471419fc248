//! The trials of a search among the runs of a plan.

use lrlab_runs::{Cell, PlannedRun, Search};
use serde_json::Value;

/// The coordinate that numbers an arm's trials, from 0.
pub const TRIAL: &str = "trial";

/// An independent search: the cells that agree on everything but the searched keys and the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The coordinates that the cells share.
    pub cell: Cell,
    /// The metric that ranks trials, at its best epoch: a built-in one such as `val_loss`, or a custom one with its better
    /// direction, such as `max:top5`.
    pub metric: String,
    /// The epochs of a full run.
    pub budget: u64,
    /// The epochs at which trials are judged: increasing, below the budget.
    pub rungs: Vec<u64>,
    /// The reduction factor: one in `eta` trials is promoted at each rung.
    pub eta: usize,
    /// The trials, in the order of their indices.
    pub trials: Vec<Trial>,
}

/// One point of the search space.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The values of the searched keys.
    pub point: Cell,
    /// The runs that judge it, one per judging seed, by their index in the plan.
    pub judged: Vec<usize>,
    /// The runs with the remaining seeds, which only the winner needs.
    pub remaining: Vec<usize>,
}

impl Arm {
    /// Creates an arm of this many trials, each judged by the run with the same index.
    #[must_use]
    pub fn of_trials(trials: usize, metric: &str, budget: u64, rungs: Vec<u64>, eta: usize) -> Self {
        let trial = |run| Trial { point: Cell::new(), judged: vec![run], remaining: Vec::new() };
        Self {
            cell: Cell::new(),
            metric: metric.to_owned(),
            budget,
            rungs,
            eta,
            trials: (0..trials).map(trial).collect(),
        }
    }

    /// Returns the number of `trials` that are promoted at a rung: at least one.
    #[must_use]
    pub fn promoted(&self, trials: usize) -> usize {
        (trials / self.eta.max(2)).max(1)
    }

    /// Returns the epochs that the search trains if no trial diverges, without the remaining seeds.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        let (mut alive, mut before, mut sum) = (self.trials.len(), 0, 0);
        let seeds = self.trials.first().map_or(0, |trial| trial.judged.len()) as u64;
        for &rung in self.rungs.iter().chain([&self.budget]) {
            sum += alive as u64 * rung.saturating_sub(before) * seeds;
            (alive, before) = (self.promoted(alive), rung);
        }
        sum
    }

    /// Returns the epochs of training every trial in full, without the remaining seeds.
    #[must_use]
    pub fn full_epochs(&self) -> u64 {
        self.trials.iter().map(|trial| trial.judged.len() as u64 * self.budget).sum()
    }
}

/// Groups the runs of a plan into the arms of a search, in the order of the plan.
#[must_use]
pub fn arms(search: &Search, runs: &[PlannedRun]) -> Vec<Arm> {
    let mut arms: Vec<Arm> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let (mut cell, mut point) = (run.cell.clone(), Cell::new());
        cell.remove("seed");
        let number = cell.remove(TRIAL).unwrap_or(Value::Null);
        for key in &search.keys {
            point.extend(cell.remove(key).map(|value| (key.clone(), value)));
        }
        let at = arms.iter().position(|arm| arm.cell == cell).unwrap_or_else(|| {
            let budget = run.spec.get("epochs").and_then(Value::as_u64).unwrap_or(1);
            let select = run.spec.get("select").and_then(Value::as_str).unwrap_or("val_accuracy");
            arms.push(Arm {
                cell,
                metric: search.metric.clone().unwrap_or_else(|| select.to_owned()),
                budget,
                rungs: search.rungs.get(&budget).cloned().unwrap_or_default(),
                eta: search.eta,
                trials: Vec::new(),
            });
            arms.len() - 1
        });
        let trials = &mut arms[at].trials;
        let number = number.as_u64().map_or(trials.len(), |n| n as usize);
        while trials.len() <= number {
            trials.push(Trial { point: Cell::new(), judged: Vec::new(), remaining: Vec::new() });
        }
        let trial = &mut trials[number];
        trial.point = point;
        let seeds =
            if trial.judged.len() < search.seeds.max(1) { &mut trial.judged } else { &mut trial.remaining };
        seeds.push(index);
    }
    arms
}
