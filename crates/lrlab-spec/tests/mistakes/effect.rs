//! Keys without effect in their runs, and batches of a single example.

use lrlab_spec::{Catalog, read};

use super::errors;

const GRID: &str = r#"name = "x"
[axes]
model = ["resnet"]
schedule = ["static", "cycle"]
epochs = [2]
seed = [0, 1]
[defaults]
lr = 0.1
batch_size = 32
optimizer = { sgd = {} }
[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 80, test = 20 } }
[schedules.static]
static = {}
[schedules.cycle]
one_cycle = { max_lr = 0.1 }
"#;

fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(GRID.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

#[track_caller]
fn check(changes: &[(&str, &str)], overrides: &[&str], expected: &[&str]) {
    assert_eq!(errors(&with(changes), overrides), expected);
}

const REMEDY: &str = "or exclude all but one of these values where they have no effect, with [[exclude]]";

#[test]
fn axes_without_effect_are_rejected() {
    // A single value is not an axis, and `lr` is required.
    check(&[], &[], &[]);
    let rates = ("seed = [0, 1]", "seed = [0, 1]\nlr = [0.003, 0.01, 0.03]");
    let found = format!(
        "x.toml:7:1: `lr` has no effect for `resnet / cycle`: the schedule's `one_cycle` sets the rates itself, so \
         0.003, 0.01, 0.03 give the same runs; vary a rate of the schedule instead, {REMEDY}"
    );
    let given = ("lr = 0.1\nbatch", "batch");
    check(&[rates, given], &[], &[&found]);
    // The fix that the message suggests.
    let out = (
        "optimizer = { sgd = {} }",
        "optimizer = { sgd = {} }\n[[exclude]]\nschedule = \"cycle\"\nlr = [0.01, 0.03]",
    );
    check(&[rates, given, out], &[], &[]);
    // Zipped with an axis that has an effect, it still has none.
    let zipped = ("[axes]", "zip = [[\"lr\", \"batch_size\"]]\n[axes]");
    let both = ("seed = [0, 1]", "seed = [0, 1]\nlr = [0.003, 0.01]\nbatch_size = [8, 16]");
    let found = errors(&with(&[zipped, both, ("lr = 0.1\nbatch_size = 32\n", "")]), &[]);
    assert!(found.len() == 1 && found[0].starts_with("x.toml:8:1: `lr` has no effect"), "{found:?}");
}

#[test]
fn keys_without_effect_are_rejected() {
    let axis = |text: &str, place: &str, why: &str| {
        let axis = format!("seed = [0, 1]\n{text}");
        let found = errors(&with(&[("\"static\", \"cycle\"", "\"static\""), ("seed = [0, 1]", &axis)]), &[]);
        assert!(found.len() == 1 && found[0].starts_with(place) && found[0].contains(why), "{found:?}");
    };
    axis(
        "\"optimizer.sgd.decay_all\" = [true, false]",
        "x.toml:7:1: ",
        "`weight_decay` is 0, so false, true give",
    );
    axis(
        "\"data.tokens.max_length\" = [10, 20]",
        "x.toml:7:1: ",
        "has no effect for `resnet / static`: the data set holds pictures",
    );
    axis("\"data.limit.train\" = [64, 100]", "x.toml:7:1: ", "the split has 64 examples");
    // Two models that differ only in a rate that has no effect.
    let two = with(&[
        ("[\"resnet\"]", "[\"resnet\", \"twin\"]"),
        ("\"static\", \"cycle\"", "\"cycle\""),
        (
            "[data.pictures]",
            "[models.twin]\nnetwork = { resnet = { depth = 8 } }\ndata = \"pictures\"\nset = { lr = 0.2 }\n[data.pictures]",
        ),
    ]);
    let found = errors(&two, &[]);
    let expected = "x.toml:3:20: `resnet` and `twin` along `model` give the same runs; they differ only in keys without effect: `lr`";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
}

#[test]
fn arguments_without_effect_are_rejected() {
    check(&[("\"static\", \"cycle\"", "\"static\"")], &["defaults.lr=0.2"], &[]);
    check(&[], &["defaults.lr=0.2"], &[]);
    check(
        &[("\"static\", \"cycle\"", "\"cycle\"")],
        &["defaults.lr=0.2"],
        &["command line:1:19: `lr` has no effect: the schedule's `one_cycle` sets the rates itself"],
    );
    check(&[], &["defaults.data.limit.train=1000"], &[]);
}

#[test]
fn searches_without_effect_are_rejected() {
    let search = "[search]\nmethod = { grid = {} }\nspace.lr = { choice = [0.1, 0.2, 0.3] }\n";
    let only = with(&[("\"static\", \"cycle\"", "\"cycle\"")]) + search;
    assert_eq!(
        errors(&only, &[]),
        ["x.toml:22:7: `lr` has no effect in any run: the schedule's `one_cycle` sets the rates itself"]
    );
    // Each arm is searched over its own keys, such as those of its schedule.
    let method = "method = { random = { trials = 2 } }";
    let own = "space.schedule.one_cycle.max_lr = { choice = [0.1, 0.2, 0.3] }\n";
    let both = with(&[]) + &search.replace("method = { grid = {} }", method) + own;
    let cells = read(&both, "x.toml", &[], &Catalog::default()).unwrap().cells(&[], None).unwrap();
    assert_eq!(cells.len(), 2 * 2 * 2);
    assert!(cells.iter().all(|(cell, _)| cell.contains_key("lr") == (cell["schedule"] == "static")));
    // An arm that is not searched over the key needs a value for it.
    let found = errors(&both.replace("lr = 0.1\nbatch", "batch"), &[]);
    let expected = "x.toml:21:7: `lr` is not searched for `resnet / cycle`, where it has no effect: the schedule's \
                    `one_cycle` sets the rates itself; give `lr` in [defaults] too";
    assert_eq!(found, [expected]);
}

#[test]
fn batches_of_one_example_are_rejected() {
    let small = ("train = 80, test = 20", "train = 41, test = 20, size = 4");
    let batch = |size: usize| format!("batch_size = {size}");
    let check = |size: usize, more: &[(&str, &str)], expected: Option<&str>| {
        let (own, mut changes) = (batch(size), vec![small]);
        changes.extend(more);
        changes.push(("batch_size = 32", &own));
        let found = errors(&with(&changes), &[]);
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{size}"),
            Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{size}: {found:?}"),
        }
    };
    // 41 − 8 = 33 examples for training.
    check(
        16,
        &[],
        Some(
            "x.toml:9:14: `batch_size` is 16, so the last batch of an epoch is 1 of 33 examples, and from pictures of \
             4 × 4 this network's last stage is 1 × 1: one value per channel has no variance for its batch norm; a batch \
             size of 15 or 17 avoids it",
        ),
    );
    check(32, &[], Some("a batch size of 31 or 33 avoids it"));
    check(1, &[], Some("each batch is 1 of 33 examples"));
    check(17, &[], None);
    check(16, &[("size = 4", "size = 5")], None);
    check(16, &[("size = 4", "size = 8")], None);
    check(16, &[("size = 4", "size = 8"), ("depth = 8", "depth = 18")], Some("1 of 33 examples"));
    check(16, &[("size = 4", "size = 16"), ("depth = 8", "depth = 8, stem = \"imagenet\"")], Some("1 of 33"));
    check(16, &[("network = { resnet = { depth = 8 } }", "network = { linear = {} }")], None);
}

/// What is valid, but hardly meant.
#[test]
fn doubts() {
    let fixed = ("\"static\", \"cycle\"", "\"static\"");
    let cycle = ("\"static\", \"cycle\"", "\"cycle\"");
    let check = |changes: &[(&str, &str)], expected: &[&str]| {
        let experiment =
            read(&with(changes), "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        for (_, run) in experiment.cells(&[], None).unwrap() {
            assert_eq!(run.doubts(), expected, "{changes:?}");
        }
    };
    check(&[], &[]);
    let lr = |lr: &'static str| ("lr = 0.1\nbatch", lr);
    check(
        &[fixed, lr("lr = 0.2\nlr_max = 0.15\nbatch")],
        &["`lr_max` is 0.15, below `lr`, which is 0.2: higher rates are cut off"],
    );
    check(&[fixed, lr("lr = 0.2\nlr_max = 0.2\nlr_min = 0.2\nbatch")], &[]);
    check(
        &[fixed, lr("lr = 0.2\nlr_min = 0.3\nbatch")],
        &["`lr_min` is 0.3, above `lr`, which is 0.2: every rate is raised to it"],
    );
    let double = (
        "[schedules.static]\nstatic = {}",
        "[schedules.static]\nconstant = { factor = 2, total_iters = \"1 epoch\" }",
    );
    check(
        &[fixed, double, lr("lr = 0.2\nlr_max = 0.3\nbatch")],
        &["`lr_max` is 0.3, below the highest rate of the schedule, 0.4: higher rates are cut off"],
    );
    let found = read(&with(&[cycle, lr("lr = 0.7\nbatch")]), "x.toml", &[], &Catalog::default()).unwrap();
    let found = found.cells(&[], None).unwrap().remove(0).1.doubts();
    assert!(
        found.len() == 1
            && found[0].starts_with(
                "`lr` is 0.7 and has no effect: the schedule's `one_cycle` sets the rates itself, up to "
            )
            && found[0].ends_with("; without `max_lr` it peaks at `lr`"),
        "{found:?}"
    );
    check(&[cycle, ("one_cycle = { max_lr = 0.1 }", "one_cycle = {}")], &[]);

    let rule = |rule: &'static str| ("{ sgd = {} }", rule);
    check(
        &[fixed, rule("{ adam = { weight_decay_schedule = { cosine = {} } } }")],
        &[
            "`optimizer.adam.weight_decay_schedule` has no effect: its base value `optimizer.adam.weight_decay` is 0, and so is every value",
        ],
    );
    check(
        &[fixed, rule("{ sgd = { momentum = 0, momentum_schedule = { linear_to_zero = {} } } }")],
        &[
            "`optimizer.sgd.momentum_schedule` has no effect: its base value `optimizer.sgd.momentum` is 0, and so is every value",
        ],
    );
    check(&[fixed, rule("{ adamw = { weight_decay_schedule = { cosine = {} } } }")], &[]);
    // It rises from 0.
    check(&[fixed, rule("{ sgd = { weight_decay_schedule = { cosine = { eta_min = 0.1 } } } }")], &[]);

    let stopping = |rule: &str, epochs: &str| {
        let rule = format!("optimizer = {{ sgd = {{}} }}\nearly_stopping = {{ {rule} }}");
        let epochs = format!("epochs = [{epochs}]");
        let text = with(&[fixed, ("optimizer = { sgd = {} }", &rule), ("epochs = [2]", &epochs)]);
        read(&text, "x.toml", &[], &Catalog::default())
            .unwrap()
            .cells(&[], None)
            .unwrap()
            .remove(0)
            .1
            .doubts()
    };
    let expected = ["early stopping with `patience` 4 cannot stop a run of 5 epochs before its end"];
    assert_eq!(stopping("patience = 4", "5"), expected);
    assert_eq!(stopping("patience = 4", "6"), [""; 0]);
    assert_eq!(stopping("patience = 4, baseline = 0.1", "5"), [""; 0]);
    assert_eq!(stopping("patience = 4, start_epoch = 2", "6").len(), 1);
    for more in ["restore_best = true", "at_restart = \"count_cycles\""] {
        assert_eq!(stopping(&format!("patience = 9, {more}"), "5"), [""; 0], "{more}");
    }
}

/// A table without a key is a value that can be replaced.
#[test]
fn an_empty_table_that_does_nothing() {
    let warnings = |set: &str, axes: &str| {
        let text = with(&[
            ("data = \"pictures\"", &format!("data = \"pictures\"\nset = {{ {set} }}")),
            ("[axes]", &format!("[axes]\n{axes}")),
            ("[data.pictures]", "[optimizers.o]\nsgd = { momentum = 0.5 }\n[data.pictures]"),
        ]);
        let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        experiment.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>()
    };
    let named = "optimizer = [\"o\"]";
    assert_eq!(
        warnings("optimizer = { adamw = {} }", named),
        [
            "`optimizer.sgd` has no effect: every run replaces it",
            "`optimizer.adamw` has no effect: every run replaces it"
        ]
    );
    assert_eq!(
        warnings("optimizer = { adamw = {} }", ""),
        ["`optimizer.sgd` has no effect: every run replaces it", "optimizer `o` is defined but not used"]
    );
}
