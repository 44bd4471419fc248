//! One epoch on a small part of the real CIFAR-10 and IMDB, if a cache of them is available.

use lrlab_tests::{real_data, root, runner};

#[test]
fn a_part_of_the_paper_runs_on_real_data() {
    let Some(home) = real_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = runner(folder.path())
        .arg("run")
        .arg(root().join("experiments/paper-smoke.toml"))
        .args(["--device", "cpu", "--filter", "schedule=cosine"])
        .args(["--filter", "monitor=on", "--filter", "epochs=1"])
        .env("HF_HOME", home)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let results = std::fs::read_dir(folder.path().join("runs/store")).unwrap();
    let mut names = Vec::new();
    for result in results {
        let text = std::fs::read_to_string(result.unwrap().path().join("result.json")).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(result["final"]["test_accuracy"].as_f64().is_some(), "{}", result["final"]);
        let notes = result["provenance"]["dataset_notes"].to_string();
        names.push(result["provenance"]["dataset"].as_str().unwrap().to_owned());
        // The result identifies the data, also if the copy has other contents.
        assert_ne!(result["provenance"]["dataset_digest"], "", "{notes}");
    }
    names.sort();
    assert_eq!(names, ["cifar10", "imdb", "imdb"]);
}
