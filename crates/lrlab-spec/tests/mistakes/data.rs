//! Mistakes in validation, and batches beyond an epoch of the data set.

use lrlab_spec::{Catalog, read};

use super::{errors, with};

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

/// Limits that exceed the data have no effect, but change the identity.
#[test]
fn limits_beyond_the_data_give_a_warning() {
    let source = "source = { synthetic_pictures = {} }";
    let few = "source = { synthetic_pictures = { train = 80, test = 20 } }";
    let text = with(&[(source, &format!("{few}\nlimit = {{ train = 64, validation = 15, test = 30 }}"))]);
    let found = read(&text, "x.toml", &[], &Catalog::default()).unwrap().warnings;
    let found: Vec<String> =
        found.iter().map(ToString::to_string).filter(|text| text.contains("limit")).collect();
    assert_eq!(
        found,
        [
            "x.toml:32:19: `limit.train` has no effect: the split has 64 examples; leave it out: it gives the runs other ids",
            "x.toml:32:47: `limit.test` has no effect: the split has 20 examples; leave it out: it gives the runs other ids",
        ]
    );
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
