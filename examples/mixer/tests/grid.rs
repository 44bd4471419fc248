//! The grid of the example, and what a registration means for identities.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn mixer(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixer"));
    command.current_dir(folder).env("NO_COLOR", "1").args(args).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with the experiment, changed.
fn experiment(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = include_str!("../mixer.toml").to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(folder.path().join("mixer.toml"), text).unwrap();
    folder
}

fn results(folder: &Path) -> Vec<Value> {
    let store = std::fs::read_dir(folder.join("runs/store")).unwrap();
    let read = |run: std::fs::DirEntry| std::fs::read(run.path().join("result.json")).ok();
    store.flatten().filter_map(read).map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
}

/// Every cell learns, and every result names the parts of the runner.
#[test]
fn the_grid_learns() {
    let folder = experiment(&[]);
    let ran = mixer(folder.path(), &["run", "mixer.toml", "--device", "cpu"]);
    assert!(ran.status.success(), "{}", err(&ran));
    let results = results(folder.path());
    assert_eq!(results.len(), 8);
    for result in &results {
        let accuracy = result["final"]["test_accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.5, "{accuracy}: chance is a third\n{result}");
        let parts = serde_json::json!([
            { "kind": "model", "name": "mixer", "version": "1" },
            { "kind": "data", "name": "stripes", "version": "1" },
        ]);
        assert_eq!(result["provenance"]["registered"], parts);
        assert_eq!(result["spec"]["model"]["custom"]["version"], "1");
    }
    assert!(folder.path().join("runs/mixer/report/report.html").is_file());
    // A second call has nothing to do, and a run is repeated bit by bit.
    let again = mixer(folder.path(), &["verify", "mixer.toml", "--sample", "1", "--device", "cpu"]);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success() && text.contains("1 of 1 runs are identical"), "{text}{}", err(&again));
}

/// Limits and splits are the library's, and the settings are checked by it.
#[test]
fn settings_of_the_data_set() {
    for (change, words) in [
        ("limit = { train = 160 }\nvalidation = 240", "240 examples for validation leave none for training"),
        ("pin_digest = \"abc\"", "expected abc (pin_digest)"),
    ] {
        let folder = experiment(&[("limit = { train = 160 }", change)]);
        let ran = mixer(folder.path(), &["plan", "mixer.toml"]);
        assert!(!ran.status.success() && err(&ran).contains(words), "no {words:?} in\n{}", err(&ran));
    }
}

/// The version is the runner's to state.
#[test]
fn versions_in_the_file_are_rejected() {
    let folder = experiment(&[("name = \"mixer\", options", "name = \"mixer\", version = \"7\", options")]);
    let ran = mixer(folder.path(), &["plan", "mixer.toml"]);
    assert!(!ran.status.success() && err(&ran).contains("unknown key `version`"), "{}", err(&ran));
}
