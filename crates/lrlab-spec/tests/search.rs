//! The trials of `[search]`, and its error messages.

#![expect(clippy::panic, reason = "a helper fails as the test does")]

use lrlab_spec::{Catalog, Experiment, Mistakes, read};
use serde_json::json;

const GRID: &str = r#"name = "s"
[axes]
model = ["linear"]
schedule = ["static", "cosine"]
monitor = ["off", "on"]
epochs = [4, 8]
seed = [0, 1, 2]
[defaults]
batch_size = 8
optimizer = { sgd = {} }
[models]
# A rate of its own, unless it is searched.
linear = { network = { linear = {} }, data = "pictures", set = { lr = 0.1 } }
[data.pictures]
source = { synthetic_pictures = {} }
[schedules]
static = { static = {} }
cosine = { cosine = {} }
[monitors.on]
controller = { plateau = {} }
[search]
"#;

fn with(search: &str) -> Result<Experiment, Mistakes> {
    let grid = if search.contains("space.lr =") {
        GRID.replace(", set = { lr = 0.1 }", "")
    } else {
        GRID.to_owned()
    };
    read(&format!("{grid}{search}"), "x.toml", &[], &Catalog::default())
}

fn good(search: &str) -> Experiment {
    with(search).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn bad(search: &str, expected: &[&str]) {
    let found: Vec<String> = match with(search) {
        Ok(experiment) => experiment.warnings.iter().map(ToString::to_string).collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected);
}

#[test]
fn every_arm_gets_the_same_trials() {
    let experiment = good(
        "method = { halving = { trials = 3, rungs = [\"25%\", \"3 epochs\"], eta = 3 } }\nseed = 7\n\
         space.lr = { log = { min = 1e-3, max = 1.0 } }\nspace.optimizer.sgd.momentum = { choice = [0, 0.9] }",
    );
    let cells = experiment.cells(&[], None).unwrap();
    assert_eq!(cells.len(), 2 * 2 * 2 * 3 * 3);
    let points = |schedule: &str| -> Vec<String> {
        let of = cells.iter().filter(|(cell, _)| cell["schedule"] == schedule && cell["seed"] == 0);
        of.map(|(cell, run)| format!("{} {} {:?}", cell["trial"], cell["lr"], (run.lr, &run.optimizer)))
            .collect()
    };
    assert_eq!(points("static"), points("cosine"));
    assert_eq!(points("static").len(), 4 * 3);
    for (cell, run) in &cells {
        assert_eq!(cell["lr"], json!(run.lr));
        assert_eq!(
            cell["optimizer.sgd.momentum"],
            serde_json::to_value(run).unwrap()["optimizer"]["sgd"]["momentum"]
        );
    }
    let search = experiment.search.as_ref().unwrap();
    assert_eq!(search.keys, ["lr", "optimizer.sgd.momentum"]);
    assert_eq!(search.rungs, [(4, vec![1, 3]), (8, vec![2, 3])].into());
}

#[test]
fn spaces_are_enumerated_or_sampled() {
    let rates = |method: &str| -> Vec<f64> {
        let text =
            format!("method = {{ {method} }}\nspace.lr = {{ log = {{ min = 0.001, max = 1, points = 4 }} }}");
        let filters = ["schedule=cosine", "monitor=on", "epochs=4", "seed=0"].map(str::to_owned);
        good(&text).cells(&filters, None).unwrap().iter().map(|(_, run)| run.lr).collect()
    };
    assert_eq!(rates("grid = {}"), [0.001, 0.01, 0.1, 1.0]);
    assert_eq!(rates("halving = { rungs = [\"1 epoch\"] }"), [0.001, 0.01, 0.1, 1.0]);
    let drawn = rates("random = { trials = 3 }");
    assert_eq!((drawn.len(), drawn), (3, rates("random = { trials = 3 }")));
}

#[test]
fn keys_of_schedules_and_monitors_are_searched_in_their_arms() {
    let experiment = good(
        "method = { random = { trials = 2 } }\nspace.schedule.cosine.eta_min = { linear = { min = 0.0, max = 0.01 } }\n\
         space.\"monitor.controller.plateau.factor\" = { choice = [0.1, 0.5] }\n\
         space.batch_size = { log = { min = 8, max = 64, points = 4 } }",
    );
    for (cell, run) in experiment.cells(&[], None).unwrap() {
        let spec = serde_json::to_value(&run).unwrap();
        let coordinate = |key: &str| cell.get(key).cloned().unwrap_or_default();
        assert_eq!(coordinate("schedule.cosine.eta_min"), spec["schedule"]["cosine"]["eta_min"]);
        assert_eq!(
            coordinate("monitor.controller.plateau.factor"),
            spec["monitor"]["controller"]["plateau"]["factor"]
        );
        assert_eq!(cell["batch_size"], json!(run.batch_size));
    }
    let lines = experiment
        .explain(&["seed=0".into(), "epochs=4".into(), "schedule=cosine".into()], None)
        .unwrap()
        .concat();
    assert!(lines.contains("schedule.cosine.eta_min = ") && lines.contains("# x.toml:23"), "{lines}");
}

#[test]
fn mistakes_in_the_space_are_reported() {
    let method = "method = { random = { trials = 2 } }\n";
    let check = |space: &str, expected: &[&str]| bad(&format!("{method}{space}"), expected);
    check(
        "",
        &[
            "x.toml:21:1: the search has no space; name what is searched: space.lr = { log = { min = 1e-3, max = 1.0 } }",
        ],
    );
    check(
        "space.lt = { log = { min = 1, max = 2 } }\nspace.seed = { choice = [1] }\nspace.epochs = { choice = [1] }",
        &[
            "x.toml:23:7: `lt` is not a searchable key; did you mean `lr`?",
            "x.toml:24:7: `seed` cannot be searched: it is random, not a setting",
            "x.toml:25:7: `epochs` is an axis of the grid and cannot also be searched",
        ],
    );
    check(
        "space.lr = { log = { min = 0.1, max = 0.01 } }\nspace.lr_min = { log = { min = 0, max = 1 } }\n\
         space.clip_norm = { linear = { min = -1, max = 1 } }\nspace.accumulate = { choice = [1, 1] }",
        &[
            "x.toml:23:39: `max` is 0.01: expected a number above `min`, which is 0.1",
            "x.toml:24:32: `min` is 0: a logarithm needs a number above 0",
            "x.toml:25:38: `clip_norm` is -1: expected a number above 0",
            "x.toml:26:35: `1` occurs twice in the choice of `accumulate`",
        ],
    );
    check(
        "space.optimizer.adam.beta1 = { choice = [0.8] }\nspace.data.augment.flip = { linear = { min = 0, max = 1 } }",
        &[
            "x.toml:24:29: `data.augment.flip` is not a number, so it has no range; write data.augment.flip = { choice = […] }",
        ],
    );
    check(
        "space.optimizer.adam.beta1 = { choice = [0.8] }\nspace.lr = { choice = [0.1, 0.2] }",
        &["x.toml:23:22: no run of the grid has `optimizer.adam.beta1`"],
    );
    check(
        "space.lr = { choice = [0.2] }",
        &[
            "x.toml:22:10: the space holds fewer than 2 points for `linear / static / off`; use fewer trials or a larger space",
        ],
    );
}

#[test]
fn mistakes_in_the_method_are_reported() {
    let space = "\nspace.lr = { choice = [0.2, 0.3] }";
    let check = |method: &str, expected: &[&str]| bad(&format!("{method}{space}"), expected);
    check("metric = \"val_loss\"", &["x.toml:21:1: `method` is missing"]);
    check(
        "method = { halvin = {} }\nmetric = \"train_loss\"\nseeds = 0",
        &[
            "x.toml:22:12: unknown key `halvin`; did you mean `halving`?",
            "x.toml:23:10: `train_loss` is not usable for a search, which ranks by the validation split; expected one of `val_loss`, \
             `val_accuracy`, `val_f1`, `val_precision`, `val_recall`, `val_ece`",
            "x.toml:24:9: `seeds` is 0: expected at least 1",
        ],
    );
    check(
        "method = { halving = { rungs = [2], eta = 1 } }",
        &[
            "x.toml:22:33: 2 has no unit: write \"2 epochs\", \"2 updates\" or \"2%\"",
            "x.toml:22:43: `eta` is 1: expected at least 2",
        ],
    );
    check(
        "method = { halving = { rungs = [\"3 updates\", \"2 epochs\", \"5 epochs\"] } }",
        &[
            "x.toml:22:33: \"3 updates\": trials are ranked after whole epochs; write \"2 epochs\" or \"25%\"",
            "x.toml:22:58: \"5 epochs\" is epoch 5 of a run of 4 epochs; rungs increase and lie within the run: 3 … 3",
        ],
    );
    check(
        "method = { halving = { rungs = [\"3 epochs\", \"2 epochs\"] } }",
        &[
            "x.toml:22:45: \"2 epochs\" is epoch 2, and the rung before it is epoch 3; rungs increase and lie within the run",
        ],
    );
    check(
        "method = { halving = { trials = 4, rungs = [\"1 epoch\"] } }\nseeds = 5",
        &["x.toml:23:9: `search.seeds` is 5; expected 1 … 3, the number of seeds in [axes]"],
    );
    let uneven = "method = { grid = {} }\nspace.schedule.cosine.eta_min = { choice = [0.0, 0.1] }\n\
                  space.lr = { choice = [0.2, 0.3] }";
    bad(
        uneven,
        &[
            "x.toml:22:10: arms would have different numbers of trials: 2 for `linear / static / off`, 4 for `linear / cosine / on`; \
           set `trials` (of `random` or `halving`), the number of points drawn for every arm",
        ],
    );
    bad(
        "method = { grid = {} }\nspace.lr = { linear = { min = 0.1, max = 1 } }",
        &[
            "x.toml:23:7: the values of `lr` cannot be counted; set `points` of its range, or `trials` of the method \
           (`random` or `halving`)",
        ],
    );
}

#[test]
fn trials_that_cannot_be_compared_are_rejected() {
    let experiment = good("method = { grid = {} }\nspace.lr = { choice = [0.2, 0.3] }");
    let mistakes = experiment.cells(&["lr=0.2".into()], None).unwrap_err().to_string();
    assert!(mistakes.contains("`lr` is searched: an arm's trials are ranked together"), "{mistakes}");
    assert_eq!(experiment.cells(&["schedule=static".into()], Some(1)).unwrap().len(), 2 * 2 * 2);
}

/// A selection contains the seeds that rank the trials.
#[test]
fn selections_keep_the_seeds_that_rank() {
    let experiment = |seeds: usize| {
        good(&format!("method = {{ grid = {{}} }}\nseeds = {seeds}\nspace.lr = {{ choice = [0.2, 0.3] }}"))
    };
    // Of each seed there are 2 schedules × 2 monitors × 2 budgets × 2 trials.
    for (ranking, filters, seeds, expected) in [
        (1, &["seed=0"][..], None, Ok(16)),
        (1, &["seed=0", "seed=2"], None, Ok(32)),
        (1, &["seed=1"], None, Err("the search ranks trials by the seeds 0: without one of them")),
        (2, &[], Some(2), Ok(32)),
        (3, &["schedule=static"], None, Ok(24)),
        (
            3,
            &["schedule=static"],
            Some(2),
            Err("the search ranks trials by the seeds 0, 1, 2: without one of them"),
        ),
    ] {
        let given: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        match (experiment(ranking).cells(&given, seeds), expected) {
            (Ok(cells), Ok(n)) => assert_eq!(cells.len(), n, "{filters:?}"),
            (Err(mistakes), Err(words)) => assert!(mistakes.to_string().contains(words), "{mistakes}"),
            (found, expected) => panic!("{filters:?}: {found:?}, expected {expected:?}"),
        }
    }
}

/// A filter cannot select trials by another form of a searched key.
#[test]
fn filters_know_both_forms_of_a_key() {
    for (searched, filter) in [
        ("optimizer.momentum", "optimizer.sgd.momentum=0.9"),
        ("optimizer.sgd.momentum", "optimizer.momentum=0.9"),
        ("optimizer.momentum", "optimizer.momentum=0.9"),
    ] {
        let experiment =
            good(&format!("method = {{ grid = {{}} }}\nspace.\"{searched}\" = {{ choice = [0, 0.9] }}"));
        let mistakes = experiment.cells(&[filter.into()], None).unwrap_err().to_string();
        assert!(
            mistakes.contains("is searched: an arm's trials are ranked together"),
            "{searched}: {mistakes}"
        );
    }
}

/// The size of a search is known before its points are made.
#[test]
fn searches_are_bounded() {
    let keys = ["lr", "optimizer.momentum", "optimizer.weight_decay", "lr_min", "clip_norm"];
    let space = |points: &str| -> String {
        let line =
            |key: &&str| format!("space.\"{key}\" = {{ linear = {{ min = 0.1, max = 0.9{points} }} }}\n");
        keys.iter().map(line).collect()
    };
    for (method, space) in [
        ("{ random = { trials = 9000000000000000 } }", space("")),
        ("{ random = { trials = 100001 } }", space("")),
        ("{ grid = {} }", space(", points = 5000")),
    ] {
        let text = format!("method = {method}\n{space}");
        let mistakes = with(&text).unwrap_err().to_string();
        assert!(mistakes.contains("the search makes more than 100000 runs"), "{method}: {mistakes}");
    }
}

/// Which keys a search has depends on the update rule, too.
#[test]
fn update_rules_have_their_own_keys() {
    let grid = GRID
        .replace("monitor = [\"off\", \"on\"]\n", "optimizer = [\"sgd\", \"adamw\"]\n")
        .replace("optimizer = { sgd = {} }\n", "")
        .replace(
            "[monitors.on]\ncontroller = { plateau = {} }\n",
            "[optimizers]\nsgd = { sgd = {} }\nadamw = { adamw = {} }\n",
        )
        .replace(", set = { lr = 0.1 }", "");
    let search = "method = { random = { trials = 3 } }\nspace.lr = { log = { min = 1e-3, max = 1.0 } }\n\
                  space.\"optimizer.sgd.momentum\" = { linear = { min = 0.0, max = 0.9 } }\n";
    for order in ["[\"sgd\", \"adamw\"]", "[\"adamw\", \"sgd\"]"] {
        let text = format!("{}{search}", grid.replace("[\"sgd\", \"adamw\"]", order));
        let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        let cells = experiment.cells(&[], None).unwrap();
        assert_eq!(cells.len(), 2 * 2 * 2 * 3 * 3);
        for (cell, _) in cells {
            assert_eq!(cell.contains_key("optimizer.sgd.momentum"), cell["optimizer"] == "sgd", "{cell:?}");
        }
    }
}

#[test]
fn claims_cannot_select_what_is_searched() {
    let claim = "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"final.val_loss\"\ncompare = \">\"\n";
    let claimed = |rest: &str, expected: &[&str]| {
        let search = "method = { grid = {} }\nspace.lr = { choice = [0.2, 0.3] }\n\
                      space.optimizer.sgd.momentum = { choice = [0, 0.9] }";
        bad(&format!("{search}\n{claim}{rest}"), expected);
    };
    claimed("where = { schedule = \"cosine\" }\nthan = { schedule = \"static\" }", &[]);
    claimed(
        "where = { lr = 0.2 }\nthan = { optimizer.sgd.momentum = 0, trial = 1 }",
        &[
            "x.toml:30:11: `lr` is searched: an arm has its best value only, which no claim can select; leave it out, or list \
             the values to compare as an axis: axes.lr = […]",
            "x.toml:31:24: `optimizer.sgd.momentum` is searched: an arm has its best value only, which no claim can select; \
             leave it out, or list the values to compare as an axis: axes.optimizer.sgd.momentum = […]",
            "x.toml:31:38: `trial` numbers the points of the search: an arm has the best one only; leave it out",
        ],
    );
}

#[test]
fn values_of_some_cells_are_not_searched() {
    let check = |space: &str, value: &str, expected: &str| {
        let set = format!("[[set]]\nwhere = {{ schedule = \"static\", seed = 2 }}\n{value}");
        bad(&format!("method = {{ random = {{ trials = 2 }} }}\n{space}\n{set}"), &[expected]);
    };
    check(
        "space.batch_size = { choice = [8, 16, 32] }",
        "batch_size = 64",
        "x.toml:26:1: `batch_size` is set by [search.space], so [[set]] cannot change it",
    );
    check(
        "space.lr = { log = { min = 1e-3, max = 1.0 } }",
        "lr = 0.5",
        "x.toml:26:1: `lr` is set by [search.space], so [[set]] cannot change it",
    );
    check(
        "space.optimizer.sgd.momentum = { linear = { min = 0.0, max = 0.9 } }",
        "optimizer.momentum = 0.5",
        "x.toml:26:11: `optimizer.momentum` is set by [search.space], so [[set]] cannot change it",
    );
    check(
        "space.optimizer.weight_decay = { linear = { min = 0.0, max = 0.9 } }",
        "optimizer = { adam = {} }",
        "x.toml:26:1: `optimizer.weight_decay` is set by [search.space], so [[set]] cannot change it",
    );
}
