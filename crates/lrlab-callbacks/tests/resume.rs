//! Every callback, and the monitor with every controller, resumes after an interruption at any event with the same actions,
//! weights and state as an uninterrupted run.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use common::{Script, play, resumes_after_every_event, val_loss};
use lrlab_callbacks::{
    AtRestart, AverageEvery, Averaging, Callback, Callbacks, Checkpoint, CheckpointConfig, CsvLogger,
    CsvUpdateLogger, DivergenceConfig, DivergenceGuard, EarlyStopping, EarlyStoppingConfig, GainPolicy,
    JsonlLogger, OnDivergence, ProgressBar, RangeTest, RangeTestConfig, RateRecorder, SaveEvery, ShamControl,
    SnapshotEnsemble, TensorBoardLogger, Timer, ValidationLossMonitor, WeightAveraging,
};
use lrlab_schedulers::{ControllerSpec, Span};

/// Every controller.
const CONTROLLERS: &[&str] = &[
    "plateau = { factor = 0.5, patience = 1, cooldown = 1, on_nan = 'rewind' }",
    "plateau = { factor = 0.5, patience = 1, rewind = true, rule = 'keras' }",
    "noise_aware_plateau = { z = 1, patience = 1 }",
    "greedy = { factor = 0.8, patience = 0, cooldown = 1, warmup = 1, window = 2, min_gain = 0.5, reset_after = 1 }",
    "new_bob = { patience = 1 }",
    "bold_driver = { up = 1.1, down = 0.5 }",
    "auto_lrs = { trials = 4, updates = 3, every = 2 }",
    "scripted = { gains = [[1, 0.5], [2, 2.0], [4, 0.25]] }",
];

/// A validation loss that rises and falls, with a NaN; a spike in the losses; restarts within and at the end of epochs.
fn script() -> Script {
    Script {
        restarts: vec![7, 12, 19],
        loss: |update| if update == 11 { 9.0 } else { 1.0 + (update as f64).sin() / 4.0 },
        metrics: |epoch| {
            val_loss(epoch, [0.9, 0.5, 0.6, 0.65, f64::NAN, 0.55, 0.4, 0.45][epoch as usize - 1])
        },
        ..Script::default()
    }
}

fn monitor(text: &str) -> ValidationLossMonitor {
    let controller = ControllerSpec::parse(text).unwrap().build().unwrap();
    ValidationLossMonitor::new(controller, "val_loss").unwrap()
}

/// Creates a collection.
type Make = Box<dyn Fn() -> Callbacks>;

fn add<C: Callback>(all: &mut Vec<(&'static str, Make)>, name: &'static str, make: impl Fn() -> C + 'static) {
    all.push((name, Box::new(move || Callbacks::default().with(make()))));
}

/// Returns every callback by the name of its type, in variants with different states. Files are written to `folder`.
fn every(folder: &Path) -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = Vec::new();
    for text in CONTROLLERS {
        for policy in [GainPolicy::Keep, GainPolicy::ResetAtRestart] {
            add(&mut all, "ValidationLossMonitor", move || monitor(text).at_restart(policy));
        }
    }
    for at_restart in [AtRestart::Ignore, AtRestart::BeginAnew, AtRestart::CountCycles] {
        let config = EarlyStoppingConfig {
            patience: 2,
            restore_best: true,
            at_restart,
            ..EarlyStoppingConfig::default()
        };
        add(&mut all, "EarlyStopping", move || EarlyStopping::new(config.clone()).unwrap());
    }
    for last in [SaveEvery::Epochs(2), SaveEvery::Updates(5), SaveEvery::Minutes(0.1)] {
        let config =
            CheckpointConfig { top_k: 2, last: Some(last), on_error: true, ..CheckpointConfig::default() };
        add(&mut all, "Checkpoint", move || Checkpoint::new(config.clone()).unwrap());
    }
    for action in [
        OnDivergence::Diverge,
        OnDivergence::Stop,
        OnDivergence::Rewind { factor: 0.5, limit: 2 },
        OnDivergence::Cut { factor: 0.5, limit: 1 },
    ] {
        let config = DivergenceConfig { explosion: Some(1.1), patience: 2, action };
        add(&mut all, "DivergenceGuard", move || DivergenceGuard::new(config.clone()).unwrap());
    }
    for (rule, every) in [
        (Averaging::Exponential { decay: 0.9 }, AverageEvery::Length(Span::Updates(2))),
        (Averaging::Uniform, AverageEvery::Length(Span::Epochs(1.0))),
        (Averaging::Latest { k: 2 }, AverageEvery::Cycle),
    ] {
        add(&mut all, "WeightAveraging", move || {
            WeightAveraging::new(rule, every, Span::Updates(4)).unwrap()
        });
    }
    add(&mut all, "SnapshotEnsemble", || SnapshotEnsemble::new().keep(2));
    add(&mut all, "Timer", || Timer::new(Duration::from_secs(13)));
    let config = RangeTestConfig { min_lr: 1e-3, updates: 20, ..RangeTestConfig::default() };
    add(&mut all, "RangeTest", move || RangeTest::new(config.clone()).unwrap());
    let (real, _) = play(&script(), Callbacks::default().with(monitor(CONTROLLERS[0])));
    assert!(!real.decisions.is_empty());
    add(&mut all, "ShamControl", move || ShamControl::new(&real.decisions));
    let file = |name: &str| folder.join(name);
    let (csv, rates, jsonl, events) = (file("m.csv"), file("r.csv"), file("e.jsonl"), file("tb"));
    add(&mut all, "CsvLogger", move || CsvLogger::new(&csv));
    let updates = file("u.csv");
    add(&mut all, "CsvUpdateLogger", move || CsvUpdateLogger::new(&updates, 2));
    add(&mut all, "RateRecorder", move || RateRecorder::new(&rates));
    add(&mut all, "JsonlLogger", move || JsonlLogger::new(&jsonl).progress_every(2));
    add(&mut all, "TensorBoardLogger", move || TensorBoardLogger::new(&events));
    add(&mut all, "ProgressBar", || ProgressBar::lines(std::io::sink()));
    all
}

#[test]
fn every_callback_resumes_after_every_event() {
    let folder = tempfile::tempdir().unwrap();
    for (name, make) in every(folder.path()) {
        let (sim, callbacks) = resumes_after_every_event(&script(), make);
        assert!(sim.update > 0 && callbacks.len() == 1, "{name}");
    }
}

/// Actions of one callback affect the others.
#[test]
fn callbacks_resume_together_after_every_event() {
    let make = || {
        let stopping =
            EarlyStoppingConfig { patience: 4, restore_best: true, ..EarlyStoppingConfig::default() };
        let action = OnDivergence::Rewind { factor: 0.5, limit: 3 };
        let guard = DivergenceConfig { explosion: Some(4.0), patience: 1, action };
        Callbacks::default()
            .with(monitor(CONTROLLERS[0]))
            .with(monitor(CONTROLLERS[6]).named("search"))
            .with(DivergenceGuard::new(guard).unwrap())
            .with(EarlyStopping::new(stopping).unwrap())
            .with(Checkpoint::new(CheckpointConfig { top_k: 2, ..CheckpointConfig::default() }).unwrap())
            .with(SnapshotEnsemble::new())
            .with(WeightAveraging::ema(0.9).unwrap())
    };
    let (sim, _) = resumes_after_every_event(&script(), make);
    assert!(sim.decisions.len() > 3, "{:?}", sim.decisions);
}

#[test]
fn every_callback_and_controller_is_tested() {
    let folder = tempfile::tempdir().unwrap();
    let tested: BTreeSet<String> =
        every(folder.path()).into_iter().map(|(name, _)| name.to_owned()).collect();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let named = text
            .lines()
            .filter_map(|line| line.strip_prefix("impl Callback for ")?.split_whitespace().next());
        found.extend(named.map(str::to_owned));
    }
    assert_eq!(tested, found);

    let listed: BTreeSet<&str> =
        CONTROLLERS.iter().map(|text| ControllerSpec::parse(text).unwrap().name()).collect();
    let error = ControllerSpec::parse("nonsense").unwrap_err().to_string();
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(listed, known, "{error}");
}
