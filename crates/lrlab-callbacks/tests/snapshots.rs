//! Callbacks that save or average weights: checkpoints, ensembles, averages. Each test also resumes the run after every event.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{Script, Sim, resumes_after_every_event, val_loss};
use lrlab_callbacks::{
    AverageEvery, Averaging, Callbacks, Checkpoint, CheckpointConfig, DivergenceConfig, DivergenceGuard,
    EarlyStopping, EarlyStoppingConfig, Hook, OnDivergence, SaveEvery, SnapshotEnsemble,
    ValidationLossMonitor, WeightAveraging,
};
use lrlab_runs::{DecisionKind, EpochMetrics};
use lrlab_schedulers::{ControllerSpec, Span};

fn wavy(epoch: u64) -> EpochMetrics {
    val_loss(epoch, [0.9, 0.7, f64::NAN, 0.8, 0.6, 0.65, 0.6, 0.9][epoch as usize - 1])
}

fn words(script: &Script, make: impl Fn() -> Callbacks) -> Vec<String> {
    resumes_after_every_event(script, make).0.words()
}

#[test]
fn checkpoints_best_top_k_and_last() {
    let none = CheckpointConfig { best: false, last: None, ..CheckpointConfig::default() };
    let script = Script { metrics: wavy, ..Script::default() };
    for (config, expected) in [
        (
            CheckpointConfig { best: true, ..none.clone() },
            &["3 save best", "6 save best", "15 save best"][..],
        ),
        (
            CheckpointConfig { top_k: 2, ..none.clone() },
            &[
                "3 save epoch-0001",
                "6 save epoch-0002",
                "12 save epoch-0004",
                "12 discard epoch-0001",
                "15 save epoch-0005",
                "15 discard epoch-0004",
                "18 save epoch-0006",
                "18 discard epoch-0002",
                "21 save epoch-0007",
                "21 discard epoch-0006",
            ],
        ),
        (
            CheckpointConfig { last: Some(SaveEvery::Epochs(3)), ..none.clone() },
            &["9 save last", "18 save last", "24 save last"],
        ),
        (
            CheckpointConfig { last: Some(SaveEvery::Updates(12)), ..none.clone() },
            &["12 save last", "24 save last"],
        ),
        (
            // Every 9 seconds, with one second per update.
            CheckpointConfig { last: Some(SaveEvery::Minutes(0.15)), ..none.clone() },
            &["9 save last", "18 save last", "24 save last"],
        ),
        (none.clone(), &[]),
    ] {
        let make = || Callbacks::default().with(Checkpoint::new(config.clone()).unwrap());
        assert_eq!(words(&script, make), expected, "{config:?}");
    }
    for (last, printed) in [
        (SaveEvery::Epochs(0), "the interval is 0 epochs, expected more than 0"),
        (SaveEvery::Updates(0), "the interval is 0 updates, expected more than 0"),
        (SaveEvery::Minutes(-0.5), "the interval is -0.5 minutes, expected more than 0"),
        (SaveEvery::Minutes(f64::NAN), "the interval is NaN minutes, expected more than 0"),
    ] {
        let error = Checkpoint::new(CheckpointConfig { last: Some(last), ..none.clone() }).unwrap_err();
        assert!(error.to_string().ends_with(printed), "{error}");
    }
    let error = Checkpoint::new(CheckpointConfig { metric: "accuracy".to_owned(), ..none }).unwrap_err();
    assert!(
        error.to_string().contains("monitors \"accuracy\", which is not a metric; expected one of "),
        "{error}"
    );
}

#[test]
fn the_last_checkpoint_precedes_restoring_the_best_weights() {
    let stopping = EarlyStoppingConfig { restore_best: true, patience: 9, ..EarlyStoppingConfig::default() };
    let script = Script { metrics: wavy, ..Script::default() };
    for last in [SaveEvery::Epochs(1), SaveEvery::Epochs(5), SaveEvery::Updates(7)] {
        for averaged in [false, true] {
            let make = || {
                let config = CheckpointConfig { last: Some(last), ..CheckpointConfig::default() };
                let average = averaged.then(|| WeightAveraging::swa(Span::Epochs(1.0)).unwrap());
                let stopping = EarlyStopping::new(stopping.clone()).unwrap();
                let callbacks = Callbacks::default().with(stopping);
                let callbacks = match average {
                    Some(average) => callbacks.with(average),
                    None => callbacks,
                };
                callbacks.with(Checkpoint::new(config).unwrap())
            };
            let (sim, _) = resumes_after_every_event(&script, make);
            assert!((sim.kept["last"] - 2.4).abs() < 1e-12, "{last:?}: {:?}", sim.kept);
            assert!((sim.kept["best"] - 1.5).abs() < 1e-12);
            if !averaged {
                assert!((sim.weight - 1.5).abs() < 1e-12, "the weights of epoch 5 are restored");
            }
        }
    }
}

/// Loss and accuracy both rise, so that one callback rewinds from an epoch that others save.
#[test]
fn a_rewind_does_not_change_saved_weights() {
    fn torn(epoch: u64) -> EpochMetrics {
        let accuracy = [0.3, 0.4, 0.5, 0.6, 0.55, 0.7][epoch as usize - 1];
        let loss = [0.9, 0.7, 0.8, 0.75, 0.69, 0.695][epoch as usize - 1];
        EpochMetrics { val_accuracy: Some(accuracy), ..val_loss(epoch, loss) }
    }
    let metric = "val_accuracy".to_owned();
    for controller in ["bold_driver = {}", "plateau = { patience = 0, threshold = 0.1, rewind = true }"] {
        let script = Script { metrics: torn, epochs: 6, ..Script::default() };
        let make = || {
            let controller = ControllerSpec::parse(controller).unwrap().build().unwrap();
            let top = CheckpointConfig { metric: metric.clone(), top_k: 3, ..CheckpointConfig::default() };
            let stopping = EarlyStoppingConfig {
                metric: metric.clone(),
                patience: 9,
                restore_best: true,
                ..EarlyStoppingConfig::default()
            };
            Callbacks::default()
                .with(ValidationLossMonitor::new(controller, "val_loss").unwrap())
                .with(EarlyStopping::new(stopping).unwrap())
                .with(Checkpoint::new(top).unwrap())
        };
        let (sim, _) = resumes_after_every_event(&script, make);
        let rewinds =
            sim.decisions.iter().filter(|d| d.source == "monitor" && d.kind == DecisionKind::Rewind);
        assert!(rewinds.map(|d| d.epoch).any(|epoch| epoch == 6), "{controller}: {:?}", sim.decisions);
        for (tag, epoch) in [
            ("epoch-0005", 5),
            ("epoch-0004", 4),
            ("epoch-0006", 6),
            ("best", 6),
            ("early_stopping-best", 6),
            ("monitor-best", 5),
        ] {
            assert_eq!(sim.kept[tag], sim.measured[epoch - 1], "{controller}: {tag}");
        }
        assert_eq!(
            sim.weight, sim.measured[5],
            "{controller}: the best epoch is restored, also after a rewind from it"
        );
    }
}

/// A rewind at the end of the last epoch also changes the state that is saved as `last`, at every interval.
#[test]
fn the_last_state_is_saved_after_a_rewind() {
    fn rising(epoch: u64) -> EpochMetrics {
        val_loss(epoch, [0.9, 0.7, 0.8][epoch as usize - 1])
    }
    for every in [SaveEvery::Epochs(1), SaveEvery::Updates(3), SaveEvery::Minutes(0.05)] {
        let script = Script { metrics: rising, epochs: 3, ..Script::default() };
        let last = CheckpointConfig { best: false, last: Some(every), ..CheckpointConfig::default() };
        let make = || {
            let controller = ControllerSpec::parse("plateau = { patience = 0, rewind = true }").unwrap();
            Callbacks::default()
                .with(ValidationLossMonitor::new(controller.build().unwrap(), "val_loss").unwrap())
                .with(Checkpoint::new(last.clone()).unwrap())
        };
        let (sim, _) = resumes_after_every_event(&script, make);
        assert!(sim.decisions.iter().any(|d| d.kind == DecisionKind::Rewind && d.epoch == 3), "{every:?}");
        assert_eq!(sim.kept["last"], sim.measured[1], "{every:?}");
    }
}

/// The run ends within the epoch after the best one.
#[test]
fn early_stopping_restores_the_best_epoch_after_an_early_end() {
    let stopping = EarlyStoppingConfig { restore_best: true, ..EarlyStoppingConfig::default() };
    let script = Script { loss: |update| if update == 8 { f64::NAN } else { 1.0 }, ..Script::default() };
    let guard = DivergenceConfig { action: OnDivergence::Stop, ..DivergenceConfig::default() };
    let make = || {
        let guard = DivergenceGuard::new(guard.clone()).unwrap();
        Callbacks::default().with(guard).with(EarlyStopping::new(stopping.clone()).unwrap())
    };
    let (sim, _) = resumes_after_every_event(&script, make);
    assert_eq!((sim.update, sim.epoch), (8, 2));
    assert_eq!(sim.weight, sim.measured[1]);
}

#[test]
fn a_failing_run_is_saved_if_configured() {
    for (on_error, expected) in [(true, &["0 save error"][..]), (false, &[])] {
        let config = CheckpointConfig { on_error, ..CheckpointConfig::default() };
        let mut callbacks = Callbacks::default().with(Checkpoint::new(config).unwrap());
        let mut sim = Sim::new(Script::default());
        sim.start(&mut callbacks).unwrap();
        sim.dispatch(&mut callbacks, "failed", Hook::Failed { error: "disk full" }).unwrap();
        assert_eq!(sim.words(), expected);
    }
}

#[test]
fn averaging_rules_and_intervals() {
    let script = Script { restarts: vec![7, 16], epochs: 8, ..Script::default() };
    let cycle = |start| WeightAveraging::new(Averaging::Uniform, AverageEvery::Cycle, start);
    for (make, fed) in [
        (WeightAveraging::ema(0.9), (1..=24).collect::<Vec<u64>>()),
        (WeightAveraging::swa(Span::Fraction(0.75)), vec![18, 21, 24]),
        (WeightAveraging::swa(Span::Epochs(7.0)), vec![21, 24]),
        (WeightAveraging::lawa(3), vec![3, 6, 9, 12, 15, 18, 21, 24]),
        (cycle(Span::Updates(0)), vec![7, 16, 24]),
        (cycle(Span::Updates(8)), vec![16, 24]),
        (
            WeightAveraging::new(
                Averaging::Uniform,
                AverageEvery::Length(Span::Updates(10)),
                Span::Updates(3),
            ),
            vec![3, 13, 23],
        ),
    ] {
        let make = make.unwrap();
        let mut expected: Vec<_> = fed.iter().map(|update| format!("{update} average")).collect();
        expected.extend(["24 apply".to_owned(), "24 recompute".to_owned()]);
        assert_eq!(words(&script, || Callbacks::default().with(make.clone())), expected, "{make:?}");
    }
    // Without an average there is nothing to apply.
    let never = || Callbacks::default().with(WeightAveraging::swa(Span::Updates(99)).unwrap());
    assert!(words(&script, never).is_empty());
    let new = |rule, every| WeightAveraging::new(rule, every, Span::Updates(0));
    for (refused, words) in [
        (WeightAveraging::ema(1.0), "decay is 1, expected 0 ≤ decay < 1"),
        (WeightAveraging::ema(f64::NAN), "decay is NaN, expected 0 ≤ decay < 1"),
        (WeightAveraging::lawa(0), "k is 0, expected at least 1"),
        (new(Averaging::Apply, AverageEvery::Cycle), "`Apply` is not an averaging rule"),
        (
            new(Averaging::Uniform, AverageEvery::Length(Span::Epochs(0.0))),
            "the interval is 0, expected more than 0",
        ),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn two_averages_are_an_error() {
    let ema = || WeightAveraging::ema(0.9).unwrap();
    let mut both = Callbacks::default().with(ema()).with(ema());
    let error = Sim::new(Script::default()).start(&mut both).unwrap_err();
    assert!(
        error.to_string().contains("two callbacks have this name: weight_averaging, weight_averaging"),
        "{error}"
    );
}

#[test]
fn one_snapshot_per_cycle() {
    let script = Script { restarts: vec![6, 13, 20], ..Script::default() };
    let all = || Callbacks::default().with(SnapshotEnsemble::new());
    let (sim, callbacks) = resumes_after_every_event(&script, all);
    assert_eq!(
        sim.words(),
        ["6 save cycle-0001", "13 save cycle-0002", "20 save cycle-0003", "24 save cycle-0004"]
    );
    assert_eq!(callbacks.get::<SnapshotEnsemble>().unwrap().tags().len(), 4);

    let two = || Callbacks::default().with(SnapshotEnsemble::new().keep(2));
    let (sim, callbacks) = resumes_after_every_event(&script, two);
    let tags = callbacks.get::<SnapshotEnsemble>().unwrap().tags();
    assert_eq!(tags, ["cycle-0003", "cycle-0004"]);
    assert_eq!(sim.kept.into_keys().collect::<Vec<_>>(), tags);
    assert_eq!(SnapshotEnsemble::new().tags(), Vec::<String>::new());
}
