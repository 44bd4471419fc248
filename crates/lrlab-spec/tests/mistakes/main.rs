//! Invalid experiments and the expected error messages.

mod callbacks;
mod coordinates;
mod data;
mod display;
mod effect;
mod keys;
mod names;
mod schedules;
mod values;

use lrlab_spec::{Catalog, Severity, read};

const GOOD: &str = r#"name = "small"

[axes]
model = ["lstm", "resnet"]
schedule = ["static", "step"]
monitor = ["off", "on"]
epochs = [1, 2]
seed = [0, 1]

[defaults]
batch_size = 32
lr = 0.1
optimizer = { sgd = { momentum = 0.9 } }

[models.lstm]
network = { lstm = { hidden = 32 } }
data = "reviews"
[models.lstm.set]
lr = 0.01
optimizer = { adam = {} }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"

[data.reviews]
source = { synthetic_reviews = {} }
tokens = { max_length = 40 }

[data.pictures]
source = { synthetic_pictures = {} }

[schedules.static]
static = {}

[schedules.step]
step = { step_size = "30%", gamma = 0.1 }

[monitors.on]
controller = { plateau = { factor = 0.5, patience = 1 } }
"#;

/// The valid file with `changes` applied.
fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// The errors of a text, one line each.
fn errors(text: &str, overrides: &[&str]) -> Vec<String> {
    let overrides: Vec<String> = overrides.iter().map(|&argument| argument.to_owned()).collect();
    let Err(mistakes) = read(text, "x.toml", &overrides, &Catalog::default()) else { return Vec::new() };
    mistakes.iter().filter(|mistake| mistake.severity == Severity::Error).map(ToString::to_string).collect()
}

#[track_caller]
fn check(changes: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(errors(&with(changes), &[]), expected);
}

#[test]
fn the_valid_file_has_no_mistake() {
    let experiment = read(GOOD, "x.toml", &[], &Catalog::default()).unwrap();
    assert_eq!(experiment.warnings.to_string(), "");
    assert_eq!(experiment.cells(&[], None).unwrap().len(), 32);
}

#[test]
fn missing_and_empty() {
    check(
        &[("lr = 0.1\n", ""), ("optimizer = { sgd = { momentum = 0.9 } }\n", ""), ("name = \"small\"\n", "")],
        &[
            "x.toml:1:1: `name` is missing",
            "x.toml:19:9: `lr` is missing for `resnet`; give it in [defaults], in [models.resnet.set] or as an axis",
            "x.toml:19:9: `optimizer` is missing for `resnet`; give it in [defaults], in [models.resnet.set] or as an axis",
        ],
    );
    for text in ["", "# nothing\n"] {
        assert_eq!(errors(text, &[]), ["x.toml:1:1: x.toml is empty: expected at least `name` and [axes]"]);
    }
}

#[test]
fn no_toml() {
    check(
        &[("lr = 0.1\n", "lr = 0.1\nlr = 0.2\n"), ("hidden = 32", "hidden = = 32")],
        &[
            "x.toml:13:1: invalid TOML: duplicate key",
            "x.toml:17:31: invalid TOML: extra assignment between key-value pairs, expected value",
        ],
    );
    let deep = format!("{} = 1", vec!["a"; 100_000].join("."));
    assert_eq!(errors(&deep, &[]), ["x.toml:1:1: invalid TOML: recursion limit"]);
}
