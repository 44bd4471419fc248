//! Coordinates of cells that do not exist, in conditions, claims and baselines.

use lrlab_spec::{Catalog, read};

use super::{check, errors, with};

#[test]
fn conditions_and_claims() {
    check(
        &[(
            "[schedules.static]",
            "[[exclude]]\nmodle = \"lstm\"\n[[exclude]]\nmodel = \"lstm\"\nepochs = 3\n[schedules.static]",
        )],
        &[
            "x.toml:34:1: `modle` is not an axis of this grid; did you mean `model`?",
            "x.toml:37:10: no cell has `epochs` = `3`; expected one of `1`, `2`",
        ],
    );
    check(
        &[(
            "[schedules.static]",
            "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"max.val_los\"\n[schedules.static]",
        )],
        &["x.toml:36:10: unknown metric `val_los`; did you mean `val_loss`?"],
    );
    check(
        &[(
            "[schedules.static]",
            "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"val_loss\"\nvalue = 1\ntolerance = 0.1\n\
             where = { model = \"lsmt\", eopchs = 1 }\n[schedules.static]",
        )],
        &[
            "x.toml:39:19: no cell has `model` = `lsmt`; did you mean `lstm`?",
            "x.toml:39:27: `eopchs` is not an axis of this grid; did you mean `epochs`?",
        ],
    );
    let claim = "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"val_loss\"\n";
    let judged = |rest: &str| {
        errors(&with(&[("[schedules.static]", &format!("{claim}{rest}[schedules.static]"))]), &[])
    };
    assert_eq!(
        judged("value = 1\ncompare = \">\"\narms = \"evry\"\nmargin = 0\nexpect = \"yes\"\n"),
        [
            "x.toml:39:8: unknown value \"evry\" for `arms`; did you mean `every`?",
            "x.toml:40:10: `margin` is 0: expected a number above 0",
            "x.toml:41:10: unknown value \"yes\" for `expect`; expected one of `supported`, `contradicted`, \
             `equivalent`, `any`",
        ]
    );
    assert_eq!(
        judged("value = 1\ncompare = \">\"\nmargin = 0\n"),
        ["x.toml:39:10: `margin` is 0: expected a number above 0"]
    );
    assert_eq!(
        judged("value = 1\ntolerance = 0.1\nmargin = 0.1\n"),
        [
            "x.toml:39:10: a claim with a tolerance has no margin; remove `margin`, or compare by an inequality"
        ]
    );
}

#[test]
fn claims_that_cannot_be_judged() {
    let excluded = "[[exclude]]\nmodel = \"lstm\"\nschedule = \"step\"\n";
    let claim = "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"final.val_loss\"\ncompare = \">\"\n";
    let judged = |rest: &str, expected: &[&str]| {
        let found = errors(
            &with(&[("[schedules.static]", &format!("{excluded}{claim}{rest}\n[schedules.static]"))]),
            &[],
        );
        let expected: Vec<String> = expected.iter().map(|message| format!("x.toml:{message}")).collect();
        assert_eq!(found, expected, "{rest}");
    };
    let seed = "a claim cannot select a seed; leave it out: the runs of an arm, which differ in the seed, are judged together";
    judged("where = { seed = 1 }\nvalue = 1", &[&format!("41:11: {seed}")]);
    judged("where = { epochs = 1 }\nthan = { model = \"lstm\", seed = 9 }", &[&format!("42:26: {seed}")]);
    let same = "`than` selects the same cells as `where`, so nothing is compared; give it a coordinate that differs from \
                those in `where`";
    judged("where = { epochs = 1 }\nthan = { epochs = 1 }", &[&format!("42:8: {same}")]);
    judged(
        "where = { monitor = \"on\", epochs = 2 }\nthan = { monitor = \"on\" }",
        &[&format!("42:8: {same}")],
    );
    let none = "no cell of the grid matches";
    judged("where = { model = \"lstm\", schedule = \"step\" }\nvalue = 1", &[&format!("41:9: {none}")]);
    judged(
        "where = { epochs = 1 }\nthan = { schedule = \"step\", dataset = \"reviews\" }",
        &[&format!("42:8: {none}")],
    );
    judged(
        "where = { model = \"lstm\" }\nthan = { schedule = \"step\" }",
        &[
            "42:8: no cell of the grid differs from those in `where` only in `schedule`; name in `than` each coordinate \
           that differs",
        ],
    );
    judged(
        "where = { epochs = 1 }\nthan = { epochs = [2] }",
        &[
            "42:19: `epochs` has one value in a claim, found a list; write a claim for each value; [[set]], [[exclude]] \
           and [[include]] accept lists",
        ],
    );
    judged(
        "value = 1\nexpect = \"equivalent\"",
        &[
            "42:10: a claim with no margin is never equivalent; give `margin`, the largest difference that counts as none",
        ],
    );
    judged(
        "where = { monitor = \"on\" }\nthan = { monitor = \"off\" }\nmargin = 1\nexpect = \"equivalent\"",
        &[],
    );
    judged("where = { schedule = \"step\" }\nthan = { schedule = \"static\" }", &[]);
    judged("where = { model = \"lstm\" }\nthan = { model = \"resnet\", dataset = \"pictures\" }", &[]);
}

/// Arms without a counterpart are never judged, and the others are.
#[test]
fn claims_with_arms_without_counterpart() {
    let claim = "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"final.val_loss\"\ncompare = \">\"\n";
    let warned = |exclude: &str, rest: &str, expected: &[&str]| {
        let text = with(&[("[schedules.static]", &format!("{exclude}\n{claim}{rest}\n[schedules.static]"))]);
        let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap();
        let found: Vec<String> = experiment.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{rest}");
    };
    warned("", "where = { schedule = \"step\" }\nthan = { schedule = \"static\" }", &[]);
    warned(
        "[[exclude]]\nmodel = \"lstm\"\nschedule = \"static\"\nepochs = 2",
        "where = { schedule = \"step\", monitor = \"off\" }\nthan = { schedule = \"static\" }",
        &[
            "x.toml:43:8: 1 of 4 arms has no counterpart in `than` and is never judged: dataset = reviews, epochs = 2, \
             model = lstm; restrict `where` to arms that have one",
        ],
    );
    // The arms of `than` themselves, if `where` covers them.
    warned(
        "",
        "where = { model = \"lstm\" }\nthan = { schedule = \"static\" }",
        &[
            "x.toml:40:8: 4 of 8 arms have no counterpart in `than` and are never judged: epochs = 1, monitor = off, schedule = \
             static; epochs = 2, monitor = off, schedule = static; epochs = 1, monitor = on, schedule = static; and 1 more; \
             restrict `where` to arms that have one",
        ],
    );
}

/// Validation metrics of arms that validate on different examples.
#[test]
fn claims_across_validation_sets() {
    let warned = |metric: &str, than: &str| -> Vec<String> {
        let claim = format!(
            "[[claims]]\nid = \"a\"\ntext = \"b\"\nmetric = \"{metric}\"\ncompare = \">\"\n\
             where = {{ \"data.split_seed\" = 5, schedule = \"step\" }}\nthan = {{ {than} }}\n[schedules.static]"
        );
        let axes = "seed = [0, 1]\n\"data.split_seed\" = [5, 6]\n";
        let text = with(&[("seed = [0, 1]\n", axes), ("[schedules.static]", &claim)]);
        let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        experiment.warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        warned("best.val_f1", "\"data.split_seed\" = 6, schedule = \"static\""),
        [
            "x.toml:37:10: `best.val_f1` is measured on different examples in `where` and `than`, which differ in \
          `data.split_seed`; compare a metric of the test split"
        ]
    );
    assert_eq!(warned("accuracy_gap", "\"data.split_seed\" = 6").len(), 1);
    assert!(warned("accuracy_gap", "\"data.split_seed\" = 5, schedule = \"static\"").is_empty());
    assert!(warned("best.test_f1", "\"data.split_seed\" = 6").is_empty());
}

#[test]
fn baselines() {
    let messages = |rest: &str| {
        let section = format!("[report]\nbaseline = {{ {rest} }}\n[schedules.static]");
        errors(&with(&[("[schedules.static]", &section)]), &[])
    };
    assert_eq!(messages("schedule = \"static\", model = \"lstm\""), [""; 0]);
    assert_eq!(
        messages("schedle = \"static\""),
        ["x.toml:34:14: `schedle` is not an axis of this grid; did you mean `schedule`?"]
    );
    assert_eq!(
        messages("model = \"lsmt\""),
        ["x.toml:34:22: no cell has `model` = `lsmt`; did you mean `lstm`?"]
    );
    assert_eq!(messages("model = [\"lstm\"]"), ["x.toml:34:22: `model` has one baseline, found a list"]);
    assert_eq!(
        messages("seed = 0"),
        ["x.toml:34:14: a seed cannot be a baseline; leave it out: the report compares runs of equal seed"]
    );
    check(
        &[("[schedules.static]", "[report]\nbaseline = 3\npapr = true\n[schedules.static]")],
        &[
            "x.toml:34:12: expected a table for `baseline`, found an integer",
            "x.toml:35:1: unknown key `papr`; did you mean `paper`?",
        ],
    );
}

#[test]
fn leading_metrics() {
    let metrics = |list: &str| {
        errors(
            &with(&[("[schedules.static]", &format!("[report]\nmetrics = {list}\n[schedules.static]"))]),
            &[],
        )
    };
    assert_eq!(
        metrics("[\"val_los\", \"first.val_loss\", \"update_ms\", \"final.update_ms\"]"),
        [
            "x.toml:34:12: unknown metric `val_los`; did you mean `val_loss`?",
            "x.toml:34:23: `first.` is not a valid prefix; expected one of `final`, `best`, `premium`, `max`, `min`",
            "x.toml:34:54: `final.update_ms` is listed twice"
        ]
    );
    assert!(metrics("[]").is_empty(), "the default metrics");
    assert_eq!(metrics("\"val_loss\""), ["x.toml:34:11: expected a list for `metrics`, found a string"]);
}
