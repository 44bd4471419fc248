//! SYNTHETIC results for tests of the report's statistics and layout: smooth curves with seeded noise instead of trained
//! runs. They look plausible so that figures can be inspected, but the numbers have no meaning.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

pub mod check;

use lrlab_random::{Purpose, Stream};
use lrlab_runs::{
    Cell, Decision, DecisionKind, EpochMetrics, Evaluation, Outcome, Plan, PlannedRun, Provenance, RunId,
    RunResult, RunStore, Timing,
};
use serde_json::{Value, json};

/// A synthetic grid.
pub struct Grid {
    pub models: Vec<(&'static str, &'static str)>,
    pub schedules: Vec<&'static str>,
    pub monitors: Vec<&'static str>,
    pub epochs: Vec<u64>,
    pub seeds: u64,
}

/// 48 synthetic runs with the axes of the quickstart experiment.
pub fn quickstart() -> Grid {
    Grid {
        models: vec![
            ("resnet", "synthetic_pictures"),
            ("lstm", "synthetic_reviews"),
            ("transformer", "synthetic_reviews"),
        ],
        schedules: vec!["static", "step", "exponential", "cosine"],
        monitors: vec!["off", "on"],
        epochs: vec![10],
        seeds: 2,
    }
}

/// 288 synthetic runs with the axes of the paper's grid.
pub fn paper() -> Grid {
    Grid {
        models: vec![("resnet20", "cifar10"), ("lstm", "imdb"), ("transformer", "imdb")],
        epochs: vec![10, 20],
        seeds: 6,
        ..quickstart()
    }
}

pub fn plan(grid: &Grid) -> Plan {
    let mut runs = Vec::new();
    for (model, dataset) in &grid.models {
        for epochs in &grid.epochs {
            for schedule in &grid.schedules {
                for monitor in &grid.monitors {
                    for seed in 0..grid.seeds {
                        let cell: Cell = [
                            ("model", json!(model)),
                            ("dataset", json!(dataset)),
                            ("schedule", json!(schedule)),
                            ("monitor", json!(monitor)),
                            ("epochs", json!(epochs)),
                            ("seed", json!(seed)),
                        ]
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect();
                        runs.push(planned(cell));
                    }
                }
            }
        }
    }
    Plan {
        experiment: "invented".to_owned(),
        description: "Invented numbers for a test of the layout: nothing here was trained.".to_owned(),
        runs,
        paper: true,
        ..Plan::default()
    }
}

pub fn planned(cell: Cell) -> PlannedRun {
    let mut arm = cell.clone();
    let seed = arm.remove("seed");
    let spec = json!({ "invented": arm, "seed": seed });
    PlannedRun {
        run_id: RunId::of(&spec.to_string(), "invented"),
        cell,
        spec: spec.into(),
        dataset_digest: "invented".to_owned(),
    }
}

pub fn text(cell: &Cell, axis: &str) -> String {
    match cell.get(axis) {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// A synthetic result of a planned run.
pub fn result(planned: &PlannedRun) -> RunResult {
    let cell = &planned.cell;
    let (model, schedule) = (text(cell, "model"), text(cell, "schedule"));
    let monitored = text(cell, "monitor") == "on";
    let epochs = cell.get("epochs").and_then(Value::as_u64).unwrap_or(10);
    let seed = cell.get("seed").and_then(Value::as_u64).unwrap_or(0);
    let paired = Stream::new(seed, Purpose::Synthetic, &model);
    let own = Stream::new(seed, Purpose::Synthetic, planned.run_id.as_str());
    let (ceiling, speed, bend) = match model.as_str() {
        "lstm" => (0.84, 0.9, 1.0),
        "transformer" => (0.855, 1.1, 1.3),
        _ => (0.757, 0.35, 1.0),
    };
    let lift = match schedule.as_str() {
        "cosine" => 0.018,
        "exponential" => 0.011,
        "step" => 0.014,
        _ => 0.0,
    } + if monitored { 0.006 } else { 0.0 };
    let (mut history, mut decisions, mut gain) = (Vec::new(), Vec::new(), 1.0);
    for epoch in 1..=epochs {
        let t = epoch as f64;
        let z = |at: f64| match schedule.as_str() {
            "cosine" => 0.5 * (1.0 + (std::f64::consts::PI * at / epochs as f64).cos()),
            "exponential" => (-2.3 * at / epochs as f64).exp(),
            "step" => 0.5_f64.powi((at / (epochs as f64 / 3.0)).floor() as i32),
            _ => 1.0,
        };
        let noise = |k: u64, scale: f64| {
            scale
                * (0.6 * paired.normal(epoch * 16 + k) + 0.4 * own.normal(epoch * 16 + k))
                * z(t).max(0.2).sqrt()
        };
        let fit = 1.0 - (-speed * t * 0.6).exp();
        let over = (t * bend / 12.0).powi(2) * z(t).max(0.15) * if monitored { 0.6 } else { 1.0 };
        let train_accuracy = (0.45 + 0.545 * fit + noise(0, 0.004)).min(0.999);
        let val_accuracy = 0.4 + (ceiling + lift - 0.4) * fit + noise(1, 0.008);
        history.push(EpochMetrics {
            extra: std::collections::BTreeMap::new(),
            hyperparameters: std::collections::BTreeMap::new(),
            epoch,
            lr_first: Some(0.05 * gain * z(t - 1.0)),
            lr: Some(0.05 * gain * z(t - 0.01)),
            train_loss: Some(1.5 * (1.0 - fit) + 0.02 + noise(2, 0.01).abs()),
            train_accuracy: Some(train_accuracy),
            val_loss: Some(1.25 - 0.55 * fit + 0.5 * over + noise(3, 0.03)),
            val_loss_stderr: Some(0.02),
            val_accuracy: Some(val_accuracy),
            val_f1: Some(val_accuracy - 0.004 + noise(4, 0.004)),
            val_precision: Some(val_accuracy - 0.002),
            val_recall: Some(val_accuracy - 0.006),
            val_ece: Some(0.04 + 0.02 * over + noise(5, 0.004).abs()),
            grad_norm: Some(1.0 + z(t)),
        });
        if monitored && epoch % 4 == 3 && epoch < epochs && own.uniform(900 + epoch) < 0.8 {
            let before = 0.05 * gain * z(t);
            gain *= 0.5;
            decisions.push(Decision {
                update: epoch * 79,
                epoch,
                source: "validation_loss_monitor".to_owned(),
                kind: DecisionKind::Cut,
                lr_before: Some(before),
                lr_after: Some(before * 0.5),
                gain,
                metric: "val_loss".to_owned(),
                value: history.last().and_then(|m| m.val_loss),
                reason: format!("cut × 0.5: 2 bad epochs > patience 1, best at epoch {}", epoch - 2),
            });
        }
    }
    let best = history
        .iter()
        .rev()
        .max_by(|a, b| a.val_accuracy.unwrap().total_cmp(&b.val_accuracy.unwrap()))
        .unwrap()
        .clone();
    let last = history.last().unwrap().clone();
    RunResult {
        run_id: planned.run_id.clone(),
        cell: cell.clone(),
        spec: planned.spec.clone(),
        outcome: Outcome::Completed,
        updates: None,
        last: evaluation(&last, own),
        best: evaluation(&best, own),
        history,
        decisions,
        timing: Timing {
            started: 1_760_000_000.0,
            finished: 1_760_000_020.0,
            train_s: 11.0 + own.uniform(1) + epochs as f64,
            eval_s: 1.5,
            data_s: 0.2,
            updates_executed: 79 * epochs,
            examples_per_s: 480.0 + 30.0 * own.uniform(2),
            ..Timing::default()
        },
        provenance: provenance(cell),
    }
}

fn provenance(cell: &Cell) -> Provenance {
    Provenance {
        versions: [("lrlab", "0.1.0"), ("candle", "0.11.1"), ("rustc", "rustc 1.95.0")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        build: None,
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        dirty: Some(false),
        device: "cpu".to_owned(),
        host: "invented-host".to_owned(),
        threads: 1,
        dataset_digest: "feedbeeffeedbeeffeedbeef".to_owned(),
        dataset: format!("{} (invented for a layout test)", text(cell, "dataset")),
        dataset_notes: vec!["an invented note: the pictures are JPEG copies".to_owned()],
        parameters: 272_474,
        numerics: "cpu-avx2-f32".to_owned(),
        registered: Vec::new(),
        continued: None,
    }
}

fn evaluation(metrics: &EpochMetrics, own: Stream) -> Evaluation {
    let accuracy = metrics.val_accuracy.map(|x| x - 0.006 + 0.004 * own.normal(7000));
    let train = metrics.train_accuracy.map(|x| (x + 0.002).min(1.0));
    let train_loss = metrics.train_loss.map(|x| x * 0.9);
    Evaluation {
        metrics: metrics.clone(),
        train_eval_loss: train_loss,
        train_eval_accuracy: train,
        accuracy_gap: train.zip(metrics.val_accuracy).map(|(a, b)| a - b),
        loss_gap: metrics.val_loss.zip(train_loss).map(|(a, b)| a - b),
        test_loss: metrics.val_loss.map(|x| x + 0.02),
        test_accuracy: accuracy,
        test_f1: accuracy.map(|x| x - 0.003),
        test_precision: accuracy,
        test_recall: accuracy,
        test_ece: metrics.val_ece,
        averaged: false,
    }
}

/// As [`result`], but the run diverged after `epoch`.
pub fn diverged(planned: &PlannedRun, epoch: u64) -> RunResult {
    let mut it = result(planned);
    it.outcome = Outcome::Diverged;
    it.history.truncate(epoch as usize);
    for (i, metrics) in it.history.iter_mut().enumerate() {
        metrics.train_loss = metrics.train_loss.map(|x| x + 0.3 * (i as f64 + 1.0).powi(2));
        metrics.val_loss = metrics.val_loss.map(|x| x + 0.3 * (i as f64 + 1.0).powi(2));
    }
    it.history.push(EpochMetrics {
        epoch: epoch + 1,
        lr: Some(0.05),
        lr_first: Some(0.05),
        ..EpochMetrics::default()
    });
    it.last = Evaluation {
        metrics: EpochMetrics { epoch: epoch + 1, ..EpochMetrics::default() },
        ..Evaluation::default()
    };
    it
}

/// A run that diverged in its first epoch and was evaluated, so that it has all metrics.
pub fn died(planned: &PlannedRun) -> RunResult {
    let mut it = result(planned);
    it.outcome = Outcome::Diverged;
    it.history = vec![EpochMetrics {
        epoch: 1,
        val_loss: Some(1.234_567e32),
        val_accuracy: Some(0.25),
        val_f1: Some(0.1),
        ..it.history[0].clone()
    }];
    let dead = Evaluation {
        metrics: it.history[0].clone(),
        train_eval_loss: Some(1.3e32),
        train_eval_accuracy: Some(0.25),
        accuracy_gap: Some(0.0),
        test_loss: Some(1.2e32),
        test_accuracy: Some(0.25),
        test_f1: Some(0.1),
        ..Evaluation::default()
    };
    (it.last, it.best) = (dead.clone(), dead);
    it.timing.train_s = 0.5;
    it.timing.updates_executed = 3;
    it
}

/// A store in a temporary folder with the results that `keep` returns.
pub fn store(
    plan: &Plan,
    keep: impl Fn(usize, &PlannedRun) -> Option<RunResult>,
) -> (tempfile::TempDir, RunStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    for (i, planned) in plan.runs.iter().enumerate() {
        if let Some(result) = keep(i, planned) {
            assert!(store.commit(&result).unwrap());
        }
    }
    (folder, store)
}

/// A store in which all runs are done.
pub fn full(plan: &Plan) -> (tempfile::TempDir, RunStore) {
    store(plan, |_, planned| Some(result(planned)))
}

/// The paper's claims, and a claim that compares two arms.
pub fn claims() -> Value {
    json!([
        { "id": "training-accuracy", "text": "accuracy peaked at 99.51% after 20 epochs", "metric": "max.train_accuracy",
          "where": { "model": "resnet", "schedule": "static", "monitor": "off" }, "value": 0.9951, "tolerance": 0.01 },
        { "id": "validation-accuracy", "text": "validation accuracy … a maximum of 75.7%", "metric": "max.val_accuracy",
          "where": { "model": "resnet", "schedule": "static", "monitor": "off" }, "value": 0.757, "tolerance": 0.02 },
        { "id": "mitigates", "text": "dynamic schedules mitigate overfitting", "metric": "final.val_loss",
          "where": { "model": "lstm", "schedule": "cosine" }, "compare": "<", "than": { "schedule": "static" } },
        { "id": "elsewhere", "text": "about a model that is not here", "metric": "val_accuracy",
          "where": { "model": "vgg" }, "value": 0.9, "tolerance": 0.1 },
    ])
}

pub fn cell(pairs: &[(&str, serde_json::Value)]) -> Cell {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
}

pub fn edge(cells: Vec<Cell>) -> Plan {
    Plan {
        experiment: "edge".to_owned(),
        description: "Invented.".to_owned(),
        runs: cells.into_iter().map(planned).collect(),
        paper: true,
        ..Plan::default()
    }
}

/// Schedules × seeds, nothing else.
pub fn small(schedules: &[&str], seeds: u64) -> Plan {
    let cells = schedules.iter().flat_map(|schedule| {
        (0..seeds).map(move |seed| {
            cell(&[("model", json!("m")), ("schedule", json!(schedule)), ("seed", json!(seed))])
        })
    });
    edge(cells.collect())
}

/// A result whose every accuracy is `accuracy`.
pub fn with_accuracy(planned: &PlannedRun, accuracy: f64) -> RunResult {
    let mut it = result(planned);
    it.history.iter_mut().for_each(|epoch| epoch.val_accuracy = Some(accuracy));
    it.last.metrics.val_accuracy = Some(accuracy);
    it.best.metrics.val_accuracy = Some(accuracy);
    it
}

/// The product of axes, in this order, and of seeds.
pub fn product(axes: &[(&str, Vec<Value>)], seeds: u64) -> Plan {
    let mut cells = vec![Cell::new()];
    let seeds = ("seed", (0..seeds).map(Value::from).collect());
    for (axis, values) in axes.iter().chain([&seeds]) {
        let with = |cell: &Cell| -> Vec<Cell> {
            let one = |value: &Value| {
                let mut cell = cell.clone();
                cell.insert((*axis).to_owned(), value.clone());
                cell
            };
            values.iter().map(one).collect()
        };
        cells = cells.iter().flat_map(with).collect();
    }
    Plan {
        experiment: "asked".to_owned(),
        description: "Does it help?".to_owned(),
        runs: cells.into_iter().map(planned).collect(),
        ..Plan::default()
    }
}

/// Every run ends with the accuracy, loss and gap that `of` gives its cell.
pub fn ending(plan: &Plan, of: impl Fn(&Cell) -> [f64; 3]) -> (tempfile::TempDir, RunStore) {
    let result = |planned: &PlannedRun| -> RunResult {
        let mut it = result(planned);
        let [accuracy, loss, gap] = of(&planned.cell);
        (it.last.metrics.val_accuracy, it.last.metrics.val_loss) = (Some(accuracy), Some(loss));
        it.last.accuracy_gap = Some(gap);
        it
    };
    store(plan, |_, planned| Some(result(planned)))
}

/// Differences of seeds that are all on one side.
pub fn noise(cell: &Cell) -> f64 {
    0.001 * (cell["seed"].as_u64().unwrap() % 4) as f64
}
