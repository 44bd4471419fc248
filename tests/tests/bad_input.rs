//! Bad experiment files: exit code 2, every mistake with its place, nothing started.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use lrlab_tests::{Ran, run};

const GOOD: &str = r#"name = "tiny"
description = "One small run."

[axes]
model = ["resnet"]
schedule = ["static"]
monitor = ["off"]
epochs = [1]
seed = [0]

[defaults]
lr = 0.1
batch_size = 32
optimizer = { sgd = {} }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"

[data.pictures]
source = { synthetic_pictures = { train = 80, test = 20 } }

[schedules.static]
static = {}
"#;

/// Runs an experiment file of this text.
fn run_text(folder: &Path, text: &str, more: &[&str]) -> Ran {
    std::fs::write(folder.join("bad.toml"), text).unwrap();
    run(folder, &[&["run", "bad.toml", "--device", "cpu"], more].concat())
}

/// `edits` applied to the good file give exit code 2 and, for each, a mistake with `bad.toml:LINE` and a word.
fn check(edits: &[(&str, &str)], expected: &[(usize, &str)]) {
    let text = edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the good file");
        text.replacen(from, to, 1)
    });
    check_text(&text, expected);
}

fn check_text(text: &str, expected: &[(usize, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), text, &[]);
    assert_eq!(ran.code, 2, "{}\n{}", ran.out, ran.err);
    for (line, word) in expected {
        let place = format!("bad.toml:{line}:");
        assert!(ran.err.contains(&place), "no {place} in\n{}", ran.err);
        assert!(ran.err.contains(word), "no {word:?} in\n{}", ran.err);
    }
    assert!(!folder.path().join("runs/store").exists(), "something was started");
}

#[test]
fn unknown_key_gets_a_suggestion() {
    check(&[("batch_size = 32", "batch_sise = 32")], &[(13, "batch_sise"), (13, "batch_size")]);
}

#[test]
fn wrong_type() {
    check(&[("lr = 0.1", "lr = \"fast\"")], &[(12, "lr")]);
}

#[test]
fn impossible_range() {
    check(&[("lr = 0.1", "lr = -0.1")], &[(12, "-0.1")]);
    check(&[("depth = 8", "depth = 9")], &[(17, "9")]);
}

#[test]
fn duplicate_cell() {
    check(&[("seed = [0]", "seed = [0, 0]")], &[(9, "0")]);
}

#[test]
fn unknown_data_set() {
    check(&[("data = \"pictures\"", "data = \"picture\"")], &[(18, "picture"), (18, "pictures")]);
    check(&[("synthetic_pictures", "cifar11")], &[(21, "cifar11"), (21, "cifar10")]);
}

#[test]
fn three_typos_at_once() {
    check(
        &[("batch_size", "batchsize"), ("depth", "dept"), ("train = 80", "trian = 80")],
        &[(13, "batchsize"), (17, "dept"), (21, "trian")],
    );
}

#[test]
fn empty_file() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "\n\n", "# nothing\n"] {
        let ran = run_text(folder.path(), text, &[]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("empty"), "{}", ran.err);
    }
}

#[test]
fn no_toml() {
    check_text("name = \n", &[(1, "")]);
}

#[test]
fn no_file() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &["run", "no/such/file.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no/such/file.toml"), "{}", ran.err);
}

#[test]
fn bad_override_is_shown_against_the_argument() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), GOOD, &["--set", "defaults.lr=-1"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("command line:1:") && ran.err.contains("--set defaults.lr=-1"), "{}", ran.err);
    let ran = run_text(folder.path(), GOOD, &["--filter", "modle=resnet"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("modle") && ran.err.contains("model"), "{}", ran.err);
}

#[test]
fn unknown_option() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &["run", "--jbos", "2"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--jobs"), "{}", ran.err);
}

/// The same file without a mistake runs, so that the refusals above are not refusals of everything.
#[test]
fn the_good_file_runs() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_text(folder.path(), GOOD, &[]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
}
