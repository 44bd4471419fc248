//! Checkpoints are found and checked, and damaged ones are skipped; work of killed attempts counts; the first result is
//! kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use std::path::{Path, PathBuf};

use lrlab_runs::{
    Checkpoint, Checkpoints, Error, Fingerprint, RunId, RunResult, Step, Work, WorkLog, attempt_dir,
    earlier_work, link_exclusive, progress,
};
use proptest::prelude::*;
use serde_json::json;

fn fingerprint() -> Fingerprint {
    Fingerprint { run_id: RunId::of("{}", ""), numerics: "cpu/f32".to_owned(), build: "b".to_owned() }
}

fn attempt(run: &Path, number: u32) -> PathBuf {
    let folder = attempt_dir(run, number);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Opens the checkpoints; returns the newest valid one and the messages.
fn open(run: &Path, number: u32, fingerprint: Fingerprint) -> (Checkpoints, Option<Checkpoint>, Vec<String>) {
    let mut printed = Vec::new();
    let (checkpoints, found) =
        Checkpoints::open(run, number, fingerprint, &mut |message| printed.push(message)).unwrap();
    (checkpoints, found, printed)
}

fn write(checkpoints: &mut Checkpoints, update: u64) -> PathBuf {
    let state = json!({ "update": update, "epoch": update / 10, "history": [], "more": [1] }).to_string();
    let tensors = update.to_le_bytes();
    let files = [("state.json", state.as_bytes()), ("tensors.safetensors", tensors.as_slice())];
    checkpoints.write(Step { update, epoch: update / 10 }, &files).unwrap()
}

fn folders(run: &Path) -> usize {
    let attempts = std::fs::read_dir(run.join("attempts")).unwrap().flatten();
    let inside = |attempt: std::fs::DirEntry| std::fs::read_dir(attempt.path().join("checkpoints"));
    attempts.map(|attempt| inside(attempt).map_or(0, Iterator::count)).sum()
}

#[test]
fn the_last_two_checkpoints_of_all_attempts_are_kept() {
    let run = tempfile::tempdir().unwrap();
    let (mut first, found, printed) = open(run.path(), 1, fingerprint());
    assert_eq!((found, printed.len(), progress(run.path())), (None, 0, None));
    for update in [5, 10, 15] {
        write(&mut first, update);
    }
    assert_eq!(folders(run.path()), 2);

    let (mut second, found, printed) = open(run.path(), 2, fingerprint());
    let found = found.unwrap();
    assert_eq!((found.at, printed.len()), (Step { update: 15, epoch: 1 }, 0));
    assert_eq!(found.attempt, 1);
    assert_eq!(found.files["tensors.safetensors"], 15_u64.to_le_bytes());
    assert_eq!(write(&mut second, 15), found.folder, "one of this moment is there");
    write(&mut second, 20);
    assert_eq!(folders(run.path()), 2, "that of update 10 counts no more");
    write(&mut second, 25);
    assert_eq!(folders(run.path()), 2);
    let progress = progress(run.path()).unwrap();
    assert_eq!((progress.update, progress.epoch), (25, 2));

    // A partial checkpoint of a killed process is ignored and removed with the others.
    std::fs::create_dir(attempt(run.path(), 2).join("checkpoints/.x.tmp")).unwrap();
    let (third, found, printed) = open(run.path(), 3, fingerprint());
    assert_eq!((found.unwrap().at.update, printed.len()), (25, 0));
    third.remove_all().unwrap();
    assert_eq!(folders(run.path()), 0);
}

/// An attempt that was suspended while another took over from it leaves the checkpoints of the other alone.
#[test]
fn earlier_attempts_keep_later_checkpoints() {
    let run = tempfile::tempdir().unwrap();
    let (mut first, ..) = open(run.path(), 1, fingerprint());
    let (mut second, ..) = open(run.path(), 2, fingerprint());
    let later = [10, 20].map(|update| write(&mut second, update));
    write(&mut first, 5);
    assert!(later.iter().all(|folder| folder.is_dir()));
    let (_, found, _) = open(run.path(), 3, fingerprint());
    assert_eq!(found.unwrap().at.update, 20);
}

#[test]
fn checkpoints_of_another_fingerprint_are_reported() {
    let run = tempfile::tempdir().unwrap();
    write(&mut open(run.path(), 1, fingerprint()).0, 10);
    let (other, found, printed) =
        open(run.path(), 2, Fingerprint { build: "other".to_owned(), ..fingerprint() });
    assert_eq!(found, None);
    assert!(printed[0].contains("000000000010.000001: written by another build"), "{printed:?}");
    drop(other);
    let (_, found, printed) =
        open(run.path(), 2, Fingerprint { run_id: RunId::of("{ }", ""), ..fingerprint() });
    assert_eq!(found, None);
    assert!(printed[0].contains("it belongs to run"), "{printed:?}");
    let gpu = Fingerprint { numerics: "cuda/f32".to_owned(), ..fingerprint() };
    let error = Checkpoints::open(run.path(), 2, gpu, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::OtherNumerics { .. }));
    let text = error.to_string();
    assert!(
        text.contains("\"cpu/f32\"") && text.contains("\"cuda/f32\"") && text.contains("--out"),
        "{text}"
    );
    assert_eq!(folders(run.path()), 1, "nothing was touched");
}

#[test]
fn failed_writes_leave_no_files() {
    let run = tempfile::tempdir().unwrap();
    let (mut checkpoints, ..) = open(run.path(), 1, fingerprint());
    write(&mut checkpoints, 10);
    let error = checkpoints.write(Step { update: 20, epoch: 2 }, &[("a/b", b"x")]).unwrap_err();
    assert!(error.to_string().contains("000000000020.000002/a/b"), "{error}");
    assert_eq!(folders(run.path()), 1);
    assert_eq!(open(run.path(), 2, fingerprint()).1.unwrap().at.update, 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// If the newest checkpoint is truncated or one of its bits is flipped, the one before is found, and the damage is
    /// reported.
    #[test]
    fn damaged_checkpoints_fall_back_to_earlier_ones(file in 0_usize..3, place in any::<prop::sample::Index>(), bit in 0..8, cut: bool) {
        let run = tempfile::tempdir().unwrap();
        let (mut checkpoints, ..) = open(run.path(), 1, fingerprint());
        write(&mut checkpoints, 10);
        let newest = write(&mut checkpoints, 20);
        let name = ["manifest.json", "state.json", "tensors.safetensors"][file];
        let mut bytes = std::fs::read(newest.join(name)).unwrap();
        let at = place.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1_u8 << bit;
        }
        std::fs::write(newest.join(name), &bytes).unwrap();
        let (_, found, printed) = open(run.path(), 2, fingerprint());
        prop_assert_eq!(found.unwrap().at.update, if printed.is_empty() { 20 } else { 10 });
        // Only a change of white space in the manifest is accepted.
        prop_assert!(!printed.is_empty() || name == "manifest.json");
        prop_assert!(printed.iter().all(|message| message.contains(&*newest.to_string_lossy())));
    }
}

#[test]
fn work_of_killed_attempts_counts() {
    let run = tempfile::tempdir().unwrap();
    let work = |updates| Work { updates, examples: 32 * updates, train_s: 0.5, ..Work::default() };
    for (number, started, updates) in [(1, 200.0, 7), (2, 100.0, 5), (3, 300.0, 11)] {
        let mut log = WorkLog::create(&attempt(run.path(), number), started).unwrap();
        log.record(&work(100_000)).unwrap();
        log.record(&work(updates)).unwrap();
    }
    // An attempt that died before any work, and a line that cannot be read.
    std::fs::write(attempt(run.path(), 4).join("work.json"), "{\"star").unwrap();
    attempt(run.path(), 5);
    let (before, first) = earlier_work(run.path(), 3);
    assert_eq!((before.updates, before.examples, before.train_s, first), (12, 384, 1.0, Some(100.0)));
    let timing = (before + work(11)).timing();
    assert_eq!(
        (timing.updates_executed, timing.train_s, timing.examples_per_s),
        (23, 1.5, 23.0 * 32.0 / 1.5)
    );
}

#[test]
fn the_first_result_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a"), "one").unwrap();
    std::fs::write(path("b"), "two").unwrap();
    assert!(link_exclusive(&path("a"), &path("best")).unwrap());
    assert!(!link_exclusive(&path("b"), &path("best")).unwrap());
    assert_eq!(std::fs::read(path("best")).unwrap(), b"one");
}

#[test]
fn differing_results_have_a_first_difference() {
    let result = |val_loss: f64, best: f64| -> RunResult {
        serde_json::from_value(json!({
            "run_id": RunId::of("{}", ""), "cell": {}, "spec": {}, "outcome": "completed",
            "history": [{ "epoch": 1, "val_loss": 0.5 }, { "epoch": 2, "val_loss": val_loss }],
            "final": {}, "best": { "epoch": 2, "test_loss": best }, "decisions": [],
            "timing": { "train_s": val_loss }, "provenance": {},
        }))
        .unwrap()
    };
    assert_eq!(result(0.25, 0.5).difference(&result(0.25, 0.5)), None);
    let difference = result(0.25, 0.5).difference(&result(0.75, 0.125)).unwrap();
    assert_eq!(difference.place, "history[1].val_loss");
    assert_eq!((difference.first, difference.other), (json!(0.25), json!(0.75)));
    let difference = result(0.25, 0.5).difference(&result(0.25, 0.125)).unwrap();
    assert_eq!(difference.place, "best.test_loss");
    // Equal as numbers, but not to the bit.
    assert_eq!(result(0.0, 0.5).difference(&result(-0.0, 0.5)).unwrap().place, "history[1].val_loss");

    // All of the provenance is compared separately.
    let (mut here, mut there) = (result(0.5, 0.5), result(0.5, 0.5));
    here.provenance.host = "here".to_owned();
    here.provenance.versions = [("candle", "1"), ("rustc", "2")].map(|(a, b)| (a.into(), b.into())).into();
    there.provenance.versions = [("lrlab", "3"), ("rustc", "2")].map(|(a, b)| (a.into(), b.into())).into();
    assert_eq!(here.difference(&there), None);
    let mut places: Vec<_> =
        here.provenance_differences(&there).into_iter().map(|found| found.place).collect();
    places.sort();
    assert_eq!(places, ["host", "versions.candle", "versions.lrlab"]);
}
