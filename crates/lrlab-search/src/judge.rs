//! Judges an arm: from the records of its trials to the runs that are due, the trials that are eliminated, and the winner.

use lrlab_runs::{EpochMetrics, Outcome};

use crate::metric::Metric;
use crate::{Arm, Error, Trial};

/// The completed epochs of a run and its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// One entry per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// How the run ended; `None` if it can be resumed.
    pub outcome: Option<Outcome>,
}

impl Record {
    /// Creates the record of a run with this history. A pruned run can be resumed.
    #[must_use]
    pub fn new(history: Vec<EpochMetrics>, outcome: Option<Outcome>) -> Self {
        Self { history, outcome: outcome.filter(|outcome| *outcome != Outcome::Pruned) }
    }

    fn reaches(&self, epochs: u64) -> bool {
        self.outcome.is_some() || self.history.len() as u64 >= epochs
    }

    /// Returns the first `epochs` epochs, or fewer if there are fewer.
    fn first(&self, epochs: u64) -> &[EpochMetrics] {
        &self.history[..self.history.len().min(epochs as usize)]
    }

    /// Returns whether the run diverged within the first `epochs` epochs.
    ///
    /// A record lacks a validation loss that is not finite. If the runs of the arm are not `validated`, all lack it, and only
    /// the outcome decides: a run that ended as diverged did so in its last recorded epoch. After the `last` stage comes no
    /// epoch in which a run with a finite loss could have diverged instead.
    fn diverged(&self, epochs: u64, validated: bool, last: bool) -> bool {
        let ended = self.outcome == Some(Outcome::Diverged) && self.history.len() as u64 <= epochs;
        match epochs.checked_sub(1).and_then(|index| self.history.get(index as usize)) {
            Some(at) if at.val_loss.is_some_and(f64::is_finite) => ended && last,
            Some(_) => ended || validated,
            None => ended,
        }
    }

    /// Returns the best value within the first `epochs` epochs. Later epochs do not count, so the value does not change when
    /// training continues.
    fn best(&self, metric: Metric<'_>, epochs: u64) -> Option<f64> {
        let values = self.first(epochs).iter().filter_map(|epoch| metric.of(epoch));
        values.min_by(|a, b| metric.rank(*a, *b))
    }
}

/// A run that has to be trained next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its index in the plan.
    pub run: usize,
    /// The number of completed epochs to train it to.
    pub until: u64,
}

/// The score of a trial at a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The index of the trial.
    pub trial: usize,
    /// The mean over the judging seeds of the best value up to the stage; `None` if one of them diverged or has no value.
    pub value: Option<f64>,
}

/// A rung, or the end of training, that every active trial has reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The completed epochs.
    pub epochs: u64,
    /// The scores, best first.
    pub ranking: Vec<Score>,
}

/// The status of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialStatus {
    /// The trial takes part in the next stage.
    Active,
    /// The trial was eliminated after this many epochs.
    Pruned(u64),
    /// A run of the trial diverged within this many epochs, or the metric was never finite.
    Diverged(u64),
    /// The trial was trained in full, and another trial was better.
    Lost,
    /// The trial is the best one.
    Won,
}

/// The verdict on an arm, derived from the records of its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The stages that have been judged.
    pub stages: Vec<Stage>,
    /// The status of each trial.
    pub statuses: Vec<TrialStatus>,
    /// The runs to train next; empty once the search is over.
    pub due: Vec<Due>,
    /// The maximum number of runs that can be due after these.
    pub next: usize,
    /// The runs of eliminated trials, by their index in the plan.
    pub eliminated: Vec<usize>,
    /// The index of the best trial, once it is known.
    pub winner: Option<usize>,
}

/// Judges an arm. `known` returns the record of a run of the plan, by its index.
///
/// A stage is judged once every active trial has reached it. Better trials rank first, equal ones in the order of their
/// indices. Diverged trials rank last and are always eliminated.
///
/// A run diverged if its validation loss at the end of the stage is not finite, or if it ended before with
/// [`Outcome::Diverged`]. In an arm whose runs have no validation losses, only the outcome decides.
///
/// # Errors
/// Returns [`Error::Metric`] if the better direction of the arm's metric is unknown.
pub fn judge<'a>(arm: &Arm, known: impl Fn(usize) -> Option<&'a Record>) -> Result<Verdict, Error> {
    let metric = Metric::parse(&arm.metric)?;
    let mut verdict = Verdict {
        stages: Vec::new(),
        statuses: vec![TrialStatus::Active; arm.trials.len()],
        due: Vec::new(),
        next: 0,
        eliminated: Vec::new(),
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
                seeds(|trial| &trial.remaining).max().unwrap_or(0)
            } else {
                arm.promoted(alive.len()) * seeds(|trial| &trial.judged).max().unwrap_or(0)
            };
            return Ok(verdict);
        }
        let records = alive.iter().flat_map(|trial| &arm.trials[*trial].judged).filter_map(|run| known(*run));
        let validated = records.flat_map(|record| record.first(until)).any(|epoch| epoch.val_loss.is_some());
        let value = |trial: usize| {
            let runs = &arm.trials[trial].judged;
            let one = |run: &usize| {
                known(*run).filter(|record| !record.diverged(until, validated, last))?.best(metric, until)
            };
            let values: Option<Vec<f64>> = runs.iter().map(one).collect();
            // A trial without runs has no mean.
            let values = values.filter(|values| !values.is_empty())?;
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        let ranking =
            ranked(metric, alive.iter().map(|&trial| Score { trial, value: value(trial) }).collect());
        let keep = if last { 1 } else { arm.promoted(alive.len()) };
        let good = ranking.iter().filter(|score| score.value.is_some()).count();
        alive.clear();
        for (rank, score) in ranking.iter().enumerate() {
            let status = match (score.value, last) {
                (None, _) => TrialStatus::Diverged(until),
                (Some(_), true) if rank == 0 => TrialStatus::Won,
                (Some(_), true) => TrialStatus::Lost,
                (Some(_), false) if rank < keep => TrialStatus::Active,
                (Some(_), false) => TrialStatus::Pruned(until),
            };
            verdict.statuses[score.trial] = status;
            match status {
                TrialStatus::Active => alive.push(score.trial),
                TrialStatus::Won => verdict.winner = Some(score.trial),
                _ => verdict.eliminated.extend(&arm.trials[score.trial].judged),
            }
        }
        alive.sort_unstable();
        verdict.stages.push(Stage { epochs: until, ranking });
        if good == 0 {
            return Ok(verdict);
        }
    }
    let remaining = verdict.winner.iter().flat_map(|trial| &arm.trials[*trial].remaining);
    verdict.due = remaining
        .filter(|run| lacks(**run, arm.budget))
        .map(|run| Due { run: *run, until: arm.budget })
        .collect();
    Ok(verdict)
}

fn ranked(metric: Metric<'_>, mut scores: Vec<Score>) -> Vec<Score> {
    scores.sort_by(|a, b| {
        let order = match (a.value, b.value) {
            (Some(x), Some(y)) => metric.rank(x, y),
            (x, y) => x.is_none().cmp(&y.is_none()),
        };
        order.then(a.trial.cmp(&b.trial))
    });
    scores
}
