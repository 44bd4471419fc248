//! Valid experiments: their cells, runs and ids. No text makes the reader panic.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as the test does")]

mod axes;
mod filters;
mod ids;
mod schema;

use lrlab_runs::Cell;
use lrlab_spec::{Catalog, Experiment, Registered, RunSpec, read, run_id};
use proptest::prelude::*;
use serde_json::json;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments");

fn experiment(name: &str) -> Experiment {
    let text = std::fs::read_to_string(format!("{FOLDER}/{name}.toml")).unwrap();
    read(&text, &format!("experiments/{name}.toml"), &[], &Catalog::default())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn small(axes: &str, rest: &str) -> Vec<(Cell, RunSpec)> {
    grid("", axes, rest)
}

fn small_zipped(axes: &str, rest: &str) -> Vec<(Cell, RunSpec)> {
    grid("zip = [[\"lr\", \"batch_size\"]]", &format!("epochs = [2]\n{axes}"), rest)
}

fn grid(top: &str, axes: &str, rest: &str) -> Vec<(Cell, RunSpec)> {
    let text = grid_text(top, axes, rest);
    let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
    experiment.cells(&[], None).unwrap()
}

fn grid_text(top: &str, axes: &str, rest: &str) -> String {
    format!(
        r#"name = "small"
{top}
[axes]
model = ["linear"]
schedule = ["static", "cosine"]
{axes}
[defaults]
epochs = 2
batch_size = 8
lr = 0.1
early_stopping = {{ patience = 2 }}
optimizer = {{ sgd = {{ momentum = 0.5, weight_decay = 0.1 }} }}
data = {{ split_seed = 3, limit = {{ train = 100 }} }}
[models.linear]
network = {{ linear = {{}} }}
data = "pictures"
[models.linear.set]
optimizer = {{ sgd = {{ momentum = 0.8 }} }}
early_stopping = "off"
[data.pictures]
source = {{ synthetic_pictures = {{}} }}
limit = {{ test = 50 }}
[schedules]
static = {{ static = {{}} }}
cosine = {{ cosine = {{}} }}
{rest}"#
    )
}

#[test]
fn the_experiments_of_this_repository_are_valid() {
    let mut names: Vec<String> = std::fs::read_dir(FOLDER)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    names.sort();
    for name in names {
        let experiment = experiment(&name);
        for warning in &experiment.warnings {
            let on_test = ["paper-recipe", "exp-cosine", "monitor"].contains(&name.as_str())
                && warning.message.starts_with("`validation` is the test split");
            assert!(on_test, "{warning}");
        }
        assert_eq!(experiment.name, name);
        let cells = experiment.cells(&[], None).unwrap();
        for (cell, run) in &cells {
            assert_eq!(run.doubts(), [""; 0], "{name}: {cell:?}");
        }
        let expected = match name.as_str() {
            "quickstart" | "paper-smoke" => Some(48),
            "paper" => Some(384),
            "paper-recipe" => Some(38),
            "cost" => Some(192),
            "paper-tuned" => Some(480),
            "sound" => Some(325),
            "exp-cosine" => Some(25),
            "imdb-baselines" => Some(9),
            "cifar-resnet20" => Some(1),
            _ => None,
        };
        assert!(expected.is_none_or(|n| cells.len() == n), "{name}: {} cells", cells.len());
        for (cell, _) in &cells {
            for key in ["model", "dataset", "schedule", "monitor", "epochs", "seed"] {
                assert!(cell.contains_key(key), "{name}: {cell:?}");
            }
        }
    }
}

#[test]
fn the_smoke_test_has_the_arms_of_the_paper() {
    let arms = |name: &str| -> Vec<RunSpec> {
        let mut runs: Vec<RunSpec> =
            experiment(name).cells(&[], Some(1)).unwrap().into_iter().map(|c| c.1).collect();
        for run in &mut runs {
            run.epochs = if matches!(run.epochs, 2 | 20) { 2 } else { 1 };
            run.data.limit = lrlab_config::Limit::default();
        }
        runs
    };
    assert_eq!(arms("paper"), arms("paper-smoke"));
}

#[test]
fn tables_are_merged_and_order_is_fixed() {
    let cells = small("seed = [1, 0]", "");
    let order: Vec<String> =
        cells.iter().map(|(cell, _)| format!("{}/{}", cell["schedule"], cell["seed"])).collect();
    assert_eq!(order, ["\"static\"/1", "\"static\"/0", "\"cosine\"/1", "\"cosine\"/0"]);
    let run = serde_json::to_value(&cells[0].1).unwrap();
    assert_eq!(
        run["optimizer"]["sgd"],
        json!({ "momentum": 0.8, "nesterov": false, "weight_decay": 0.1, "decay_all": false })
    );
    assert_eq!(run["data"]["limit"], json!({ "train": 100, "validation": null, "test": 50 }));
    assert_eq!((&run["data"]["split_seed"], &run["early_stopping"]), (&json!(3), &json!(null)));
    assert_eq!(
        serde_json::to_value(&cells[0].0).unwrap(),
        json!({ "model": "linear", "dataset": "pictures", "schedule": "static", "monitor": "off", "epochs": 2, "seed": 1 })
    );
}

/// A run that validates on the test split trains on all examples, and has another id than one with a validation split.
#[test]
fn validation_may_be_the_test_split() {
    let cells = small("seed = [0]\ndata.validation = [\"test\", 140, \"off\"]", "");
    let of = |validation: &serde_json::Value| {
        let found = cells.iter().find(|(cell, _)| cell["data.validation"] == *validation);
        &found.unwrap_or_else(|| panic!("{validation}")).1
    };
    let examples = |run: &RunSpec| {
        let all = lrlab_spec::DataSpec { limit: lrlab_config::Limit::default(), ..run.data.clone() };
        (run.data.validates_on_test(), all.training_examples())
    };
    let (test, held_out, own) = (of(&json!("test")), of(&json!(140)), of(&json!("off")));
    assert_eq!(examples(test), (true, Some(640)));
    assert_eq!(examples(held_out), (false, Some(500)));
    assert_eq!(examples(own), (false, Some(512)));
    let id = |run| run_id(run, "d").unwrap();
    assert!(id(test) != id(held_out) && id(held_out) != id(own) && id(own) != id(test));
}

/// Each coordinate of a claim has one key, for both notations in the file.
#[test]
fn claims_have_one_key_per_coordinate() {
    let axes = "seed = [0]\noptimizer.sgd.momentum = [0.0, 0.9]";
    let claim = "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"final.val_accuracy\"\ncompare = \">\"\n\
                 where.optimizer.sgd.momentum = 0.9\nthan = { optimizer.sgd.momentum = 0.0 }";
    let text = grid_text("", axes, claim);
    let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(experiment.claims[0]["where"], json!({ "optimizer.sgd.momentum": 0.9 }));
    assert_eq!(experiment.claims[0]["than"], json!({ "optimizer.sgd.momentum": 0.0 }));
}

#[test]
fn explanations_have_the_origin_of_every_value() {
    let text = std::fs::read_to_string(format!("{FOLDER}/cifar-resnet20.toml")).unwrap();
    let experiment = read(&text, "c.toml", &["defaults.lr=0.2".to_owned()], &Catalog::default()).unwrap();
    let lines = experiment.explain(&[], None).unwrap().join("\n");
    let origin = |key: &str| {
        lines.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap().split("# ").nth(1).unwrap()
    };
    assert_eq!(origin("lr"), "--set defaults.lr=0.2");
    assert_eq!(origin("accumulate"), "default");
    assert_eq!(origin("optimizer.sgd.nesterov"), origin("optimizer.sgd.momentum"));
    let line = 1 + text.lines().position(|line| line.starts_with("optimizer")).unwrap();
    assert_eq!(origin("optimizer.sgd.momentum"), format!("c.toml:{line}"));
    assert_eq!(origin("optimizer.sgd.decay_all"), "default");
}

#[test]
fn registered_parts_are_accepted() {
    let text = "name = \"own\"\n[axes]\nmodel = [\"m\"]\nschedule = [\"s\"]\nseed = [0]\n[defaults]\nlr = 1\nepochs = 1\n\
        batch_size = 1\noptimizer = { adam = {} }\n[models.m]\nnetwork = { custom = { name = \"mine\", options = { width = 3 } } }\n\
        data = \"d\"\n[data.d]\nsource = { custom = { name = \"ours\" } }\n[schedules.s]\nstatic = {}\n";
    let catalog = Catalog {
        models: vec![Registered::new("mine")],
        data: vec![Registered::new("ours")],
        ..Catalog::default()
    };
    let cells = read(text, "x.toml", &[], &catalog).unwrap().cells(&[], None).unwrap();
    let run = serde_json::to_value(&cells[0].1).unwrap();
    assert_eq!(run["model"], json!({ "custom": { "name": "mine", "options": { "width": 3 } } }));
    let mistakes = read(&text.replace("\"ours\"", "\"theirs\""), "x.toml", &[], &catalog).unwrap_err();
    assert_eq!(mistakes.iter().next().unwrap().suggestion.as_deref(), Some("expected one of `ours`"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any edit of a valid file and of its arguments, the reader returns an experiment or mistakes that can be
    /// shown.
    #[test]
    fn edited_files_never_panic(
        file in prop::sample::select(vec!["quickstart", "paper-smoke", "cifar-resnet20"]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\n\u{e9}\u{1F600}]{0,6}"), 1..6),
        argument in "[a-z.=\"\\[\\]{}0-9 ]{0,24}",
    ) {
        let mut text = std::fs::read_to_string(format!("{FOLDER}/{file}.toml")).unwrap();
        for (at, length, new) in edits {
            let floor = |mut i: usize| { while !text.is_char_boundary(i) { i -= 1; } i };
            let start = floor(at.index(text.len().max(1)).min(text.len()));
            let end = floor((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &new);
        }
        for overrides in [vec![], vec![argument]] {
            if let Err(mistakes) = read(&text, "x.toml", &overrides, &Catalog::default()) {
                prop_assert!(!mistakes.is_empty());
                prop_assert!(!mistakes.to_string().is_empty());
            }
        }
    }

    /// Arbitrary text.
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = read(&text, "x.toml", &[], &Catalog::default()).map_err(|mistakes| mistakes.to_string());
    }
}
