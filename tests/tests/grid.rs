//! A small grid from end to end: results, the report, a second call, another number of threads.

use std::path::Path;

use lrlab_tests::{Ran, accounts_add_up, results, run};
use serde_json::Value;

const EXPERIMENT: &str = r#"name = "small"
description = "Three networks, two schedules, with and without a monitor."

[axes]
model = ["resnet", "lstm", "transformer"]
schedule = ["static", "cosine"]
monitor = ["off", "on"]
epochs = [2]
seed = [0]

[defaults]
lr = 0.01
batch_size = 32
optimizer = { adam = {} }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
[models.lstm]
network = { lstm = { embedding = 16, hidden = 16 } }
data = "reviews"
[models.transformer]
network = { transformer = { width = 16, heads = 2, feed_forward = 32, layers = 1 } }
data = "reviews"

[data.pictures]
source = { synthetic_pictures = { train = 160, test = 40 } }
augment = { crop_padding = 2, flip = true }
[data.reviews]
source = { synthetic_reviews = { train = 160, test = 40 } }
tokens = { vocabulary = 500, max_length = 24 }

[schedules.static]
static = {}
[schedules.cosine]
cosine = {}
[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0 } }
"#;

fn run_grid(folder: &Path, more: &[&str]) -> Ran {
    std::fs::write(folder.join("small.toml"), EXPERIMENT).unwrap();
    run(folder, &[&["run", "small.toml", "--device", "cpu"], more].concat())
}

#[test]
fn a_grid_makes_results_and_a_report_and_is_not_run_twice() {
    let folder = tempfile::tempdir().unwrap();
    let first = run_grid(folder.path(), &["--jobs", "2", "--threads", "1"]);
    assert_eq!(first.code, 0, "{}\n{}", first.out, first.err);

    let results = results(&folder.path().join("runs"));
    assert_eq!(results.len(), 12);
    accounts_add_up(&results);
    for (id, result) in &results {
        assert_eq!(result["run_id"], *id);
        assert_eq!(result["outcome"], "completed");
        for key in ["model", "dataset", "schedule", "monitor", "epochs", "seed"] {
            assert!(!result["cell"][key].is_null(), "{key} is missing in {}", result["cell"]);
        }
        let history = result["history"].as_array().unwrap();
        assert_eq!(history.len(), 2);
        for (epoch, row) in history.iter().enumerate() {
            assert_eq!(row["epoch"], epoch + 1);
            for key in
                ["lr", "lr_first", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_f1"]
            {
                assert!(row[key].as_f64().is_some_and(f64::is_finite), "{key} is {}", row[key]);
            }
        }
        for key in ["final", "best"] {
            for figure in ["train_eval_loss", "train_eval_accuracy", "test_loss", "test_accuracy", "test_f1"]
            {
                assert!(result[key][figure].is_f64(), "{key}.{figure} is {}", result[key][figure]);
            }
        }
        assert!(!result["provenance"]["numerics"].as_str().unwrap().is_empty());
    }
    // The rates of a decaying schedule differ from constant ones.
    let lr = |schedule: &str| {
        let of = |r: &&Value| r["cell"]["schedule"] == schedule && r["cell"]["monitor"] == "off";
        results.values().find(of).unwrap()["history"][1]["lr"].as_f64().unwrap()
    };
    assert!(lr("cosine") < 0.5 * lr("static"), "{} and {}", lr("cosine"), lr("static"));

    let report = folder.path().join("runs/small/report");
    for file in ["report.md", "report.html", "manifest.json"] {
        assert!(report.join(file).is_file(), "no {file}");
    }
    for (kind, at_least) in [("tables", 2), ("figures", 6)] {
        let n = std::fs::read_dir(report.join(kind)).unwrap().count();
        assert!(n >= at_least, "{n} {kind}");
    }
    assert!(folder.path().join("runs/small/plan.json").is_file());

    let modified = |id: &String| {
        folder.path().join("runs/store").join(id).join("result.json").metadata().unwrap().modified().unwrap()
    };
    let before: Vec<_> = results.keys().map(modified).collect();
    let second = run_grid(folder.path(), &[]);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(
        second.err.contains("12 of 12") || second.out.contains("12 of 12"),
        "{}{}",
        second.out,
        second.err
    );
    assert_eq!(before, results.keys().map(modified).collect::<Vec<_>>());
}

/// The bits do not depend on the number of threads.
#[test]
fn the_number_of_threads_does_not_change_the_bits() {
    let (one, three) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let schedule = ["--filter", "schedule=cosine", "--filter", "monitor=on", "--jobs", "1", "--threads"];
    for (folder, threads) in [(&one, "1"), (&three, "3")] {
        let args: Vec<_> = schedule.iter().copied().chain([threads]).collect();
        let ran = run_grid(folder.path(), &args);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let (one, three) = (results(&one.path().join("runs")), results(&three.path().join("runs")));
    assert_eq!(one.len(), 3);
    for (id, result) in &one {
        for key in ["history", "final", "best", "decisions", "spec", "outcome"] {
            assert_eq!(result[key], three[id][key], "{key} of {}", result["cell"]);
        }
    }
}

#[test]
fn a_dry_run_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_grid(folder.path(), &["--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("12"), "{}", ran.out);
    let store = folder.path().join("runs/store");
    let done = std::fs::read_dir(&store).into_iter().flatten().flatten();
    assert_eq!(done.filter(|run| run.path().join("result.json").exists()).count(), 0);
}
