//! A study of four factors, each arm at its best rate, without a fixed rate to compare with.

use std::collections::BTreeMap;

use lrlab_tests::{Ran, run};

const STUDY: &str = r#"name = "study"
description = "Do schedule, optimizer, weight decay and monitor matter, each at its best rate?"

[axes]
model = ["linear"]
schedule = ["step", "cosine", "exponential"]
optimizer = ["sgd", "adamw"]
"optimizer.weight_decay" = [0, 5e-4]
monitor = ["cautious", "eager"]
seed = [0, 1]

[defaults]
epochs = 3
batch_size = 32

[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 160, test = 40, size = 8 } }

[optimizers.sgd]
sgd = { momentum = 0.9 }
[optimizers.adamw]
adamw = {}
lr_scale = 0.1

[schedules.step]
step = { step_size = "1 epoch", gamma = 0.3 }
[schedules.cosine]
cosine = {}
[schedules.exponential]
exponential = { decay_rate = 0.5 }

[monitors.cautious]
controller = { plateau = { factor = 0.5, patience = 0 } }
[monitors.eager]
controller = { plateau = { factor = 0.5, patience = 0, threshold = 0.5 } }

[search]
method = { halving = { trials = 3, rungs = ["1 epoch"], eta = 3 } }
metric = "val_loss"
[search.space]
lr = { log = { min = 1e-3, max = 1e-1 } }
"#;

fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    ran
}

#[test]
fn four_factors_have_four_contrasts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("study.toml"), STUDY).unwrap();
    good(run(folder, &["run", "study.toml", "--device", "cpu", "--threads", "1"]));

    // Of 24 arms, each contrast compares arms that are equal in all other coordinates.
    let tables = folder.join("runs/study/report/tables");
    let text = std::fs::read_to_string(tables.join("differences.csv")).unwrap();
    let mut contrasts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines().skip(1) {
        *contrasts.entry(line.split(',').next().unwrap()).or_default() += 1;
    }
    let expected = [
        ("monitor vs cautious", 12),
        ("optimizer vs sgd", 12),
        ("optimizer.weight_decay vs 0", 12),
        ("schedule vs step", 16),
    ];
    assert_eq!(contrasts, BTreeMap::from(expected));
    let answer = std::fs::read_to_string(folder.join("runs/study/report/report.md")).unwrap();
    for words in ["Schedule against step", "Monitor against cautious", "optimizer against sgd"] {
        assert!(answer.contains(words), "no {words:?} in\n{}", &answer[..2000]);
    }
    // The searched rates are those of the file, and AdamW trains at a tenth of them.
    assert!(answer.contains("by their lr\\_scale: adamw × 0.1."), "{}", &answer[..2000]);
    let searches = std::fs::read_to_string(tables.join("search.csv")).unwrap();
    let mut rows = searches.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
    let (lr, trained, optimizer) = (at("lr"), at("trained_lr"), at("optimizer"));
    let rows: Vec<_> = rows.collect();
    for row in &rows {
        let ratio = row[trained].parse::<f64>().unwrap() / row[lr].parse::<f64>().unwrap();
        let expected = if row[optimizer] == "adamw" { 0.1 } else { 1.0 };
        assert!((ratio - expected).abs() < 1e-9, "{row:?}");
    }
    assert_eq!(rows.len(), 24);
    // The manifest lists the trials that lost too, with the digests of their results.
    let manifest = std::fs::read_to_string(folder.join("runs/study/report/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let runs = manifest["runs"].as_array().unwrap();
    let pruned: Vec<_> = runs.iter().filter(|run| run["state"] == "pruned").collect();
    assert_eq!(pruned.len(), 48);
    for run in pruned {
        let id = run["run_id"].as_str().unwrap();
        let result = std::fs::read(folder.join("runs/store").join(id).join("result.json")).unwrap();
        assert_eq!(run["result_blake3"], blake3::hash(&result).to_hex().as_str(), "{run}");
    }
    // Each arm has its own search, which names it.
    let status = good(run(folder, &["status", "study.toml"])).out;
    let mut arms: Vec<&str> =
        status.lines().filter_map(|line| line.strip_prefix("search by halving, ")).collect();
    assert_eq!(arms.len(), 24, "{status}");
    let first = "linear / step / cautious / optimizer sgd / optimizer.weight_decay 0.0, 3 epochs: ";
    assert!(arms[0].starts_with(first), "{}", arms[0]);
    for arm in &arms {
        assert_eq!(arm.contains(" (× lr_scale = "), arm.contains(" / optimizer adamw / "), "{arm}");
    }
    arms.sort_unstable();
    arms.dedup_by_key(|line| line.split_once(": ").map(|(name, _)| name));
    assert_eq!(arms.len(), 24, "{status}");
}
