//! One grid is of one numerics class: results, records, checkpoints and running processes.
#![cfg(target_os = "linux")]

use std::process::Stdio;

use super::*;
use lrlab_tests::ctrl_c;
use lrlab_tests::slurm::{kill, wait};

/// The kernels of two numerics classes. Those of candle take many times as long.
const KERNELS: &str = "LRLAB_KERNELS";

/// A grid of two runs that take seconds with the kernels of candle.
fn long() -> Place {
    let place = Place::new();
    let text = TINY
        .replace("linear = {}", "resnet = { depth = 8 }")
        .replace("epochs = [1]", "epochs = [12]")
        .replace("train = 40, test = 10", "train = 256, test = 32");
    std::fs::write(&place.experiment, text).unwrap();
    place
}

fn command(place: &Place, more: &[&str]) -> Command {
    let mut command = start(&program(), place.folder.path());
    command.args(["run", "tiny.toml", "--device", "cpu", "--threads", "1", "--jobs", "1"]);
    command.args(["--checkpoint-every", "1 update"]).args(more);
    command
}

/// A process may not have a result for hours.
#[test]
fn a_grid_that_another_process_trains_keeps_its_class() {
    let place = long();
    let mut first = command(&place, &[]);
    first.env(KERNELS, "candle").stdout(Stdio::piped()).stderr(Stdio::piped());
    let first = first.spawn().unwrap();
    let saved = |name: &str| {
        wait(name, 60, || {
            let all = lrlab_tests::files(&place.out.join("store"));
            all.iter().any(|path| path.file_name().is_some_and(|found| found == name)).then_some(())
        });
    };
    saved("claim.json");
    let other = |more: &[&str]| Ran::of(&command(&place, more).env(KERNELS, "own").output().unwrap());
    let refused = other(&[]);
    assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
    for words in
        [" is training ", "with the numerics class \"cpu/f32/candle", "--accept-numerics to keep both"]
    {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    // Another part of the experiment is refused, too.
    let other_part = other(&["--filter", "seed=1"]);
    assert!(other_part.code == 2 && other_part.err.contains(" is training "), "{}", other_part.err);
    saved("state.json");
    kill(&format!("-{}", ctrl_c().as_raw()), &first.id().to_string());
    let first = Ran::of(&first.wait_with_output().unwrap());
    assert_eq!(first.code, 85, "{}{}", first.out, first.err);

    // The interrupted run cannot be resumed in another class: nothing is trained.
    let refused = other(&[]);
    assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("1 run was interrupted in another numerics class"), "{}", refused.err);
    assert!(place.results().is_empty());
    // Both options start it over.
    for option in ["--rerun-others", "--accept-numerics"] {
        let part = tempfile::tempdir().unwrap();
        let out = part.path().join("runs");
        let copied = Command::new("cp").arg("-r").arg(&place.out).arg(&out).status().unwrap();
        assert!(copied.success());
        let out = out.to_str().unwrap();
        let ran = other(&["--out", out, option]);
        assert!(ran.code == 0 && ran.out.contains("(2 in this call)"), "{option}: {}{}", ran.out, ran.err);
        let words = "1 run interrupted in another numerics class moved to `superseded`";
        assert!(ran.err.contains(words), "{option}: {}", ran.err);
    }
}

/// The rest of the experiment may be on record alone.
#[test]
fn a_part_keeps_the_class_of_the_records_of_the_rest() {
    let place = Place::new();
    let seed = |seed: &str, more: &[&str]| {
        let mut command = start(&program(), place.folder.path());
        let filter = format!("seed={seed}");
        command.args(["run", "tiny.toml", "--device", "cpu", "--threads", "1", "--filter", &filter]);
        command.args(more);
        command
    };
    let first = Ran::of(&seed("0", &["--out", "m1"]).env(KERNELS, "own").output().unwrap());
    assert_eq!(first.code, 0, "{}", first.err);
    let export = ["records", "export", "tiny.toml", "--filter", "seed=0", "--out", "m1"];
    let ran = run(place.folder.path(), &[&export[..], &["--to", "results/tiny/first.jsonl"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let second = |more: &[&str]| {
        Ran::of(&seed("1", &[&["--out", "m2"], more].concat()).env(KERNELS, "candle").output().unwrap())
    };
    let refused = second(&[]);
    let words = "1 of 1 results have the numerics class \"cpu/f32/";
    assert!(refused.code == 2 && refused.err.contains(words), "{}{}", refused.out, refused.err);
    let alone = second(&["--no-records"]);
    assert_eq!(alone.code, 0, "{}", alone.err);
}

/// A worker that was suspended while its run was set aside and begun anew commits nothing.
#[test]
fn a_suspended_worker_cannot_commit_after_its_run_was_set_aside() {
    let place = long();
    assert_eq!(place.call("run", &["--filter", "seed=0"]).code, 0);
    let result = place.results().remove(0);
    let id = result.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    // The worker of attempt 1 again, as if it had never ended.
    let mut worker = start(&program(), place.folder.path());
    worker.args([
        "worker",
        "--out",
        "runs",
        "--run",
        &id,
        "--attempt",
        "1",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]);
    let redone = run(place.folder.path(), &["redo", &id[..9], "--device", "cpu"]);
    assert_eq!(redone.code, 0, "{}{}", redone.out, redone.err);
    let ran = Ran::of(&worker.output().unwrap());
    assert!(ran.out.contains("a later attempt owns this run"), "{}{}", ran.out, ran.err);
    assert_eq!(ran.code, 85, "{}", ran.err);
}
