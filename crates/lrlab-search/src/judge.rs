//! What is known of an arm's trials → what is due next, who is out, who won.

use lrlab_runs::{EpochMetrics, Outcome};

use crate::{Arm, Trial};

/// What is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// One entry per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// How it ended; `None` where it can go on.
    pub outcome: Option<Outcome>,
}

impl Record {
    /// A run with this history. One that was pruned can go on.
    #[must_use]
    pub fn new(history: Vec<EpochMetrics>, outcome: Option<Outcome>) -> Self {
        Self { history, outcome: outcome.filter(|outcome| *outcome != Outcome::Pruned) }
    }

    fn reaches(&self, epochs: u64) -> bool {
        self.outcome.is_some() || self.history.len() as u64 >= epochs
    }

    /// The best value within the first `epochs` epochs; `None` where the run diverged within them.
    ///
    /// Later epochs have no say: asked again when more is known, the answer is the same.
    fn best(&self, metric: &str, epochs: u64) -> Option<f64> {
        let short = (self.history.len() as u64) < epochs;
        let diverged = match self.history.get((epochs as usize).saturating_sub(1)) {
            Some(at) => at.val_loss.is_none(),
            None => short && self.outcome == Some(Outcome::Diverged),
        };
        let values =
            self.history.iter().take(epochs as usize).filter_map(|epoch| epoch.get(metric).flatten());
        let values = values.filter(|value| value.is_finite() && !diverged);
        let higher = EpochMetrics::higher_is_better(metric).unwrap_or(false);
        values.reduce(|a, b| if (b > a) == higher && a != b { b } else { a })
    }
}

/// A run that is to be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its index in the plan.
    pub run: usize,
    /// Until it has completed so many epochs.
    pub until: u64,
}

/// How a trial did at a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The trial.
    pub trial: usize,
    /// Mean over the judging seeds of the best value so far; `None` where one of them diverged.
    pub value: Option<f64>,
}

/// A rung, or the end, that every trial still in has reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Epochs trained.
    pub epochs: u64,
    /// From the best to the worst.
    pub ranking: Vec<Score>,
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Still in.
    In,
    /// Given up after so many epochs.
    Pruned(u64),
    /// Its loss left the finite numbers, found after at most so many epochs.
    Diverged(u64),
    /// Trained in full; another was better.
    Lost,
    /// The best.
    Won,
}

/// What follows from what is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The stages that were judged.
    pub stages: Vec<Stage>,
    /// How each trial stands.
    pub standings: Vec<Standing>,
    /// What to train next; empty where the search is over.
    pub due: Vec<Due>,
    /// The most runs that can be due once these are done.
    pub next: usize,
    /// Runs that nobody goes on with.
    pub out: Vec<usize>,
    /// The best trial, once it is known.
    pub winner: Option<usize>,
}

/// Judges an arm by what is known of the plan's runs.
///
/// A stage is judged when every trial still in has reached it. Better first; equal ones in the order of their
/// numbers; diverged ones last, and they never go on.
pub fn judge<'a>(arm: &Arm, known: impl Fn(usize) -> Option<&'a Record>) -> Verdict {
    let mut verdict = Verdict {
        stages: Vec::new(),
        standings: vec![Standing::In; arm.trials.len()],
        due: Vec::new(),
        next: 0,
        out: Vec::new(),
        winner: None,
    };
    let lacks = |run: usize, until: u64| known(run).is_none_or(|record| !record.reaches(until));
    let mut alive: Vec<usize> = (0..arm.trials.len()).collect();
    for until in arm.rungs.iter().copied().chain([arm.budget]) {
        let runs = alive.iter().flat_map(|trial| &arm.trials[*trial].judged);
        verdict.due = runs.filter(|run| lacks(**run, until)).map(|run| Due { run: *run, until }).collect();
        let last = until == arm.budget;
        if !verdict.due.is_empty() {
            let seeds =
                |of: fn(&Trial) -> &Vec<usize>| alive.iter().map(move |trial| of(&arm.trials[*trial]).len());
            verdict.next = if last {
                seeds(|trial| &trial.further).max().unwrap_or(0)
            } else {
                arm.keep(alive.len()) * seeds(|trial| &trial.judged).max().unwrap_or(0)
            };
            return verdict;
        }
        let value = |trial: usize| {
            let runs = &arm.trials[trial].judged;
            let values: Option<Vec<f64>> =
                runs.iter().map(|run| known(*run)?.best(&arm.metric, until)).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
        };
        let ranking =
            ranked(&arm.metric, alive.iter().map(|&trial| Score { trial, value: value(trial) }).collect());
        let keep = if last { 1 } else { arm.keep(alive.len()) };
        let good = ranking.iter().filter(|score| score.value.is_some()).count();
        alive.clear();
        for (place, score) in ranking.iter().enumerate() {
            let standing = match (score.value, last) {
                (None, _) => Standing::Diverged(until),
                (Some(_), true) if place == 0 => Standing::Won,
                (Some(_), true) => Standing::Lost,
                (Some(_), false) if place < keep => Standing::In,
                (Some(_), false) => Standing::Pruned(until),
            };
            verdict.standings[score.trial] = standing;
            match standing {
                Standing::In => alive.push(score.trial),
                Standing::Won => verdict.winner = Some(score.trial),
                _ => verdict.out.extend(&arm.trials[score.trial].judged),
            }
        }
        alive.sort_unstable();
        verdict.stages.push(Stage { epochs: until, ranking });
        if good == 0 {
            return verdict;
        }
    }
    let further = verdict.winner.iter().flat_map(|trial| &arm.trials[*trial].further);
    verdict.due = further
        .filter(|run| lacks(**run, arm.budget))
        .map(|run| Due { run: *run, until: arm.budget })
        .collect();
    verdict
}

fn ranked(metric: &str, mut scores: Vec<Score>) -> Vec<Score> {
    let sign = if EpochMetrics::higher_is_better(metric).unwrap_or(false) { -1.0 } else { 1.0 };
    let key = |score: &Score| score.value.map_or(f64::INFINITY, |value| sign * value);
    scores.sort_by(|a, b| {
        (a.value.is_none().cmp(&b.value.is_none()))
            .then(key(a).total_cmp(&key(b)))
            .then(a.trial.cmp(&b.trial))
    });
    scores
}
