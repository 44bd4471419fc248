//! Invalid experiments and the expected error messages.

use lrlab_spec::{Catalog, Severity, read};

mod callbacks;
mod coordinates;
mod display;
mod effect;

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
fn three_typos_at_once() {
    check(
        &[("batch_size", "bacth_size"), ("momentum", "momentun"), ("schedule = [", "shedule = [")],
        &[
            "x.toml:5:1: unknown axis `shedule`; did you mean `schedule`?",
            "x.toml:11:1: unknown key `bacth_size`; did you mean `batch_size`?",
            "x.toml:13:23: unknown key `momentun`; did you mean `momentum`?",
        ],
    );
    check(
        &[("name = \"small\"\n", "nmae = \"small\"\nlr = 1\nseed = [1]\n")],
        &[
            "x.toml:1:1: unknown key `nmae`; did you mean `name`?",
            "x.toml:2:1: unknown key `lr`; did you mean `defaults.lr`?",
            "x.toml:3:1: unknown key `seed`; did you mean `axes.seed`?",
        ],
    );
}

/// A misspelt key is one error, and a suggestion is something that can stand there.
#[test]
fn suggestions_can_be_followed() {
    let axis = |axis: &str| {
        let found = errors(&with(&[("epochs = [1, 2]", axis)]), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].split_once("; ").unwrap().1.to_owned()
    };
    for (name, suggested) in [
        ("optimizer.moment", "optimizer.momentum"),
        ("optimizer.adamw.beta_2", "optimizer.adamw.beta2"),
        ("optimzier.momentum", "optimizer.momentum"),
        ("schedule.stpe.gamma", "schedule.step.gamma"),
        ("data.limit.trian", "data.limit.train"),
        ("accumlate", "accumulate"),
    ] {
        assert_eq!(axis(&format!("epochs = [1]\n\"{name}\" = [1]")), format!("did you mean `{suggested}`?"));
    }
    let found = axis("epochs = [1]\n\"optimizer.frobnicate\" = [1]");
    assert!(
        found.starts_with("expected one of `optimizer.") && found.contains("`optimizer.weight_decay`"),
        "{found}"
    );
    let names: Vec<&str> = found.split_once(", or").unwrap().0.split('`').skip(1).step_by(2).collect();
    let all = lrlab_spec::schema()["$defs"]["Axes"]["properties"].clone();
    assert!(names.iter().all(|name| all.get(name).is_some()), "{names:?}");
    let found = axis("epochs = [1]\nfrobnicate = [1]");
    let (names, tables) = found.split_once(", or a key of ").unwrap();
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    assert!(
        names.contains(&"schedule") && names.contains(&"clip_norm") && !names.contains(&"averaging"),
        "{found}"
    );
    assert!(tables.contains("`averaging`") && tables.contains("`data`"), "{found}");
    assert_eq!(axis("epochs = [1]\n\"batch_size.x\" = [1]"), "`batch_size` is a single value");
    let found = axis("epochs = [1]\ndivergance = [1]");
    assert!(found.starts_with("did you mean a key of `divergence`, such as `divergence."), "{found}");

    let optimizers = |rule: &str| {
        errors(&with(&[("[models.lstm]", &format!("[optimizers.o]\n{rule}\n[models.lstm]"))]), &[])
    };
    assert_eq!(
        optimizers("adam = {}\nlr_scael = 3"),
        ["x.toml:17:1: unknown key `lr_scael`; did you mean `lr_scale`?"]
    );
    assert_eq!(
        optimizers("adma = {}\nlr_scale = 3"),
        ["x.toml:16:1: unknown key `adma`; did you mean `adam`?"]
    );
    assert_eq!(
        optimizers("sgd = {}\nadam = {}\nlr_scale = 3"),
        [
            "x.toml:17:1: `o` must have exactly one update rule, found 2; expected exactly one of `adam`, `adamw`, `sgd`"
        ]
    );
    check(
        &[("{ sgd = { momentum = 0.9 } }", "{ sgd = {}, nestrov = true }")],
        &["x.toml:13:25: unknown key `nestrov`; expected one of `sgd`, `adam`, `adamw`"],
    );
}

#[test]
fn wrong_types() {
    check(
        &[("lr = 0.1\n", "lr = \"0.1\"\n"), ("hidden = 32", "hidden = 32.0"), ("seed = [0, 1]", "seed = 0")],
        &[
            "x.toml:8:8: the axis `seed` is an integer, not a list of values; write a list",
            "x.toml:12:6: expected a number for `lr`, found a string; write it without quotes: `0.1`",
            "x.toml:16:31: expected an integer for `hidden`, found a number with a decimal point; write `32`",
        ],
    );
    check(
        &[
            ("network = { lstm = { hidden = 32 } }", "network = \"lstm\""),
            ("{ adam = {} }", "{ adam = {}, sgd = {} }"),
        ],
        &[
            "x.toml:16:11: \"lstm\" is not a valid value for `network`; write { lstm = { } }",
            "x.toml:20:26: `optimizer` must have exactly one variant, found 2; expected exactly one of `sgd`, `adam`, `adamw`",
        ],
    );
    check(
        &[
            ("name = \"small\"", "name = 1979-05-27"),
            ("seed = [0, 1]", "seed = [99999999999999999999, 9007199254740993]"),
        ],
        &[
            "x.toml:1:8: found a date or time, which no key accepts",
            "x.toml:8:9: found an integer too large, which no key accepts",
            "x.toml:8:31: `seed` is 9007199254740993: expected 0 … 9007199254740992",
        ],
    );
}

/// Validation is a number of examples or the test split, which gives a warning.
#[test]
fn mistakes_in_validation() {
    let source = "source = { synthetic_pictures = {} }";
    let with_validation = |rest: &str| with(&[(source, &format!("{source}\n{rest}"))]);
    let found = |rest: &str| errors(&with_validation(rest), &[]).join("\n");
    for (rest, expected) in [
        (
            "validation = \"tset\"",
            "x.toml:32:14: unknown value \"tset\" for `validation`; did you mean `test`?",
        ),
        (
            "validation = \"holdout\"",
            "x.toml:32:14: unknown value \"holdout\" for `validation`; expected an integer or one of `test`, `off`",
        ),
        (
            "validation = \"64\"",
            "x.toml:32:14: expected an integer for `validation`, found a string; write it without quotes: `64`",
        ),
        ("validation = 0", "x.toml:32:14: `validation` is 0: expected at least 1"),
        (
            "validation = \"test\"\nlimit = { validation = 5 }",
            "x.toml:33:24: `limit.validation` has no effect if `validation = \"test\"`; use `limit.test`, \
             because validation reads the test split",
        ),
    ] {
        assert_eq!(found(rest), expected);
    }
    let experiment = read(&with_validation("validation = \"test\""), "x.toml", &[], &Catalog::default());
    let warnings: Vec<String> = experiment.unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["x.toml:32:14: `validation` is the test split: choices by validation (best epoch, monitor, early \
          stopping) depend on the test examples; hold out training examples, unless you reproduce such a protocol"]
    );
}

#[test]
fn impossible_ranges() {
    check(
        &[
            ("lr = 0.1\n", "lr = -0.1\nlabel_smoothing = 1\nlr_min = nan\n"),
            ("batch_size = 32", "batch_size = 0"),
            ("epochs = [1, 2]", "epochs = [0, 2]"),
            ("momentum = 0.9", "momentum = 1"),
            ("depth = 8", "depth = 21"),
            ("hidden = 32", "hidden = 32, dropout = 1.0"),
            ("max_length = 40", "max_length = -4"),
        ],
        &[
            "x.toml:7:11: `epochs` is 0: expected at least 1",
            "x.toml:11:14: `batch_size` is 0: expected at least 1",
            "x.toml:12:6: `lr` is -0.1: expected a number above 0",
            "x.toml:13:19: `label_smoothing` is 1: expected 0 or more and below 1",
            "x.toml:14:10: `lr_min` is NaN, expected a finite number",
            "x.toml:15:34: `momentum` is 1: expected 0 or more and below 1",
            "x.toml:18:45: `dropout` is 1: expected 0 or more and below 1",
            "x.toml:25:32: `depth` is 21: expected 6n + 2 (8, 14, 20, 26, 32, 38, 44, 56, …) or 18, 34, 50",
            "x.toml:30:25: `max_length` is -4: expected 0 … 9007199254740992",
        ],
    );
}

#[test]
fn schedules_and_monitors() {
    check(
        &[
            ("step_size = \"30%\", gamma = 0.1", "step_size = 30, gamma = -0.1"),
            ("factor = 0.5", "factor = 1.5, metirc = 1"),
        ],
        &[
            "x.toml:37:22: 30 has no unit: write \"30 epochs\", \"30 updates\" or \"30%\"",
            "x.toml:37:34: `gamma`: -0.1 is not a number from 0 to 1e30",
            "x.toml:40:37: `factor`: 1.5 is not a number above 0 and below 1",
            "x.toml:40:42: unknown key `metirc`; expected one of `accumulate`, `cooldown`, `factor`, `min_delta`, \
             `min_gain`, `mode`, `on_nan`, `patience`, `rewind`, `rule`, `start_after`, `threshold`, `threshold_mode`",
        ],
    );
    check(
        &[("patience = 1 } }", "patience = 1 } }\nmetric = \"val_accuracy\"")],
        &["x.toml:41:10: `val_accuracy` is better high, but the controller has `mode = \"min\"`; \
           give the controller `mode = \"max\"`"],
    );
    check(
        &[
            ("patience = 1 } }", "patience = 1 } }\nmetric = \"val_acuracy\""),
            ("lr = 0.1\n", "lr = 0.1\nselect = \"lr\"\n"),
        ],
        &[
            "x.toml:13:10: `lr` is a metric without a preferred direction, so it has no best epoch; expected one of \
             `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`, `val_f1`, `val_precision`, `val_recall`, `val_ece`",
            "x.toml:42:10: unknown metric `val_acuracy`; did you mean `val_accuracy`?",
        ],
    );
}

/// Mistakes that depend on the run's length are found when the file is read, not by the worker.
#[test]
fn schedules_are_checked_with_the_length_of_the_run() {
    let step = "step = { step_size = \"30%\", gamma = 0.1 }";
    let sequence = |milestones: &str| {
        format!(
            "sequential = {{ schedulers = [{{ static = {{}} }}, {{ static = {{}} }}, {{ static = {{}} }}], milestones = [{milestones}] }}"
        )
    };
    // 1,024 reviews in batches of 32: 32 updates per epoch.
    check(
        &[(step, &sequence("\"50%\", \"16 updates\""))],
        &[
            "x.toml:37:103: `milestones`: 16 updates follows 50%: the values must increase; the run has 1 epoch of 32 updates, \
             32 in all",
        ],
    );
    check(
        &[(step, "multi_step = { milestones = [\"1 epoch\", \"20%\"] }")],
        &[
            "x.toml:37:41: `milestones`: 20% follows 1 epoch: the values must increase; the run has 1 epoch of 32 updates, 32 in all",
        ],
    );
}

#[test]
fn names_without_a_definition() {
    check(
        &[
            ("\"static\", \"step\"", "\"static\", \"setp\""),
            ("data = \"reviews\"", "data = \"review\""),
            ("\"lstm\", ", "\"lstm\", \"gru\", "),
        ],
        &[
            "x.toml:4:18: undefined model `gru`; defined are `lstm`, `resnet`; define it under [models.gru]",
            "x.toml:5:23: undefined schedule `setp`; did you mean `step`?",
            "x.toml:17:8: undefined data set `review`; did you mean `reviews`?",
        ],
    );
    check(&[("synthetic_reviews", "imbd")], &["x.toml:27:12: unknown key `imbd`; did you mean `imdb`?"]);
    check(
        &[("network = { lstm = { hidden = 32 } }", "network = { custom = { name = \"mine\" } }")],
        &["x.toml:16:31: unknown model `mine`; this program registers no models; \
           call the program that registers it, or name that program to `cargo xtask run-grid` with `--runner PATH`"],
    );
}

#[test]
fn inconsistent_values() {
    check(
        &[("data = \"reviews\"", "data = \"pictures\"")],
        &["x.toml:16:11: this network reads text, but its data set holds pictures"],
    );
    check(
        &[("{ lstm = { hidden = 32 } }", "{ transformer = { width = 30, heads = 4, dropout = 1 } }")],
        &[
            "x.toml:16:49: 4 heads do not divide a width of 30",
            "x.toml:16:62: `dropout` is 1: expected 0 or more and below 1",
        ],
    );
    check(
        &[
            ("lr = 0.1\n", "lr = 0.1\nlr_max = 0.01\nlr_min = 0.02\n"),
            ("momentum = 0.9", "momentum = 0, nesterov = true"),
        ],
        &[
            "x.toml:13:10: `lr_max` is 0.01, below `lr_min`, which is 0.02",
            "x.toml:15:48: Nesterov's momentum needs `momentum` above 0",
        ],
    );
    check(
        &[("seed = [0, 1]", "seed = [0, 1]\n\"optimizer.sgd.momentum\" = [0.8, 0.9]")],
        &[
            "x.toml:9:1: for the model `lstm` `optimizer` is `adam`, so `optimizer.sgd.momentum` has no effect",
        ],
    );
    check(
        &[("tokens = {", "augment = { flip = true }\ntokens = {")],
        &["x.toml:28:1: `augment` is for pictures and has no effect here"],
    );
}

#[test]
fn duplicates() {
    check(&[("seed = [0, 1]", "seed = [0, 0]")], &["x.toml:8:12: `0` occurs twice in the axis `seed`"]);
    check(
        &[
            ("[schedules.static]", "[schedules.again]\nstatic = {}\n[schedules.static]"),
            ("\"static\", \"step\"", "\"static\", \"again\", \"step\""),
        ],
        &["x.toml:5:23: `static` and `again` along `schedule` give the same runs"],
    );
    check(
        &[("[schedules.static]", "[[include]]\nepochs = 2\nmodel = \"lstm\"\n[schedules.static]")],
        &[
            "x.toml:35:1: duplicate cell: model = lstm, schedule = static, monitor = off, epochs = 2, seed = 0",
        ],
    );
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

/// Names are used for folders and files.
#[test]
fn names_that_are_invalid_for_folders() {
    for name in lrlab_runs::RESERVED_NAMES {
        let found = errors(GOOD, &[&format!("name={name}")]);
        let [only] = &found[..] else { panic!("{name}: {found:?}") };
        assert!(only.contains(&format!("invalid experiment name `{name}`")), "{only}");
        assert!(only.contains(&format!("for example `{name}-1`")), "{only}");
        assert_eq!(errors(GOOD, &[&format!("name={name}-1")]), [""; 0]);
    }
    let longest = "a".repeat(lrlab_runs::LONGEST_NAME);
    assert_eq!(errors(&with(&[("\"small\"", &format!("\"{longest}\""))]), &[]), [""; 0]);
    let long = |name: &str| {
        format!(
            "a name of {} bytes is too long: at most 100, because files are named after it; use `description` for a longer text",
            name.len()
        )
    };
    let name = format!("{longest}b");
    check(&[("\"small\"", &format!("\"{name}\""))], &[&format!("x.toml:1:8: {}", long(&name))]);
    // Models, data sets, schedules and monitors.
    for (short, section, line) in
        [("lstm", "models", 15), ("reviews", "data", 26), ("step", "schedules", 36), ("on", "monitors", 39)]
    {
        let text = GOOD.replace(&format!("\"{short}\""), &format!("\"{name}\""));
        let text = text.replace(&format!("[{section}.{short}"), &format!("[{section}.{name}"));
        let found = errors(&text, &[]);
        let [only] = &found[..] else { panic!("{section}: {found:?}") };
        assert!(only.starts_with(&format!("x.toml:{line}:")) && only.ends_with(&long(&name)), "{only}");
    }
}

/// Valid but unlikely settings give one warning per value.
#[test]
fn lengths_beyond_an_epoch_give_a_warning() {
    let warnings = |changes: &[(&str, &str)], overrides: &[&str]| -> Vec<String> {
        let overrides: Vec<String> = overrides.iter().map(|&argument| argument.to_owned()).collect();
        let experiment = read(&with(changes), "x.toml", &overrides, &Catalog::default()).unwrap();
        experiment.warnings.iter().map(ToString::to_string).collect()
    };
    let few = ("synthetic_pictures = {}", "synthetic_pictures = { train = 80, test = 20 }");
    let lone = ("model = [\"lstm\", \"resnet\"]", "model = [\"resnet\"]");
    let unused = |found: Vec<String>| -> Vec<String> {
        found.into_iter().filter(|warning| !warning.contains("not used")).collect()
    };
    // 64 examples are two batches of 32.
    for (accumulate, expected) in [
        ("1", &[][..]),
        ("2", &[]),
        (
            "3",
            &[
                "x.toml:12:14: `accumulate` is 3, but an epoch has 2 batches, so larger values have no effect; set \
               `accumulate` to 2 or less, or make `batch_size` smaller",
            ],
        ),
    ] {
        let given = format!("batch_size = 32\naccumulate = {accumulate}");
        assert_eq!(unused(warnings(&[few, lone, ("batch_size = 32", &given)], &[])), expected);
    }
    let found = unused(warnings(&[few, lone], &["defaults.batch_size=65", "defaults.accumulate=2"]));
    assert_eq!(
        found,
        [
            "command line:1:27: `batch_size` is 65, but an epoch has 64 training examples, so its only batch is smaller; set \
             `batch_size` to 64 or less",
            "command line:1:27: `accumulate` is 2, but an epoch has 1 batch, so larger values have no effect; set \
             `accumulate` to 1 or less, or make `batch_size` smaller",
        ]
    );
    // For an axis, the warning names the value that is too large.
    let axis = ("seed = [0, 1]", "seed = [0, 1]\naccumulate = [1, 9]");
    assert!(unused(warnings(&[few, lone, axis], &[]))[0].starts_with("x.toml:9:18: `accumulate` is 9"));
}

/// Schedules of constants of the update rule.
#[test]
fn mistakes_in_schedules_of_constants() {
    let rule =
        |keys: &str| [("optimizer = { sgd = { momentum = 0.9 } }", format!("optimizer = {{ {keys} }}"))];
    let check = |keys: &str, expected: &[&str]| {
        let changes = rule(keys);
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        let found = errors(&with(&changes), &[]);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}, expected {expected}");
        }
    };
    check(
        "sgd = { momentum_schedule = { cosine = {} }, weight_decay = 5e-4, weight_decay_schedule = { step = { step_size = \"30%\" } } }",
        &[],
    );
    check("sgd = { beta1_schedule = { cosine = {} } }", &["unknown key `beta1_schedule`"]);
    check("adam = { momentum_schedule = { cosine = {} } }", &["unknown key `momentum_schedule`"]);
    check(
        "sgd = { momentum_schedule = { linear = { start_factor = 1.0, end_factor = 1.5, total_iters = \"100%\" } } }",
        &["`momentum_schedule`: 1.0"],
    );
    check("adamw = { beta2_schedule = { cosin = {} } }", &["unknown key `cosin`; did you mean `cosine`?"]);
}
