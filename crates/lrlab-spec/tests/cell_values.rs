//! `[[set]]`: values of some cells, and mistakes in it.

#![expect(clippy::panic, reason = "a test's helper fails as the test does")]

use lrlab_spec::{Catalog, Experiment, Severity, read};

/// A grid with `rest` at its end.
fn text(rest: &str) -> String {
    format!(
        r#"name = "set"

[axes]
model = ["resnet", "lstm"]
schedule = ["static", "cosine"]
monitor = ["off", "script"]
lr = [0.1, 0.2]
seed = [0, 1, 2]

[defaults]
epochs = 4
batch_size = 16
optimizer = {{ sgd = {{ momentum = 0.9 }} }}

[models.resnet]
network = {{ resnet = {{ depth = 8 }} }}
data = "pictures"
[models.lstm]
network = {{ lstm = {{ hidden = 32 }} }}
data = "reviews"
[models.lstm.set]
optimizer = {{ adam = {{}} }}

[data.pictures]
source = {{ synthetic_pictures = {{}} }}
[data.reviews]
source = {{ synthetic_reviews = {{}} }}
[schedules]
static = {{ static = {{}} }}
cosine = {{ cosine = {{}} }}
[monitors.script]
controller = {{ scripted = {{ gains = [[1, 0.5]] }} }}
{rest}"#
    )
}

fn experiment(rest: &str) -> Experiment {
    read(&text(rest), "set.toml", &[], &Catalog::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The messages of one severity.
fn messages(rest: &str, severity: Severity) -> Vec<String> {
    let mistakes = match read(&text(rest), "set.toml", &[], &Catalog::default()) {
        Ok(experiment) => experiment.warnings,
        Err(mistakes) => mistakes,
    };
    mistakes.iter().filter(|mistake| mistake.severity == severity).map(ToString::to_string).collect()
}

#[test]
fn values_are_those_of_the_cells_that_meet_all_conditions() {
    let rest = r#"
[[set]]
where = { monitor = "script", seed = [1, 2] }
monitor.controller.scripted.gains = [[2, 0.5], [3, 0.25]]
[[set]]
where = { model = "resnet", lr = 0.2 }
"optimizer.momentum" = 0
batch_size = 32
[[set]]
where.dataset = "pictures"
where.seed = 0
where.lr = 0.2
batch_size = 64
clip_norm = 1
"#;
    let (plain, set) = (experiment(""), experiment(rest));
    assert_eq!(set.warnings.to_string(), "");
    let (plain, set) = (plain.cells(&[], None).unwrap(), set.cells(&[], None).unwrap());
    assert_eq!(set.len(), 48);
    for ((cell, without), (same, run)) in plain.iter().zip(&set) {
        assert_eq!(cell, same, "values that are set are no coordinates");
        let mut expected = serde_json::to_value(without).unwrap();
        let is = |key: &str, value: serde_json::Value| cell[key] == value;
        if is("monitor", "script".into()) && !is("seed", 0.into()) {
            expected["monitor"]["controller"]["scripted"]["gains"] = serde_json::json!([[2, 0.5], [3, 0.25]]);
        }
        if is("model", "resnet".into()) && is("lr", 0.2.into()) {
            expected["optimizer"]["sgd"]["momentum"] = 0.0.into();
            expected["batch_size"] = 32.into();
            if is("seed", 0.into()) {
                expected["batch_size"] = 64.into();
                expected["clip_norm"] = 1.0.into();
            }
        }
        assert_eq!(serde_json::to_value(run).unwrap(), expected, "{cell:?}");
    }
}

#[test]
fn origins_are_lines_of_the_file() {
    let rest = "\n[[set]]\nwhere = { seed = 2 }\nclip_norm = 2\n";
    let line = text(rest).lines().position(|line| line == "clip_norm = 2").unwrap() + 1;
    let explained = experiment(rest).explain(&["seed=2".into(), "lr=0.1".into()], None).unwrap().join("\n");
    let origins: Vec<&str> = explained.lines().filter(|line| line.starts_with("clip_norm = 2.0")).collect();
    assert_eq!(origins.len(), 8);
    assert!(origins.iter().all(|origin| origin.ends_with(&format!("set.toml:{line}"))), "{explained}");
}

#[test]
fn values_that_others_replace_are_warnings() {
    let rest =
        "[[set]]\nwhere = { seed = 2 }\nclip_norm = 2\n[[set]]\nwhere = { seed = [1, 2] }\nclip_norm = 3\n";
    let warnings = messages(rest, Severity::Warning);
    assert_eq!(warnings, ["set.toml:35:13: `clip_norm` has no effect: every run replaces it"]);
}

/// The same lines in `[[set]]` and in the `set` of a model give the same runs.
#[test]
fn values_have_the_effect_that_they_have_for_a_model() {
    let check = |lines: &str| {
        let of = |rest: &str, model: &str| -> Vec<_> {
            let text = text(rest).replace("[models.lstm]", &format!("{model}\n[models.lstm]"));
            let read = read(&text, "set.toml", &[], &Catalog::default());
            read.unwrap_or_else(|mistakes| panic!("{mistakes}")).cells(&[], None).unwrap()
        };
        let set = of(&format!("[[set]]\nwhere = {{ model = \"resnet\" }}\n{lines}"), "");
        assert_eq!(set, of("", &format!("[models.resnet.set]\n{lines}")), "{lines}");
        assert_ne!(set, of("", ""), "{lines}");
    };
    check("optimizer = { adamw = {} }");
    check("optimizer = { adam = { beta2 = 0.99 } }\nclip_norm = 2.0");
    check(
        "optimizer.sgd = { weight_decay = 0.01, weight_decay_schedule = { exponential = { gamma = 0.5 } } }",
    );
    check("optimizer.sgd.momentum_schedule.cosine = {}");
    check("averaging = { lawa = {} }");
    check("averaging.swa.start = \"50%\"");
    check("early_stopping = {}\ndivergence = {}");
    check("divergence.action = { cut = {} }\ndivergence.explosion = 3");
    check("divergence = { action = { rewind = { limit = 2 } }, patience = 2 }");
    check("data = { augment = {}, limit = { train = 64 } }");
}

#[test]
fn later_values_replace_earlier_ones() {
    let rest = r#"
[[set]]
where = { model = "resnet" }
averaging = { ema = { decay = 0.9 } }
early_stopping = { patience = 2 }
optimizer.sgd.nesterov = true
[[set]]
where = { model = "resnet", seed = 1 }
averaging = "off"
early_stopping = "off"
[[set]]
where = { model = "resnet", seed = 2 }
averaging.ema.start = "50%"
early_stopping = {}
"optimizer.adam.beta1" = 0.8
[[set]]
where = { schedule = "cosine" }
schedule.cosine = {}
"#;
    let experiment = experiment(rest);
    assert_eq!(experiment.warnings.to_string(), "");
    for (cell, run) in experiment.cells(&[], None).unwrap() {
        let run = serde_json::to_value(run).unwrap();
        if cell["model"] != "resnet" {
            continue;
        }
        let found = (&run["averaging"]["ema"]["decay"], &run["early_stopping"]["patience"]);
        let sgd = &run["optimizer"]["sgd"];
        match cell["seed"].as_u64().unwrap() {
            1 => assert_eq!((run["averaging"].is_null(), run["early_stopping"].is_null()), (true, true)),
            seed => {
                assert_eq!(found, (&0.9.into(), &2.into()));
                assert_eq!(sgd["nesterov"] == true, seed == 0, "another rule replaces the table");
                assert_eq!(run["optimizer"]["adam"]["beta1"] == 0.8, seed == 2);
            }
        }
    }
}

#[test]
fn mistakes_in_tables_are_those_of_a_model() {
    let check = |lines: &str| {
        let errors = |rest: &str| {
            let errors = messages(rest, Severity::Error).into_iter();
            let message = |error: String| error.splitn(4, ':').nth(3).unwrap_or_default().to_owned();
            errors.map(message).collect::<Vec<_>>()
        };
        let found = errors(&format!("[[set]]\nwhere = {{ seed = 0 }}\n{lines}"));
        let model = "network = { resnet = { depth = 8 } }\ndata = \"pictures\"";
        let expected = errors(&format!("[models.other]\n{model}\n[models.other.set]\n{lines}"));
        assert!(!found.is_empty(), "{lines}");
        assert_eq!(found, expected, "{lines}");
    };
    check("foo = {}");
    check("foo.bar = 1\nclip_norm = {}");
    check("optimizer = {}");
    check("averaging = { eam = {} }");
    check("averaging = {}\ndivergence = { action = {} }");
    check("optimizer = { adam = {}, sgd = {} }");
    check("optimizer.adamw.momentum = 0.5");
    check("optimizer = \"adam\"");
    check("early_stopping = 3\ndata.augment = 1");
    check("data.source = {}");
    check("optimizer.sgd.weight_decay_schedule = {}");
    check("optimizer.weight_decay_schedule = { cosine = {} }");
}

#[test]
fn keys_of_axes_are_refused_in_every_spelling() {
    let check = |axis: &str, value: &str, expected: &str| {
        let text = text(&format!("[[set]]\nwhere = {{ model = \"resnet\" }}\n{value}\n"));
        let text = text.replace("epochs = 4", "epochs = 4\naveraging = { ema = {} }");
        let text = text.replace("lr = [0.1, 0.2]", &format!("{axis}\nlr = [0.1]"));
        let found = match read(&text, "set.toml", &[], &Catalog::default()) {
            Ok(_) => String::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        let expected = format!("set.toml:{expected} is set by [axes], so [[set]] cannot change it");
        assert_eq!(found, expected, "{axis}, {value}");
    };
    check(
        "\"optimizer.weight_decay\" = [0, 0.2]",
        "optimizer.sgd.weight_decay = 0.1",
        "37:15: `optimizer.sgd.weight_decay`",
    );
    check(
        "\"optimizer.weight_decay\" = [0, 0.2]",
        "\"optimizer.weight_decay\" = 0.1",
        "37:1: `optimizer.weight_decay`",
    );
    check(
        "\"optimizer.weight_decay\" = [0, 0.2]",
        "optimizer = { adamw = { beta1 = 0.8 } }",
        "37:1: `optimizer.weight_decay`",
    );
    check("divergence.explosion = [5.0, 9.0]", "divergence = \"off\"", "37:1: `divergence.explosion`");
    check("\"averaging.ema.decay\" = [0.9]", "averaging = { swa = {} }", "37:1: `averaging.ema.decay`");
    check("epochs = [2, 4]", "\"epochs\" = 3", "37:1: `epochs`");
    check("\"data.validation\" = [8, 16]", "data = { validation = 24 }", "37:10: `data.validation`");
    check("\"model.resnet.width\" = [4, 8]", "model.resnet.width = 16", "37:14: `model.resnet.width`");
}

#[test]
fn mistakes() {
    let cases: [(&str, &[&str]); 18] = [
        ("where = { seed = 0 }", &["33:1: expected at least one value in addition to `where`"]),
        ("clip_norm = 1", &["33:1: `where` is missing"]),
        ("where = {}\nclip_norm = 1", &["34:9: expected at least one coordinate"]),
        ("where = 3\nclip_norm = 1", &["34:9: expected a table for `where`, found an integer"]),
        (
            "where = { sede = 0 }\nclip_norm = 1",
            &["34:11: `sede` is not an axis of this grid; did you mean `seed`?"],
        ),
        (
            "where = { seed = 5 }\nclip_norm = 1",
            &["34:18: no cell has `seed` = `5`; expected one of `0`, `1`, `2`"],
        ),
        (
            "where = { model = \"lstm\", dataset = \"pictures\" }\nclip_norm = 1",
            &["34:9: no cell of the grid matches"],
        ),
        (
            "where = { seed = 0 }\nclip_nrom = 1",
            &["35:1: unknown key `clip_nrom`; did you mean `clip_norm`?"],
        ),
        ("where = { seed = 0 }\nclip_norm = -1", &["35:13: `clip_norm` is -1: expected a number above 0"]),
        (
            "where = { seed = 0 }\nlr = 1\nschedule = \"static\"",
            &[
                "35:1: `lr` is set by [axes], so [[set]] cannot change it",
                "36:1: `schedule` is set by [axes], so [[set]] cannot change it",
            ],
        ),
        (
            "where = { seed = 0 }\noptimizer.momentum = 0",
            &["35:11: `optimizer` is `adam`, so `optimizer.momentum` has no effect"],
        ),
        (
            "where = { monitor = \"off\" }\nmonitor.controller.scripted.gains = [[1, 0.1]]",
            &["35:29: `monitor` is `off`, so `monitor.controller.scripted.gains` has no effect"],
        ),
        (
            "where = { monitor = \"script\" }\nmonitor.controller.scripted.gains = [[2, 0.1], [1, 0.1]]",
            &[
                "35:49: `gains[1][0]`: 1 is not an observation, counted from 1, after that of the previous pair",
            ],
        ),
        ("where = { seed = 0 }\noptimizer.sgd = 3", &["35:17: expected a table for `sgd`, found an integer"]),
        (
            "where = { seed = 0 }\n\"optimiser.sgd.momentum\" = 0.5\nschedule.cosine.restarts = {}",
            &[
                "35:1: unknown key `optimiser`; did you mean `optimizer`?",
                "36:17: unknown key `schedule.cosine.restarts`; expected one of `schedule.cosine.eta_min`, \
                 `schedule.cosine.every`, `schedule.cosine.exponent`, `schedule.cosine.k_decay`, \
                 `schedule.cosine.num_cycles`, `schedule.cosine.t_max`",
            ],
        ),
        (
            "where = { seed = 0 }\nseed = {}\nmodel = {}\nschedule = {}\nmonitor = \"off\"",
            &[
                "35:1: `seed` is set by [axes], so [[set]] cannot change it",
                "36:1: `model` is set by [axes], so [[set]] cannot change it",
                "37:1: `schedule` is set by [axes], so [[set]] cannot change it",
                "38:1: `monitor` is set by [axes], so [[set]] cannot change it",
            ],
        ),
        (
            "where = { seed = 0 }\nschedule = { cosine = {} }",
            &["35:14: `schedule` is `static`, so `schedule.cosine` has no effect"],
        ),
        (
            "where = { monitor = \"script\" }\nmonitor.controller = {}",
            &["35:22: `controller` is empty; expected exactly one of `plateau`, \
               `noise_aware_plateau`, `greedy`, `new_bob`, `bold_driver`, `auto_lrs`, `scripted`"],
        ),
    ];
    let found = cases.map(|(rest, _)| messages(&format!("[[set]]\n{rest}\n"), Severity::Error));
    let expected = cases.map(|(_, expected)| {
        expected.iter().map(|message| format!("set.toml:{message}")).collect::<Vec<_>>()
    });
    assert_eq!(found, expected);
    let found = messages("[set]\nwhere = { seed = 0 }\nclip_norm = 1\n", Severity::Error);
    assert_eq!(found, ["set.toml:33:1: expected a list for `set`, found a table"]);
}
