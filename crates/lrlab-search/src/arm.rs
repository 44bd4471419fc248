//! The trials of a search among the runs of a plan.

use lrlab_runs::{Cell, PlannedRun, Search};
use serde_json::Value;

/// The coordinate that numbers an arm's trials, from 0.
pub const TRIAL: &str = "trial";

/// What is searched for by itself: the cells that agree on everything but the searched keys and the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The coordinates they agree on.
    pub cell: Cell,
    /// The metric that decides; its best epoch so far counts.
    pub metric: String,
    /// Epochs of a whole run.
    pub budget: u64,
    /// Epochs at which trials are judged, increasing, below the budget.
    pub rungs: Vec<u64>,
    /// At each rung one in so many goes on.
    pub eta: usize,
    /// In the order of their numbers.
    pub trials: Vec<Trial>,
}

/// A point of the searched keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its values.
    pub point: Cell,
    /// The runs it is judged by, one per judging seed, by their index in the plan.
    pub judged: Vec<usize>,
    /// The other seeds, which only the winner is run with.
    pub further: Vec<usize>,
}

impl Arm {
    /// An arm of so many trials, each judged by the run with its own index.
    #[must_use]
    pub fn of_trials(trials: usize, metric: &str, budget: u64, rungs: Vec<u64>, eta: usize) -> Self {
        let trial = |run| Trial { point: Cell::new(), judged: vec![run], further: Vec::new() };
        Self {
            cell: Cell::new(),
            metric: metric.to_owned(),
            budget,
            rungs,
            eta,
            trials: (0..trials).map(trial).collect(),
        }
    }

    /// How many go on of `trials` that were judged: at least one.
    #[must_use]
    pub fn keep(&self, trials: usize) -> usize {
        (trials / self.eta.max(2)).max(1)
    }

    /// Epochs that the search trains if nothing diverges, further seeds left out.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        let (mut alive, mut before, mut sum) = (self.trials.len(), 0, 0);
        let seeds = self.trials.first().map_or(0, |trial| trial.judged.len()) as u64;
        for &rung in self.rungs.iter().chain([&self.budget]) {
            sum += alive as u64 * (rung - before) * seeds;
            (alive, before) = (self.keep(alive), rung);
        }
        sum
    }

    /// Epochs of training every trial in full, further seeds left out.
    #[must_use]
    pub fn full_epochs(&self) -> u64 {
        self.trials.iter().map(|trial| trial.judged.len() as u64 * self.budget).sum()
    }
}

/// The arms of a search, in the order of the plan.
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
            trials.push(Trial { point: Cell::new(), judged: Vec::new(), further: Vec::new() });
        }
        let trial = &mut trials[number];
        trial.point = point;
        let seeds =
            if trial.judged.len() < search.seeds.max(1) { &mut trial.judged } else { &mut trial.further };
        seeds.push(index);
    }
    arms
}
