//! Searches over loss functions whose minimum is known.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use lrlab_random::{Purpose, Stream};
use lrlab_runs::{EpochMetrics, Outcome};
use lrlab_search::{Arm, Error, Record, Score, Space, Trial, TrialStatus, Verdict, draw, grid, judge};
use serde_json::Value;

const ETA: usize = 3;

/// An arm of 27 trials, 9 epochs, judged after the first and the third.
fn arm() -> Arm {
    Arm::of_trials(27, "val_loss", 9, vec![1, 3], ETA)
}

/// Validation loss of a run at `lr` after `epoch` epochs: a minimum at 0.1, and NaN above 1.
fn loss(lr: f64, epoch: u64) -> Option<f64> {
    (lr <= 1.0).then(|| (lr.log10() + 1.0).powi(2) + 2.0 / epoch as f64)
}

fn record(epochs: u64, budget: u64, loss: impl Fn(u64) -> Option<f64>) -> Record {
    let mut history = Vec::new();
    for epoch in 1..=epochs {
        let val_loss = loss(epoch);
        history.push(EpochMetrics { epoch, val_loss, ..EpochMetrics::default() });
        if val_loss.is_none() {
            return Record::new(history, Some(Outcome::Diverged));
        }
    }
    Record::new(history, (epochs == budget).then_some(Outcome::Completed))
}

struct Search {
    known: Vec<Option<Record>>,
    epochs: u64,
    verdict: Verdict,
}

/// Trains all due runs until none is due; `pick` chooses which of them end before the next judgement.
fn search(arm: &Arm, rates: &[f64], mut pick: impl FnMut(usize) -> usize) -> Search {
    let mut known: Vec<Option<Record>> = vec![None; rates.len()];
    let mut epochs = 0;
    loop {
        let verdict = judge(arm, |run| known[run].as_ref()).unwrap();
        if verdict.due.is_empty() {
            return Search { known, epochs, verdict };
        }
        let due = verdict.due[pick(verdict.due.len())];
        let before = known[due.run].as_ref().map_or(0, |record| record.history.len() as u64);
        let after = record(due.until, arm.budget, |epoch| loss(rates[due.run], epoch));
        epochs += after.history.len() as u64 - before;
        known[due.run] = Some(after);
    }
}

fn rates(points: &[Vec<Value>]) -> Vec<f64> {
    points.iter().map(|point| point[0].as_f64().unwrap()).collect()
}

fn log(points: Option<usize>) -> [(String, Space); 1] {
    [("lr".to_owned(), Space::Log { min: 1e-5, max: 10.0, points, whole: false })]
}

#[test]
fn halving_finds_the_best_of_a_grid_with_a_third_of_its_epochs() {
    let (arm, rates) = (arm(), rates(&grid(&log(Some(27))).unwrap()));
    let halved = search(&arm, &rates, |_| 0);
    let whole = search(&Arm { rungs: Vec::new(), ..arm.clone() }, &rates, |_| 0);
    let best = |a: &usize, b: &usize| {
        let loss = |i: usize| loss(rates[i], 9).unwrap_or(f64::INFINITY);
        loss(*a).total_cmp(&loss(*b))
    };
    let known = (0..27).min_by(best);
    assert_eq!((halved.verdict.winner, whole.verdict.winner), (known, known));
    assert!(3 * halved.epochs <= arm.full_epochs(), "{} of {}", halved.epochs, arm.full_epochs());
    assert!(
        halved.epochs <= arm.epochs() && whole.epochs < arm.full_epochs(),
        "what diverges is not trained on"
    );
    assert_eq!((arm.epochs(), arm.full_epochs()), (27 + 9 * 2 + 3 * 6, 27 * 9));
    let sizes: Vec<usize> = halved.verdict.stages.iter().map(|stage| stage.ranking.len()).collect();
    assert_eq!(sizes, [27, 9, 3]);
}

#[test]
fn the_order_of_runs_does_not_matter() {
    let arm = arm();
    let rates = rates(&draw(&log(None), 27, 5).unwrap());
    let reference = search(&arm, &rates, |_| 0);
    for order in 0..20 {
        let stream = Stream::new(order, Purpose::Search, "order of endings");
        let mut index = 0;
        let again = search(&arm, &rates, |n| {
            index += 1;
            stream.below(index, n as u64) as usize
        });
        assert_eq!((&again.verdict, again.epochs), (&reference.verdict, reference.epochs));
        assert_eq!(again.known, reference.known);
    }
}

/// A verdict's stages do not change when later epochs become known, so that a search can be judged again at its end.
#[test]
fn verdicts_do_not_change_later() {
    let arm = Arm::of_trials(4, "val_accuracy", 4, vec![1, 2], 2);
    let curves = [[0.5, 0.6, 0.9, 0.9], [0.6, 0.5, 0.95, 0.99], [0.4, 0.9, 0.9, 0.9], [0.7, 0.7, 0.1, 0.1]];
    let at = |trial: usize, epochs: usize| {
        let epoch = |i: usize| EpochMetrics {
            epoch: i as u64 + 1,
            val_loss: Some(1.0),
            val_accuracy: Some(curves[trial][i]),
            ..EpochMetrics::default()
        };
        Record::new((0..epochs).map(epoch).collect(), (epochs == 4).then_some(Outcome::Completed))
    };
    let first: Vec<Record> = (0..4).map(|trial| at(trial, 1)).collect();
    let verdict = judge(&arm, |run| first.get(run)).unwrap();
    assert_eq!(
        verdict.statuses,
        [TrialStatus::Pruned(1), TrialStatus::Active, TrialStatus::Pruned(1), TrialStatus::Active]
    );
    assert_eq!(verdict.eliminated, [0, 2]);
    // All trials were trained in full, for example by another experiment.
    let all: Vec<Record> = (0..4).map(|trial| at(trial, 4)).collect();
    let later = judge(&arm, |run| all.get(run)).unwrap();
    assert_eq!(later.stages[0], verdict.stages[0]);
    assert_eq!(
        later.stages[1].ranking,
        [Score { trial: 3, value: Some(0.7) }, Score { trial: 1, value: Some(0.6) }]
    );
    assert_eq!((later.winner, later.due), (Some(3), vec![]), "its best epoch counts, not its last");
}

#[test]
fn equal_trials_keep_their_order_and_diverged_ones_are_last() {
    let arm = Arm::of_trials(4, "val_loss", 2, vec![1], 2);
    let flat = |trial: usize| record(1, 2, |_| [None, Some(1.0), Some(1.0), Some(1.0)][trial]);
    let known: Vec<Record> = (0..4).map(flat).collect();
    let verdict = judge(&arm, |run| known.get(run)).unwrap();
    let order: Vec<usize> = verdict.stages[0].ranking.iter().map(|score| score.trial).collect();
    assert_eq!(order, [1, 2, 3, 0]);
    assert_eq!(
        verdict.statuses,
        [TrialStatus::Diverged(1), TrialStatus::Active, TrialStatus::Active, TrialStatus::Pruned(1)]
    );

    let lost = vec![record(1, 2, |_| None); 4];
    let verdict = judge(&arm, |run| lost.get(run)).unwrap();
    assert_eq!(
        (verdict.winner, verdict.due.len(), verdict.eliminated.len()),
        (None, 0, 4),
        "none is left to go on"
    );
}

#[test]
fn pruned_runs_can_continue() {
    let arm = Arm::of_trials(2, "val_loss", 4, vec![2], 2);
    let pruned = Record::new(record(1, 4, |_| Some(1.0)).history, Some(Outcome::Pruned));
    let verdict = judge(&arm, |_| Some(&pruned)).unwrap();
    assert_eq!(verdict.due.len(), 2, "an earlier search gave up sooner");
}

#[test]
fn seeds_are_judged_together_and_the_winner_gets_all_seeds() {
    let trial =
        |first: usize| Trial { point: [].into(), judged: vec![first, first + 1], remaining: vec![first + 2] };
    let arm = Arm {
        trials: vec![trial(0), trial(3)],
        rungs: vec![],
        ..Arm::of_trials(2, "val_loss", 1, vec![], 2)
    };
    let losses = [Some(0.1), Some(0.9), None, Some(0.4), Some(0.4), None];
    let mut known: Vec<Option<Record>> =
        losses.iter().map(|loss| loss.map(|loss| record(1, 1, |_| Some(loss)))).collect();
    let verdict = judge(&arm, |run| known[run].as_ref()).unwrap();
    assert_eq!(
        (verdict.winner, verdict.due.iter().map(|due| due.run).collect::<Vec<_>>()),
        (Some(1), vec![5])
    );
    assert_eq!(verdict.stages[0].ranking[0].value, Some(0.4));
    // A trial counts as diverged if one of its two seeds diverges.
    known[3] = Some(record(1, 1, |_| None));
    assert_eq!(judge(&arm, |run| known[run].as_ref()).unwrap().winner, Some(0));
}

/// A run with these values of a metric, without validation losses.
fn without_losses(name: &str, values: &[f64], outcome: Option<Outcome>) -> Record {
    let epoch = |(index, value): (usize, &f64)| {
        let metrics = EpochMetrics { epoch: index as u64 + 1, ..EpochMetrics::default() };
        match name {
            "val_f1" => EpochMetrics { val_f1: Some(*value), ..metrics },
            _ => metrics.with(name, *value),
        }
    };
    Record::new(values.iter().enumerate().map(epoch).collect(), outcome)
}

/// In an arm without validation losses, the outcome decides whether a run diverged.
#[test]
fn runs_without_validation_losses_are_ranked() {
    use Outcome::{Completed, Diverged};
    use TrialStatus::{Active, Lost, Pruned, Won};
    let check = |metric: &str, records: &[Record], expected: [TrialStatus; 3]| {
        let arm = Arm {
            trials: Arm::of_trials(3, "", 0, vec![], 2).trials,
            ..Arm::of_trials(0, metric, 2, vec![1], 2)
        };
        assert_eq!(judge(&arm, |run| records.get(run)).unwrap().statuses, expected, "{metric} {records:?}");
    };
    for (metric, name) in [("val_f1", "val_f1"), ("max:wer", "wer")] {
        let full = |values: &[f64]| without_losses(name, values, Some(Completed));
        let three = |a: Record| [a, full(&[0.2, 0.9]), full(&[0.3, 0.4])];
        check(metric, &three(full(&[0.5, 0.1])), [Won, Pruned(1), Pruned(1)]);
        check(
            metric,
            &three(without_losses(name, &[], Some(Diverged))),
            [TrialStatus::Diverged(1), Pruned(1), Won],
        );
        let early = without_losses(name, &[0.5], Some(Diverged));
        check(metric, &three(early), [TrialStatus::Diverged(1), Pruned(1), Won]);
        let late = without_losses(name, &[0.5, 0.8], Some(Diverged));
        check(metric, &three(late), [TrialStatus::Diverged(2), Pruned(1), Pruned(1)]);
        let never = without_losses(name, &[f64::NAN, f64::NAN], Some(Completed));
        check(metric, &three(never), [TrialStatus::Diverged(1), Pruned(1), Won]);
        check(metric, &three(without_losses(name, &[0.5], None)), [Active, Pruned(1), Pruned(1)]);
    }
    let halves = |a: f64, b: f64| without_losses("wer", &[a, b], Some(Completed));
    let arm = Arm::of_trials(3, "min:wer", 2, vec![], 2);
    let records = [halves(0.3, 0.4), halves(0.9, 0.2), halves(0.5, 0.5)];
    assert_eq!(judge(&arm, |run| records.get(run)).unwrap().statuses, [Lost, Won, Lost]);
}

/// A validation loss that is not finite is missing from a record, while the accuracy may be finite.
#[test]
fn a_missing_validation_loss_is_a_divergence() {
    let epoch = |val_loss| EpochMetrics { val_loss, val_accuracy: Some(0.9), ..EpochMetrics::default() };
    let run =
        |losses: &[Option<f64>], outcome| Record::new(losses.iter().copied().map(epoch).collect(), outcome);
    let check = |records: &[Record], expected: &[TrialStatus]| {
        let arm = Arm::of_trials(records.len(), "val_accuracy", 2, vec![1], 2);
        assert_eq!(judge(&arm, |run| records.get(run)).unwrap().statuses, expected, "{records:?}");
    };
    let lost = run(&[None], Some(Outcome::Diverged));
    let sound = run(&[Some(1.0), Some(1.0)], Some(Outcome::Completed));
    check(&[lost.clone(), sound.clone()], &[TrialStatus::Diverged(1), TrialStatus::Won]);
    check(&[lost.clone(), lost], &[TrialStatus::Diverged(1); 2]);
    // It rewound and is paused.
    check(&[run(&[None], None), sound.clone()], &[TrialStatus::Diverged(1), TrialStatus::Won]);
    // It recovered.
    let recovered = run(&[None, Some(1.0)], Some(Outcome::Completed));
    check(&[recovered, sound], &[TrialStatus::Diverged(1), TrialStatus::Won]);
    // A callback declared the divergence at the end.
    let declared = run(&[Some(1.0), Some(1.0)], Some(Outcome::Diverged));
    check(&[declared], &[TrialStatus::Diverged(2)]);
}

#[test]
fn metrics_without_a_direction_cannot_rank() {
    let check = |metric: &str, problem: &str| {
        let error = judge(&Arm::of_trials(2, metric, 1, vec![], 2), |_| None).unwrap_err();
        assert_eq!(error, Error::Metric { metric: metric.to_owned(), problem: problem.to_owned() });
    };
    check("wer", "it is not a built-in metric; write `max:wer` or `min:wer` for a custom one");
    check("top:wer", "it is not a built-in metric; write `max:top:wer` or `min:top:wer` for a custom one");
    check("lr", "it has no better direction");
    check("min:grad_norm", "it has no better direction");
    check("max:val_f1", "its direction is fixed, write `val_f1`");
    let due =
        |metric| judge(&Arm::of_trials(2, metric, 1, vec![], 2), |_| None).map(|verdict| verdict.due.len());
    for metric in EpochMetrics::NAMES {
        assert_eq!(due(metric).is_ok(), EpochMetrics::higher_is_better(metric).is_some(), "{metric}");
    }
    assert_eq!(due("min:wer"), Ok(2));
}

#[test]
fn rungs_out_of_order_are_not_subtracted() {
    assert_eq!(Arm::of_trials(4, "val_loss", 4, vec![3, 1], 2).epochs(), 4 * 3 + 3);
}
