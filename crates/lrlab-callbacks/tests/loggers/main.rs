//! The files of loggers, also after a resume.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod tensorboard;

use std::path::Path;
use std::process::Command;

use common::{Script, Sim, val_loss};
use lrlab_callbacks::{
    Callbacks, CsvLogger, CsvUpdateLogger, Hook, JsonlLogger, ProgressBar, RateRecorder, Session,
    TensorBoardLogger, ValidationLossMonitor,
};
use lrlab_runs::{EpochMetrics, Event};
use lrlab_schedulers::{ControllerSpec, Horizon, Plateau, ScheduleSpec};
use serde_json::Value;

fn script() -> Script {
    let metrics =
        |epoch| EpochMetrics { lr: Some(0.1), ..val_loss(epoch, if epoch == 2 { f64::NAN } else { 0.5 }) };
    Script { metrics, epochs: 4, ..Script::default() }
}

fn monitor() -> ValidationLossMonitor {
    let plateau = Plateau { factor: 0.5, patience: 0, ..Plateau::default() };
    ValidationLossMonitor::new(ControllerSpec::from(plateau).build().unwrap(), "val_loss").unwrap()
}

/// Runs `callbacks` for a number of events and then drops them, as in a crash. Returns the checkpoint `behind` events earlier;
/// `None` if the run has fewer events.
fn killed(mut callbacks: Callbacks, events: usize, behind: usize) -> Option<(Sim, Value)> {
    let mut sim = Sim::new(script());
    sim.start(&mut callbacks).unwrap();
    let mut checkpoint = (sim.clone(), callbacks.state());
    let mut more = true;
    for event in 1..=events {
        more &= sim.step(&mut callbacks).unwrap();
        if event == events - behind {
            checkpoint = (sim.clone(), callbacks.state());
        }
    }
    more.then_some(checkpoint)
}

/// Asserts that the file of a run that is killed after any event, and continues from a checkpoint `behind` events earlier,
/// equals the file of an uninterrupted run. Returns its content.
fn same_file_after_a_crash(file: &str, behind: usize, make: impl Fn(&Path) -> Callbacks) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    let mut callbacks = make(folder.path());
    Sim::new(script()).run(&mut callbacks).unwrap();
    drop(callbacks);
    let whole = std::fs::read_to_string(&path).unwrap();

    for events in behind.. {
        std::fs::remove_file(&path).unwrap();
        let Some((mut sim, state)) = killed(make(folder.path()), events, behind) else { break };
        // The crash truncates a line.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"eve");
        std::fs::write(&path, bytes).unwrap();
        let mut callbacks = make(folder.path());
        callbacks.restore(state).unwrap();
        sim.run(&mut callbacks).unwrap();
        drop(callbacks);
        let resumed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(resumed, whole, "killed after {events} events, {behind} after the checkpoint");
    }
    whole
}

#[test]
fn csv_has_a_row_per_epoch() {
    for behind in [0, 1, 7] {
        let make = |folder: &Path| Callbacks::default().with(CsvLogger::new(folder.join("m.csv")));
        let text = same_file_after_a_crash("m.csv", behind, make);
        assert_eq!(
            text.lines().take(3).collect::<Vec<_>>(),
            [
                "epoch,lr_first,lr,train_loss,train_accuracy,val_loss,val_loss_stderr,val_accuracy,val_f1,\
                 val_precision,val_recall,val_ece,grad_norm",
                "1,,0.1,,,0.5,0.01,,,,,,",
                "2,,0.1,,,NaN,0.01,,,,,,",
            ]
        );
        assert_eq!(text.lines().count(), 5);
    }
}

#[test]
fn csv_writes_the_history_to_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut sim = Sim::new(script());
    while sim.epoch < 3 {
        sim.step(&mut Callbacks::default()).unwrap();
    }
    let path = folder.path().join("a/m.csv");
    sim.run(&mut Callbacks::default().with(CsvLogger::new(&path))).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let epochs: Vec<_> = text.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(epochs, ["epoch", "1", "2", "3", "4"]);
}

/// One of three epochs measures nothing and one measures NaN. The session continues in a new folder.
#[test]
fn unmeasured_metrics_differ_from_nan() {
    let run = Horizon { updates: 6, updates_per_epoch: 2 };
    let folder = tempfile::tempdir().unwrap();
    let session = |part: &str| {
        let schedule = ScheduleSpec::parse("static").unwrap().build(&run).unwrap();
        let file = |name: &str| folder.path().join(part).join(name);
        let callbacks =
            Callbacks::default().with(CsvLogger::new(file("m.csv"))).with(JsonlLogger::new(file("e.jsonl")));
        Session::new(callbacks, schedule, 0.1, run)
    };
    let mut host = Sim::new(script());
    let mut epoch = |session: &mut Session, val_loss| {
        session.end_update(1.0, None, &mut host).unwrap();
        session.end_update(1.0, None, &mut host).unwrap();
        session.end_epoch(EpochMetrics { val_loss, ..EpochMetrics::default() }, &mut host).unwrap();
    };
    let mut first = session("first");
    first.begin(&mut Sim::new(script())).unwrap();
    epoch(&mut first, None);
    epoch(&mut first, Some(f64::NAN));
    let saved = serde_json::to_string(&first.state()).unwrap();

    let mut second = session("second");
    second.restore(serde_json::from_str(&saved).unwrap()).unwrap();
    second.begin(&mut Sim::new(script())).unwrap();
    epoch(&mut second, Some(f64::INFINITY));
    let text = std::fs::read_to_string(folder.path().join("second/m.csv")).unwrap();
    let losses: Vec<_> = text.lines().map(|line| line.split(',').nth(5).unwrap()).collect();
    assert_eq!(losses, ["val_loss", "", "NaN", "inf"]);
    let text = std::fs::read_to_string(folder.path().join("second/e.jsonl")).unwrap();
    assert_eq!(text.matches("\"val_loss\":null").count(), 3, "{text}");
}

#[test]
fn errors_name_the_unwritable_file() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    for callbacks in [
        Callbacks::default().with(CsvLogger::new(blocked.join("m.csv"))),
        Callbacks::default().with(JsonlLogger::new(blocked.join("e.jsonl"))),
        Callbacks::default().with(TensorBoardLogger::new(&blocked)),
    ] {
        let mut callbacks = callbacks;
        let error = Sim::new(script()).start(&mut callbacks).unwrap_err().to_string();
        assert!(error.contains(&*blocked.to_string_lossy()), "{error}");
    }
}

#[test]
fn the_rate_recorder_writes_every_update() {
    for behind in [0, 3] {
        let make = |folder: &Path| {
            Callbacks::default().with(monitor()).with(RateRecorder::new(folder.join("rates.csv")))
        };
        let text = same_file_after_a_crash("rates.csv", behind, make);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["update,lr,gain,schedule_lr", "1,0.1,1,0.1", "2,0.1,1,0.1"]);
        assert_eq!(lines[7], "7,0.05,0.5,0.1", "the cut of epoch 2 applies from update 7");
        assert_eq!(lines.len(), 13);
    }
}

#[test]
fn jsonl_contains_all_events_of_a_run() {
    for behind in [0, 1, 7] {
        let make = |folder: &Path| {
            let logger = JsonlLogger::new(folder.join("e.jsonl")).progress_every(2);
            Callbacks::default().with(monitor()).with(logger)
        };
        let text = same_file_after_a_crash("e.jsonl", behind, make);
        let words: Vec<_> = text
            .lines()
            .map(|line| match serde_json::from_str(line).unwrap() {
                Event::Started { updates, epochs } => format!("{updates} {epochs}"),
                Event::Progress { update, .. } => format!("p{update}"),
                Event::Epoch { metrics } => format!("e{} {:?}", metrics.epoch, metrics.val_loss),
                Event::Decided { decision } => format!("d{} {}", decision.update, decision.gain),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            words,
            [
                "12 4",
                "p2",
                "e1 Some(0.5)",
                "p4",
                "p6",
                "e2 None",
                "d6 0.5",
                "p8",
                "e3 Some(0.5)",
                "d9 0.25",
                "p10",
                "p12",
                "e4 Some(0.5)",
                "d12 0.125",
            ]
        );
    }
}

/// Rows without a user-defined metric have an empty cell, and a resume neither repeats nor loses rows.
#[test]
fn the_update_log_writes_every_second_update() {
    for behind in [0, 1, 3, 7] {
        let make = |folder: &Path| {
            Callbacks::default().with(monitor()).with(CsvUpdateLogger::new(folder.join("updates.csv"), 2))
        };
        let text = same_file_after_a_crash("updates.csv", behind, make);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "update,loss,lr,gain,grad_norm,third");
        let cells = |line: &str| -> Vec<String> { line.split(',').map(str::to_owned).collect() };
        let updates: Vec<_> = lines[1..].iter().map(|line| cells(line)[0].clone()).collect();
        assert_eq!(updates, ["2", "4", "6", "8", "10", "12"]);
        let thirds: Vec<_> = lines[1..].iter().map(|line| cells(line)[5].clone()).collect();
        assert_eq!(thirds, ["", "", "6", "", "", "12"]);
        assert_eq!(cells(lines[4])[2..5], ["0.05", "0.5", "1"], "the cut of epoch 2 applies from update 7");
    }
    let folder = tempfile::tempdir().unwrap();
    let never = folder.path().join("never.csv");
    Sim::new(script()).run(&mut Callbacks::default().with(CsvUpdateLogger::new(&never, 0))).unwrap();
    assert!(!never.exists());
}

#[test]
fn jsonl_contains_user_defined_metrics_of_updates() {
    let make =
        |folder: &Path| Callbacks::default().with(JsonlLogger::new(folder.join("e.jsonl")).progress_every(3));
    let text = same_file_after_a_crash("e.jsonl", 2, make);
    let thirds: Vec<_> = text
        .lines()
        .filter_map(|line| match serde_json::from_str(line).unwrap() {
            Event::Progress { update, extra, .. } => Some((update, extra["third"])),
            _ => None,
        })
        .collect();
    assert_eq!(thirds, [(3, Some(3.0)), (6, Some(6.0)), (9, Some(9.0)), (12, Some(12.0))]);
}

#[test]
fn jsonl_contains_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.jsonl");
    let mut callbacks = Callbacks::default().with(JsonlLogger::new(&path));
    let mut sim = Sim::new(script());
    sim.start(&mut callbacks).unwrap();
    sim.dispatch(&mut callbacks, "failed", Hook::Failed { error: "disk full" }).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().last().unwrap(), r#"{"event":"failed","error":"disk full"}"#);
}

#[test]
fn progress_without_a_terminal_is_plain_lines() {
    let path = tempfile::NamedTempFile::new().unwrap();
    let bar = ProgressBar::lines(path.reopen().unwrap());
    Sim::new(script()).run(&mut Callbacks::default().with(monitor()).with(bar)).unwrap();
    let text = std::fs::read_to_string(path.path()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "epoch 1/4  val_loss 0.5000  lr 1.000e-1  3.0 s");
    assert!(lines[1].starts_with("monitor: cut × 0.5"), "{}", lines[1]);
    assert_eq!(lines[2], "epoch 2/4  val_loss NaN  lr 1.000e-1  6.0 s");
    assert_eq!(lines.len(), 7);
}

/// Every line can be read, also one with a metric that is not finite, and a run that continues with another length says so.
#[test]
fn events_can_be_read_and_state_the_length_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let metrics =
        |epoch| val_loss(epoch, 0.5).with("perplexity", if epoch == 2 { f64::INFINITY } else { 2.0 });
    let logger = || Callbacks::default().with(JsonlLogger::new(&path).progress_every(1));
    let events = || -> Vec<Event> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut callbacks = logger();
    let mut sim = Sim::new(Script { metrics, epochs: 3, ..Script::default() });
    sim.run(&mut callbacks).unwrap();
    let short = events();
    assert!(matches!(short[0], Event::Started { updates: 9, epochs: 3 }), "{:?}", short[0]);
    let progress = |events: &[Event]| events.iter().filter(|it| matches!(it, Event::Progress { .. })).count();
    assert_eq!(progress(&short), 9);

    // The same state in a run of twice the length.
    let state = callbacks.state();
    sim.script.epochs = 6;
    let mut callbacks = logger();
    callbacks.restore(state).unwrap();
    sim.start(&mut callbacks).unwrap();
    let long = events();
    assert!(matches!(long[0], Event::Started { updates: 18, epochs: 6 }), "{:?}", long[0]);
    assert_eq!((long.len(), progress(&long)), (short.len(), 9));
}
