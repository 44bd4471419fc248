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

#[test]
fn mistakes() {
    let cases: [(&str, &[&str]); 14] = [
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
        (
            "where = { seed = 0 }\noptimizer.sgd = 3",
            &["35:11: `optimizer.sgd` is a table, and a key is a single value; name one of its keys: \
               `optimizer.sgd.decay_all`, `optimizer.sgd.momentum`, `optimizer.sgd.nesterov`, \
               `optimizer.sgd.weight_decay`, `optimizer.sgd.momentum_schedule.static`, \
               `optimizer.sgd.weight_decay_schedule.static`"],
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
