//! Early stopping: patience, the restored epoch, and cycles of the schedule.

use lrlab_callbacks::{
    AtRestart, Callbacks, Checkpoint, CheckpointConfig, EarlyStopping, EarlyStoppingConfig,
};
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::Plateau;

use super::common::{Script, play, resumes_after_every_event, val_loss};
use super::{monitor, overfits, plateau};

fn stopping(config: EarlyStoppingConfig) -> Callbacks {
    Callbacks::default().with(EarlyStopping::new(config).unwrap())
}

#[test]
fn early_stopping_counts_epochs_without_improvement() {
    let base = EarlyStoppingConfig { patience: 2, ..EarlyStoppingConfig::default() };
    let accuracy = |epoch| EpochMetrics {
        val_accuracy: Some([0.5, 0.6, 0.55, 0.52][epoch as usize - 1]),
        ..val_loss(epoch, 1.0)
    };
    for (what, config, metrics, stops) in [
        ("never", base.clone(), Script::default().metrics, None),
        ("patience", base.clone(), overfits as fn(u64) -> EpochMetrics, Some(4)),
        ("patience 0 is 1", EarlyStoppingConfig { patience: 0, ..base.clone() }, overfits, Some(3)),
        ("small steps", EarlyStoppingConfig { min_delta: 0.3, ..base.clone() }, overfits, Some(3)),
        ("late start", EarlyStoppingConfig { start_epoch: 3, ..base.clone() }, overfits, Some(5)),
        ("baseline missed", EarlyStoppingConfig { baseline: Some(0.2), ..base.clone() }, overfits, Some(2)),
        ("baseline met", EarlyStoppingConfig { baseline: Some(0.6), ..base.clone() }, overfits, Some(4)),
        ("NaN", base.clone(), |epoch| val_loss(epoch, f64::NAN), Some(2)),
        (
            "direction",
            EarlyStoppingConfig { metric: "val_accuracy".to_owned(), ..base.clone() },
            accuracy,
            Some(4),
        ),
    ] {
        let script = Script { metrics, ..Script::default() };
        let (sim, _) = resumes_after_every_event(&script, || stopping(config.clone()));
        assert_eq!(sim.ended.map(|_| sim.epoch), stops, "{what}");
        assert_eq!(sim.epoch, stops.unwrap_or(8), "{what}");
    }
    let script = Script { metrics: overfits, ..Script::default() };
    let (sim, _) = play(&script, stopping(base));
    assert_eq!(sim.decisions[0].reason, "stop at epoch 4: 2 bad epochs ≥ patience 2, best 0.5 at epoch 2");
}

/// The loop validates every fifth epoch.
#[test]
fn patience_counts_only_measured_epochs() {
    fn every_fifth(epoch: u64, value: f64) -> EpochMetrics {
        match epoch % 5 {
            0 => val_loss(epoch, value),
            _ => EpochMetrics { epoch, ..EpochMetrics::default() },
        }
    }
    let falls: fn(u64) -> EpochMetrics = |epoch| every_fifth(epoch, 1.0 / epoch as f64);
    let rises: fn(u64) -> EpochMetrics = |epoch| every_fifth(epoch, epoch as f64);
    let nan: fn(u64) -> EpochMetrics = |epoch| every_fifth(epoch, f64::NAN);
    let script = |metrics| Script { metrics, updates_per_epoch: 1, epochs: 40, ..Script::default() };
    for (at_restart, what, metrics, stops) in [
        (AtRestart::Ignore, "falls", falls, None),
        (AtRestart::Ignore, "rises", rises, Some(20)),
        (AtRestart::Ignore, "NaN", nan, Some(15)),
        // Cycles of four epochs: the first and every fourth cycle contain no measurement and do not count.
        (AtRestart::CountCycles, "falls", falls, None),
        (AtRestart::CountCycles, "rises", rises, Some(20)),
        (AtRestart::CountCycles, "NaN", nan, Some(16)),
    ] {
        let config = EarlyStoppingConfig { patience: 3, at_restart, ..EarlyStoppingConfig::default() };
        let script = Script { restarts: (1..10).map(|n| 4 * n).collect(), ..script(metrics) };
        let (sim, _) = resumes_after_every_event(&script, || stopping(config.clone()));
        assert_eq!(sim.ended.map(|_| sim.epoch), stops, "{at_restart:?}, {what}");
    }
    for (metrics, cuts) in [(falls, 0), (rises, 3), (nan, 4)] {
        let make = || Callbacks::default().with(monitor(Plateau { patience: 1, ..plateau() }));
        let (sim, _) = resumes_after_every_event(&script(metrics), make);
        assert_eq!(sim.decisions.len(), cuts, "{:?}", sim.decisions);
    }
}

#[test]
fn infinite_values_are_never_the_best() {
    let metrics = |epoch| EpochMetrics {
        val_accuracy: Some([0.3, f64::INFINITY, 0.4, f64::NEG_INFINITY][epoch as usize - 1]),
        ..val_loss(epoch, [0.9, 0.8, f64::NEG_INFINITY, 0.7][epoch as usize - 1])
    };
    for (metric, best) in [("val_accuracy", 3), ("val_loss", 4)] {
        let script = Script { metrics, epochs: 4, ..Script::default() };
        let make = || {
            let metric = metric.to_owned();
            let checkpoint = CheckpointConfig { metric: metric.clone(), ..CheckpointConfig::default() };
            stopping(EarlyStoppingConfig { metric, restore_best: true, patience: 9, ..Default::default() })
                .with(Checkpoint::new(checkpoint).unwrap())
        };
        let (sim, _) = resumes_after_every_event(&script, make);
        assert_eq!(
            (sim.kept["best"], sim.weight),
            (sim.measured[best - 1], sim.measured[best - 1]),
            "{metric}"
        );
    }
}

#[test]
fn early_stopping_restores_the_best_weights() {
    for (patience, epochs) in [(2, 8), (9, 4)] {
        let config = EarlyStoppingConfig { patience, restore_best: true, ..EarlyStoppingConfig::default() };
        let script = Script { metrics: overfits, epochs, ..Script::default() };
        let (sim, _) = resumes_after_every_event(&script, || stopping(config.clone()));
        assert_eq!(sim.words().last().unwrap(), "12 restore early_stopping-best");
        assert!((sim.weight - 0.6).abs() < 1e-12);
    }
    // If the last epoch is the best, there is nothing to restore.
    let config = EarlyStoppingConfig { restore_best: true, ..EarlyStoppingConfig::default() };
    let (sim, _) = play(&Script::default(), stopping(config));
    assert!(sim.words().iter().all(|word| !word.contains("restore")));
}

#[test]
fn early_stopping_handles_warm_restarts() {
    // Each cycle has two epochs and begins worse than the previous one ended.
    fn saw(epoch: u64) -> EpochMetrics {
        val_loss(epoch, [0.9, 0.5, 0.8, 0.6, 0.8, 0.7, 0.9, 0.8][epoch as usize - 1])
    }
    let script = Script { metrics: saw, restarts: vec![6, 12, 18], ..Script::default() };
    for (at_restart, stops) in
        [(AtRestart::Ignore, Some(4)), (AtRestart::BeginAnew, None), (AtRestart::CountCycles, Some(6))]
    {
        let config = EarlyStoppingConfig { patience: 2, at_restart, ..EarlyStoppingConfig::default() };
        let (sim, _) = resumes_after_every_event(&script, || stopping(config.clone()));
        assert_eq!(sim.ended.map(|_| sim.epoch), stops, "{at_restart:?}");
    }
}

/// Every other cycle of one and a half epochs ends within an epoch.
#[test]
fn cycles_may_end_within_an_epoch() {
    let rises = |epoch| val_loss(epoch, epoch as f64);
    let restarts = vec![3, 6, 9, 12, 15];
    let script = Script { metrics: rises, updates_per_epoch: 2, restarts, ..Script::default() };
    // The first epochs of the cycles are measured after updates 2, 4 (and 6) and 8, so the first cycle is the best one.
    for (patience, stops, reason) in [
        (2, (9, 4), "stop at epoch 4: 2 bad cycles ≥ patience 2, best 1 at epoch 1"),
        (1, (6, 3), "stop at epoch 3: 1 bad cycles ≥ patience 1, best 1 at epoch 1"),
    ] {
        let at_restart = AtRestart::CountCycles;
        let config = EarlyStoppingConfig { patience, at_restart, ..EarlyStoppingConfig::default() };
        let (sim, _) = resumes_after_every_event(&script, || stopping(config.clone()));
        assert_eq!((sim.update, sim.epoch), stops);
        assert_eq!(sim.decisions[0].reason, reason);
    }
}
