//! `precision = "bf16"` in an experiment file.

use std::path::Path;

use lrlab_tests::{SHARED, results, run, runner};
use serde_json::Value;

const EXPERIMENT: &str = r#"name = "tiny"
description = "Two precisions."

[axes]
model = ["transformer"]
schedule = ["static"]
precision = ["f32", "bf16"]
seed = [0]

[defaults]
lr = 0.003
epochs = 2
batch_size = 16
optimizer = { adam = {} }

[models.transformer]
network = { transformer = { width = 16, heads = 2, feed_forward = 16, layers = 1 } }
data = "reviews"
[data.reviews]
source = { synthetic_reviews = { train = 120, test = 40 } }
tokens = { vocabulary = 200, max_length = 16 }

[schedules.static]
static = {}
"#;

/// Runs the experiment with environment variables and returns the results in f32 and in bf16.
fn trained(folder: &Path, store: &str, environment: &[(&str, &str)]) -> [Value; 2] {
    let mut command = runner(folder);
    command.args(["run", "tiny.toml", "--out", store, "--device", "cpu", "--threads", "1"]);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = results(&folder.join(store));
    assert_eq!(results.len(), 2);
    ["f32", "bf16"].map(|precision| {
        results.values().find(|result| result["spec"]["precision"] == precision).unwrap().clone()
    })
}

fn loss(result: &Value) -> f64 {
    result["final"]["val_loss"].as_f64().unwrap()
}

#[test]
fn precisions_are_separate_runs_with_similar_losses() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), EXPERIMENT).unwrap();
    let own = trained(folder.path(), "own", &[]);
    let [f32, bf16] = &own;
    assert_ne!(f32["run_id"], bf16["run_id"]);
    assert!(loss(f32) != loss(bf16) && (loss(f32) - loss(bf16)).abs() < 0.05, "{f32}\n{bf16}");
    // Candle's operators round the same values as this project's.
    let theirs = trained(folder.path(), "candle", &[("LRLAB_KERNELS", "candle")]);
    for (own, theirs) in own.iter().zip(&theirs) {
        assert!((loss(own) - loss(theirs)).abs() < 0.05, "{own}\n{theirs}");
    }
    // A second run has the same bits.
    let again = trained(folder.path(), "again", &[]);
    for key in SHARED {
        assert_eq!(own[1][key], again[1][key], "{key}");
    }
}

#[test]
fn precision_is_explained_and_typos_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), EXPERIMENT).unwrap();
    let explained = run(folder.path(), &["plan", "tiny.toml", "--explain"]);
    let lines: Vec<&str> = explained.out.lines().filter(|line| line.starts_with("precision = ")).collect();
    assert_eq!(lines.len(), 2, "{}{}", explained.out, explained.err);
    assert!(
        lines[0].contains("\"f32\"") && lines[1].contains("\"bf16\"") && lines[1].contains("tiny.toml:7")
    );
    let refused = run(folder.path(), &["plan", "tiny.toml", "--set", "axes.precision=[\"fp16\"]"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("fp16") && refused.err.contains("bf16"), "{}", refused.err);
}
