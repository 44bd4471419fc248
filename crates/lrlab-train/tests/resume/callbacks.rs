//! The callbacks of the runs, alone and together.

use lrlab_callbacks::{
    AverageEvery, Averaging, Callbacks, Checkpoint, CheckpointConfig, DivergenceConfig, DivergenceGuard,
    EarlyStopping, EarlyStoppingConfig, OnDivergence, RangeTest, RangeTestConfig, SaveEvery, ShamControl,
    SnapshotEnsemble, ValidationLossMonitor, WeightAveraging,
};
use lrlab_runs::{Decision, DecisionKind};
use lrlab_schedulers::{ControllerSpec, Plateau, Span, ThresholdMode};

/// A monitor that sees no improvement after the first epoch.
pub(crate) fn monitor(rewind: bool) -> ValidationLossMonitor {
    let plateau = Plateau {
        factor: 0.5,
        patience: 0,
        threshold: 1e6,
        threshold_mode: ThresholdMode::Abs,
        rewind,
        ..Plateau::default()
    };
    ValidationLossMonitor::new(ControllerSpec::from(plateau).build().unwrap(), "val_loss").unwrap()
}

/// Tries several rates after each epoch, and rewinds.
fn search() -> ValidationLossMonitor {
    let search = ControllerSpec::parse("auto_lrs = { updates = 2, trials = 2 }").unwrap();
    ValidationLossMonitor::new(search.build().unwrap(), "val_loss").unwrap()
}

pub(crate) fn stopping(min_delta: f64, restore_best: bool) -> EarlyStopping {
    let config =
        EarlyStoppingConfig { patience: 2, min_delta, restore_best, ..EarlyStoppingConfig::default() };
    EarlyStopping::new(config).unwrap()
}

/// A guard that treats any loss above the first update's as divergence.
pub(crate) fn guard() -> DivergenceGuard {
    let action = OnDivergence::Rewind { factor: 0.5, limit: 20 };
    let config = DivergenceConfig { explosion: Some(1.0 + 1e-9), patience: 1, action };
    DivergenceGuard::new(config).unwrap()
}

pub(crate) fn keeps(last: SaveEvery) -> Checkpoint {
    let config = CheckpointConfig { top_k: 2, last: Some(last), ..CheckpointConfig::default() };
    Checkpoint::new(config).unwrap()
}

/// Another run's decisions: a cut in the middle of an epoch and one at its end.
fn sham() -> ShamControl {
    let cut = |update, epoch, gain| Decision {
        update,
        epoch,
        source: "other".to_owned(),
        kind: DecisionKind::Cut,
        lr_before: None,
        lr_after: None,
        gain,
        metric: "val_loss".to_owned(),
        value: None,
        reason: "enough".to_owned(),
    };
    ShamControl::new(&[cut(2, 0, 0.5), cut(8, 2, 0.25)])
}

fn range_test() -> RangeTest {
    let config = RangeTestConfig { min_lr: 1e-4, max_lr: 0.1, updates: 7, ..RangeTestConfig::default() };
    RangeTest::new(config).unwrap()
}

pub(crate) type Make = fn() -> Callbacks;

/// The callbacks, each with the kind of decision that its run must have.
pub(crate) const WATCHED: [(&str, Make, Option<DecisionKind>); 15] = [
    ("nothing", Callbacks::default, None),
    ("monitor", || Callbacks::default().with(monitor(false)), Some(DecisionKind::Cut)),
    ("monitor that rewinds", || Callbacks::default().with(monitor(true)), Some(DecisionKind::Rewind)),
    ("monitor that tries out rates", || Callbacks::default().with(search()), None),
    ("early stopping", || Callbacks::default().with(stopping(1e6, false)), Some(DecisionKind::Stop)),
    (
        "early stopping that restores",
        || Callbacks::default().with(stopping(1e6, true)),
        Some(DecisionKind::Stop),
    ),
    ("ema", || Callbacks::default().with(WeightAveraging::ema(0.8).unwrap()), None),
    ("swa", || Callbacks::default().with(WeightAveraging::swa(Span::Epochs(1.0)).unwrap()), None),
    ("lawa", || Callbacks::default().with(WeightAveraging::lawa(2).unwrap()), None),
    (
        "average over cycles",
        || {
            let every = WeightAveraging::new(Averaging::Uniform, AverageEvery::Cycle, Span::Updates(0));
            Callbacks::default().with(every.unwrap())
        },
        None,
    ),
    ("snapshots", || Callbacks::default().with(SnapshotEnsemble::new().keep(2)), None),
    ("guard that rewinds", || Callbacks::default().with(guard()), Some(DecisionKind::Rewind)),
    ("sham control", || Callbacks::default().with(sham()), Some(DecisionKind::Cut)),
    ("range test", || Callbacks::default().with(range_test()), Some(DecisionKind::Stop)),
    (
        "everything",
        || {
            Callbacks::default()
                .with(monitor(true))
                .with(stopping(0.0, true))
                .with(guard())
                .with(WeightAveraging::ema(0.8).unwrap())
                .with(keeps(SaveEvery::Updates(3)))
                .with(SnapshotEnsemble::new())
        },
        Some(DecisionKind::Rewind),
    ),
];
