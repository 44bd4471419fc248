//! Mistakes in schedules and monitors.

use super::{check, errors, with};

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
