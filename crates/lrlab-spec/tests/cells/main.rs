//! Valid experiments: their cells, runs and ids. No text makes the reader panic.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as the test does")]

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

#[test]
fn further_axes_exclude_and_include() {
    let axes = "seed = [0]\nlr = [1, 0.5]\nbatch_size = [8, 16]\noptimizer.sgd.momentum = [0.0, 0.9]";
    assert_eq!(small(axes, "").len(), 16);
    let text = |cells: &[(Cell, RunSpec)]| -> Vec<String> {
        cells
            .iter()
            .map(|(c, r)| {
                format!("{} {} {} {}", c["schedule"], r.lr, r.batch_size, c["optimizer.sgd.momentum"])
            })
            .collect()
    };
    let rest = "[[exclude]]\nschedule = \"static\"\n[[exclude]]\nlr = 1\nbatch_size = [16]\n\
                [[include]]\nlr = 0.25\nbatch_size = 32\nschedule = \"static\"";
    assert_eq!(
        text(&small(axes, rest)),
        [
            "\"cosine\" 1 8 0.0",
            "\"cosine\" 1 8 0.9",
            "\"cosine\" 0.5 8 0.0",
            "\"cosine\" 0.5 8 0.9",
            "\"cosine\" 0.5 16 0.0",
            "\"cosine\" 0.5 16 0.9",
            "\"static\" 0.25 32 0.0",
            "\"static\" 0.25 32 0.9",
        ]
    );
}

#[test]
fn zipped_axes_advance_together() {
    let text = std::fs::read_to_string(format!("{FOLDER}/cifar-resnet20.toml")).unwrap();
    let overrides = ["axes.lr=[0.1, 0.2]", "axes.batch_size=[128, 256]", "zip=[[\"lr\", \"batch_size\"]]"]
        .map(str::to_owned);
    let text = text.replace("batch_size = 128", "").replace("lr = 0.1 ", "# ");
    let cells = read(&text, "x.toml", &overrides, &Catalog::default())
        .unwrap_or_else(|e| panic!("{e}"))
        .cells(&[], None)
        .unwrap();
    let runs: Vec<(f64, usize)> = cells.iter().map(|(_, run)| (run.lr, run.batch_size)).collect();
    assert_eq!(runs, [(0.1, 128), (0.2, 256)]);
}

#[test]
fn filters_and_seeds() {
    let experiment = experiment("quickstart");
    let count = |filters: &[&str], seeds: Option<usize>| {
        let filters: Vec<String> = filters.iter().map(|&f| f.to_owned()).collect();
        experiment
            .cells(&filters, seeds)
            .map(|cells| cells.len())
            .map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(count(&["model=lstm"], None), Ok(16));
    assert_eq!(count(&["model=lstm", "model=resnet", "monitor=on"], Some(1)), Ok(8));
    assert_eq!(count(&["dataset=reviews", "seed=1"], None), Ok(16));
    let mistake = |text: &str| Err(vec![text.to_owned()]);
    assert_eq!(
        count(&["modle=lstm"], None),
        mistake("command line:1:10: `modle` is not an axis of this grid; did you mean `model`?")
    );
    assert_eq!(
        count(&["model=lsmt"], None),
        mistake("command line:1:16: no cell has `model` = `lsmt`; did you mean `lstm`?")
    );
    // No number is misspelt for another one.
    assert_eq!(
        count(&["seed=9"], None),
        mistake("command line:1:15: no cell has `seed` = `9`; expected one of `0`, `1`")
    );
    assert_eq!(count(&["lstm"], None), mistake("command line:1:10: `lstm` is not KEY=VALUE"));
    assert_eq!(count(&[], Some(3)), mistake("command line:1:9: the experiment has 2 seeds; give 1 … 2"));
    assert_eq!(
        count(&["model=lstm", "dataset=pictures"], None),
        mistake("command line:1:1: no cell matches all of these")
    );
}

/// Every possible axis is a valid condition, with the syntax of `[axes]`, whether it is an axis of the grid or not.
#[test]
fn conditions_accept_every_axis() {
    let axes = "seed = [0, 1]\noptimizer.sgd.momentum = [0.0, 0.9]\ndata.augment.flip = [false, true]";
    assert_eq!(small(axes, "").len(), 16);
    let left = |rest: &str| small(axes, &format!("[[exclude]]\n{rest}")).len();
    for (condition, cells) in [
        ("optimizer.sgd.momentum = 0.9", 8),
        ("\"optimizer.sgd.momentum\" = [0.9]", 8),
        ("optimizer = { sgd = { momentum = 0 } }\nschedule = \"cosine\"", 12),
        ("data.augment.flip = true\nseed = 1", 12),
        ("monitor = \"off\"\nseed = 0", 8),
        ("epochs = 2\nseed = 0", 8),
        ("dataset = \"pictures\"\nseed = [1]", 8),
        ("lr = 0.1\nschedule = \"static\"", 8),
        ("optimizer.sgd.weight_decay = 0.1\nlr_max = \"off\"\nseed = 0", 8),
        ("data.limit.test = 50\ndata.split_seed = 3\nseed = 1", 8),
    ] {
        assert_eq!(left(condition), cells, "{condition}");
    }
    let further =
        "[[exclude]]\nseed = 1\n[[include]]\nschedule = \"static\"\noptimizer.sgd.momentum = 0.5\nseed = 7";
    let cells = small(axes, further);
    let included: Vec<_> = cells.iter().filter(|(cell, _)| cell["seed"] == 7).collect();
    assert_eq!((cells.len(), included.len()), (10, 2));
    assert!(included.iter().all(|(cell, _)| cell["optimizer.sgd.momentum"] == 0.5));
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

/// Runs without the key have torchvision's initialisation.
#[test]
fn the_initialisation_of_convolutions_is_an_axis() {
    let text = std::fs::read_to_string(format!("{FOLDER}/quickstart.toml")).unwrap();
    let axis = "axes.\"model.resnet.init\"=[\"torchvision\", \"torch_default\"]";
    let ids = |overrides: &[&str]| -> Vec<_> {
        let given = ["axes.model=[\"resnet\"]"].iter().chain(overrides);
        let overrides: Vec<String> = given.map(ToString::to_string).collect();
        let experiment =
            read(&text, "q.toml", &overrides, &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        let cells = experiment.cells(&[], None).unwrap();
        cells.iter().map(|(_, run)| run_id(run, "d").unwrap()).collect()
    };
    let (plain, both) = (ids(&[]), ids(&[axis]));
    assert_eq!(both.len(), 2 * plain.len());
    assert!(plain.iter().all(|id| both.contains(id)));
}

#[test]
fn filters_accept_every_axis() {
    let text = std::fs::read_to_string(format!("{FOLDER}/quickstart.toml")).unwrap();
    let experiment = read(&text, "q.toml", &[], &Catalog::default()).unwrap();
    let count = |filter: &str| experiment.cells(&[filter.to_owned()], None).map_or(0, |cells| cells.len());
    let all = experiment.cells(&[], None).unwrap();
    let with = |path: &str, value: &serde_json::Value| {
        let run = |run: &RunSpec| serde_json::to_value(run).unwrap().pointer(path).cloned();
        all.iter().filter(|(_, spec)| run(spec).as_ref() == Some(value)).count()
    };
    let rate = serde_json::to_value(all[0].1.lr).unwrap();
    assert!(!all[0].0.contains_key("lr") && with("/lr", &rate) < all.len());
    assert_eq!(count(&format!("lr={rate}")), with("/lr", &rate));
    assert_eq!(
        (count("lr_max=off"), count("accumulate=1"), count("accumulate=2")),
        (all.len(), all.len(), 0)
    );
    let wrong = |filter: &str| experiment.cells(&[filter.to_owned()], None).unwrap_err().to_string();
    assert!(wrong("accumulate=2").contains("no cell has `accumulate` = `2`"), "{}", wrong("accumulate=2"));
    assert!(wrong("optimizer.sgd.momentun=0.9").contains("is not an axis of this grid"));
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

#[test]
fn included_axes_stay_zipped() {
    let axes = "seed = [0]\nlr = [1, 0.5]\nbatch_size = [8, 16]";
    let text = |rest: &str| -> Vec<String> {
        let cells = small_zipped(axes, rest);
        cells.iter().map(|(c, r)| format!("{} {} {}", c["schedule"], r.lr, r.batch_size)).collect()
    };
    let grid = ["\"static\" 1 8", "\"static\" 0.5 16", "\"cosine\" 1 8", "\"cosine\" 0.5 16"];
    assert_eq!(text(""), grid);
    assert_eq!(text("[[include]]\nepochs = 3\n")[4..], grid);
    assert_eq!(
        text("[[include]]\nlr = 0.25\nbatch_size = 4\nschedule = \"static\"")[4..],
        ["\"static\" 0.25 4"]
    );
}

/// An axis over `[optimizers]`, a rate factor for each, and a key of the rule that a run has.
#[test]
fn named_optimizers_are_an_axis() {
    let rest =
        "[optimizers.momentum]\nsgd = { momentum = 0.8 }\n[optimizers.adam]\nadamw = {}\nlr_scale = 0.125\n";
    let axes = "optimizer = [\"momentum\", \"adam\"]\n\"optimizer.weight_decay\" = [0, 0.5]\nlr = [0.5, 1]\nseed = [0]";
    let text = [
        "optimizer = { sgd = { momentum = 0.5, weight_decay = 0.1 } }\n",
        "lr = 0.1\n",
        "optimizer = { sgd = { momentum = 0.8 } }\n",
    ]
    .iter()
    .fold(grid_text("", axes, rest), |text, replaced| text.replace(replaced, ""))
    .replace("early_stopping = { patience = 2 }\n", "");
    let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(experiment.warnings.is_empty(), "{}", experiment.warnings);
    let cells = experiment.cells(&[], None).unwrap();
    assert_eq!(cells.len(), 16);
    for (cell, run) in &cells {
        let (name, lr) = (cell["optimizer"].as_str().unwrap(), cell["lr"].as_f64().unwrap());
        let optimizer = serde_json::to_value(&run.optimizer).unwrap();
        let (rule, scale) = if name == "adam" { ("adamw", 0.125) } else { ("sgd", 1.0) };
        assert_eq!(optimizer[rule]["weight_decay"], cell["optimizer.weight_decay"], "{optimizer}");
        assert_eq!(run.lr, lr * scale);
        if rule == "sgd" {
            assert_eq!(optimizer["sgd"]["momentum"], 0.8);
        }
    }
    let some = experiment.cells(&["optimizer=adam".into(), "optimizer.weight_decay=0".into()], None).unwrap();
    assert_eq!(some.len(), 4);
}

/// The origin of a rate names the factor of the optimizer, wherever rate and factor come from.
#[test]
fn the_origin_of_a_rate_names_its_factor() {
    let rest = "[optimizers]\nmomentum.sgd = {}\n[optimizers.adam]\nadam = {}\nlr_scale = 0.3\n";
    let explained = |axes: &str, overrides: &[String]| {
        let axes = format!("optimizer = [\"momentum\", \"adam\"]\n{axes}\nseed = [3]");
        let text = grid_text("", &axes, rest).replace("[\"static\", \"cosine\"]", "[\"static\"]");
        let text = text.replace("cosine = { cosine = {} }\n", "");
        let experiment =
            read(&text, "x.toml", overrides, &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((experiment.lr_scale("adam").is_some(), experiment.lr_scale("momentum")), (true, None));
        let texts = experiment.explain(&[], None).unwrap();
        let line = |text: &String| text.lines().find(|line| line.starts_with("lr = ")).unwrap().to_owned();
        texts
            .iter()
            .map(line)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let line_of =
        |text: &str, start: &str| text.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let text = grid_text("", "optimizer = [\"momentum\", \"adam\"]\n\nseed = [3]", rest);
    let (lr, scale) = (line_of(&text, "lr = "), line_of(&text, "lr_scale") - 1);
    assert_eq!(
        explained("", &[]),
        [
            format!("lr = 0.1 # x.toml:{lr}"),
            format!("lr = 0.03 # x.toml:{lr}, 0.1 × lr_scale 0.3 (x.toml:{scale})")
        ]
    );
    let lines = explained("lr = [0.7]", &["optimizers.adam.lr_scale=0.5".into()]);
    assert!(lines[0].starts_with("lr = 0.7 # x.toml:") && !lines[0].contains('×'), "{lines:?}");
    assert!(lines[1].starts_with("lr = 0.35 # x.toml:"), "{lines:?}");
    assert!(lines[1].ends_with(", 0.7 × lr_scale 0.5 (--set optimizers.adam.lr_scale=0.5)"), "{lines:?}");
}

/// `adamw = {}` decays the weights as torch's does; a file that names a weight decay is the run that it was.
#[test]
fn the_weight_decay_of_adamw() {
    let id = |rule: &str| {
        let (_, run) =
            small("optimizer = [\"w\"]\nseed = [3]", &format!("[optimizers.w]\n{rule}\n")).remove(0);
        run_id(&run, "d").unwrap()
    };
    let ids = ["adamw = {}", "adamw = { weight_decay = 0.01 }", "adamw = { weight_decay = 0 }", "adam = {}"]
        .map(id);
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    assert_ne!(ids[2], ids[3]);
    let text =
        grid_text("", "optimizer = [\"w\", \"a\"]\nseed = [3]", "[optimizers]\nw.adamw = {}\na.adam = {}\n");
    let explained =
        read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}")).explain(&[], None);
    let explained = explained.unwrap().join("");
    for (key, value) in [("adamw", "0.01"), ("adam", "0.0")] {
        let start = format!("optimizer.{key}.weight_decay = {value} ");
        let line = explained.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(line.ends_with("  # default"), "{line}");
    }
}
