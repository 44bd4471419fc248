//! `lrlab verify`: what a reader of a result does to believe it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use lrlab_tests::{TINY, results, run};
use serde_json::Value;
use tempfile::TempDir;

/// Four runs of two networks, done.
fn done() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = TINY
        .replace("model = [\"linear\"]", "model = [\"linear\", \"resnet\"]")
        .replace("epochs = [1]", "epochs = [3]")
        + "\n[models.resnet]\nnetwork = { resnet = { depth = 8, width = 0.25 } }\ndata = \"pictures\"\n\
           [monitors.on]\ncontroller = { plateau = { factor = 0.5, patience = 0, threshold = 0.9 } }\n";
    let text = text.replace("seed = [0, 1]", "seed = [0, 1]\nmonitor = [\"on\"]");
    std::fs::write(folder.path().join("tiny.toml"), text).unwrap();
    let ran = run(folder.path(), &["run", "tiny.toml", "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    folder
}

fn verify(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let ran = run(folder, &[&["verify", "--device", "cpu"], args].concat());
    (ran.code, ran.out, ran.err)
}

/// Changes the result of the run of a model with seed 0; gives its id and the result's file.
fn change(folder: &Path, model: &str, change: impl FnOnce(&mut Value)) -> (String, PathBuf) {
    let (id, mut result) = results(&folder.join("runs"))
        .into_iter()
        .find(|(_, result)| result["cell"]["model"] == model && result["cell"]["seed"] == 0)
        .unwrap();
    change(&mut result);
    let path = folder.join("runs/store").join(&id).join("result.json");
    std::fs::write(&path, result.to_string()).unwrap();
    (id, path)
}

/// The store's results as records.
fn records(folder: &Path) -> Vec<String> {
    results(&folder.join("runs")).values().map(ToString::to_string).collect()
}

#[test]
fn runs_come_out_as_they_are_recorded() {
    let folder = done();
    let before = results(&folder.path().join("runs"));
    let (code, out, err) = verify(folder.path(), &["tiny.toml"]);
    assert_eq!((code, out.matches("  identical\n").count()), (0, 4), "{out}{err}");
    assert!(out.ends_with("4 of 4 runs are identical\n"), "{out}");
    // Nothing of the user's changed.
    assert_eq!(results(&folder.path().join("runs")), before);

    // A sample has runs of both networks, and is the same again.
    let sampled = verify(folder.path(), &["tiny.toml", "--sample", "2"]);
    assert_eq!(sampled.0, 0, "{}", sampled.2);
    assert!(sampled.1.contains("linear") && sampled.1.contains("resnet"), "{}", sampled.1);
    assert!(sampled.2.contains("2 of 4 runs are drawn"), "{}", sampled.2);
    assert_eq!(verify(folder.path(), &["tiny.toml", "--sample", "2"]).1, sampled.1);

    // Records need neither the store nor the experiment.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("tiny.jsonl"), records(folder.path()).join("\n") + "\n").unwrap();
    let id = before.keys().next().unwrap();
    let (code, out, err) = verify(elsewhere.path(), &["--records", "tiny.jsonl", "--run", &id[..9]]);
    assert_eq!((code, out.matches("  identical\n").count()), (0, 1), "{out}{err}");
    assert!(!elsewhere.path().join("runs").exists());
}

#[test]
fn an_altered_digit_is_found_with_its_epoch() {
    let folder = done();
    let mut digits = (0.0, 0.0);
    let (id, _) = change(folder.path(), "resnet", |result| {
        let loss = result["history"][1]["val_loss"].as_f64().unwrap();
        digits = (loss, f64::from_bits(loss.to_bits() + 1));
        result["history"][1]["val_loss"] = digits.1.into();
        result["provenance"]["host"] = "another".into();
    });
    let (code, out, err) = verify(folder.path(), &["tiny.toml"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(out.contains(&format!("{}  ", &id[..8])) && out.contains("DIFFERENT"), "{out}");
    assert!(out.contains("epoch 2: history[1].val_loss"), "{out}");
    assert!(out.contains(&format!("recorded  {}\n    here      {}\n", digits.1, digits.0)), "{out}");
    assert!(out.contains("host: recorded \"another\", here "), "{out}");
    assert!(out.ends_with("3 of 4 runs are identical, 1 differ\n"), "{out}");

    // A decision counts as much, from records too.
    let folder = done();
    change(folder.path(), "linear", |result| {
        assert!(result["decisions"][0]["gain"].as_f64().is_some(), "{result}");
        result["decisions"][0]["gain"] = 0.25.into();
    });
    std::fs::create_dir(folder.path().join("records")).unwrap();
    std::fs::write(folder.path().join("records/a.jsonl"), records(folder.path()).join("\n")).unwrap();
    let (code, out, err) = verify(folder.path(), &["tiny.toml", "--records", "records", "--seeds", "1"]);
    assert_eq!((code, out.matches("  identical\n").count()), (4, 1), "{out}{err}");
    assert!(out.contains("  decisions[0].gain\n    recorded  0.25\n    here      0.5\n"), "{out}");
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let folder = done();
    let refused = |args: &[&str], words: &[&str]| {
        let (code, out, err) = verify(folder.path(), args);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    };
    let known = results(&folder.path().join("runs")).keys().next().unwrap()[..8].to_owned();
    refused(&["tiny.toml", "--run", "00"], &["no finished run has the id \"00\"", &known]);
    refused(&["tiny.toml", "--run", ""], &["the ids of 4 finished runs begin with \"\""]);
    refused(&["tiny.toml", "--out", "nowhere"], &["no finished run to verify", "lrlab run"]);
    refused(&["--records", "nowhere.jsonl"], &["nowhere.jsonl"]);
    let lines = records(folder.path());
    std::fs::write(folder.path().join("cut.jsonl"), format!("{}\n{}\n", lines[0], &lines[1][..50])).unwrap();
    refused(&["--records", "cut.jsonl"], &["cut.jsonl:2: expected the `result.json` of a run"]);
    refused(&["--records", "cut.jsonl", "--seeds", "1"], &["cut.jsonl:2"]);
    std::fs::write(folder.path().join("one.jsonl"), &lines[0]).unwrap();
    refused(&["--records", "one.jsonl", "--seeds", "1"], &["--set, --filter and --seeds select runs"]);
    change(folder.path(), "linear", |result| {
        result["provenance"]["dataset_digest"] = "0123456789abcdef".into();
    });
    refused(&["tiny.toml"], &["cannot be verified", "0123456789abcdef"]);
}
