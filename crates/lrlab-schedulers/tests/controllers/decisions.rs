//! Decisions for given metrics with their reasons, and the rates that follow from them.

use lrlab_schedulers::{
    Compat, ControllerSpec, Decision, Horizon, Observation, ScheduleSpec, replay, replay_under,
};

use crate::{decisions, seen};

#[test]
fn decisions_state_reasons() {
    let check = |text: &str, values: &[f64], expected: &[(usize, Decision)]| {
        assert_eq!(decisions(text, values), expected, "{text}");
    };
    let gain = |gain: f64, reason: &str| Decision::Gain { gain, reason: reason.into() };
    let rewind = |gain: f64, reason: &str| Decision::Rewind { gain, reason: reason.into() };
    check(
        "plateau = { factor = 0.5, patience = 2 }",
        &[0.9, 0.6, 0.5, 0.431, 0.44, 0.5, 0.45],
        &[(6, gain(0.5, "cut × 0.5: 3 bad > patience 2, best 0.431 at observation 4"))],
    );
    check(
        "plateau = { factor = 0.5, patience = 1, rule = 'keras', rewind = true, min_gain = 0.4 }",
        &[1.0, 2.0, 2.0, 2.0],
        &[
            (1, rewind(0.5, "cut × 0.5: 1 bad ≥ patience 1, best 1 at observation 1")),
            (2, rewind(0.4, "cut × 0.8: 1 bad ≥ patience 1, best 1 at observation 1")),
        ],
    );
    check(
        "greedy = { factor = 0.5, patience = 1 }",
        &[1.0, 0.9, 0.8, 0.9, 0.9],
        &[
            (1, gain(2.0, "raise × 2: 2 better > patience 1")),
            (4, gain(1.0, "cut × 0.5: 2 bad > patience 1")),
        ],
    );
    check(
        "new_bob",
        &[1.0, 0.5, 1.5, 1.0, 0.999],
        &[
            (2, gain(0.5, "cut × 0.5: improvement of -1 on 0.5 is below 0.0025 of it")),
            (4, gain(0.25, "cut × 0.5: improvement of 0.0010000000000000009 on 1 is below 0.0025 of it")),
        ],
    );
    check(
        "bold_driver = { up = 2 }",
        &[1.0, 0.5, 0.75, 0.5, 0.25],
        &[
            (1, gain(2.0, "raise × 2: 0.5 is better than 1")),
            (2, rewind(1.0, "cut × 0.5: 0.75 is worse than 0.5")),
            (4, gain(2.0, "raise × 2: 0.25 is better than 0.5")),
        ],
    );
}

/// Pairs that are out of order or have an invalid index are errors.
#[test]
fn scripted_gains_do_not_depend_on_the_metric() {
    let text = "scripted = { gains = [[2, 0.5], [3, 0.125], [6, 4]] }";
    let found = decisions(text, &[1.0, f64::NAN, 9.0, 0.1, f64::INFINITY]);
    let gain = |gain: f64, reason: &str| Decision::Gain { gain, reason: reason.into() };
    assert_eq!(
        found,
        [
            (1, gain(0.5, "gain 0.5 from observation 2 on, as written")),
            (2, gain(0.125, "gain 0.125 from observation 3 on, as written")),
        ]
    );
    assert_eq!(decisions("scripted = { gains = [] }", &[1.0, 2.0]), []);
    for (text, expected) in [
        (
            "scripted = { gains = [[0, 0.5]] }",
            "scripted.gains[0][0]: 0 is not an observation, counted from 1",
        ),
        ("scripted = { gains = [[3, 0.5], [3, 1]] }", "scripted.gains[1][0]: 3 is not an observation"),
        ("scripted = { gains = [[3, 0]] }", "scripted.gains[0][1]: 0 is not a number above 0"),
        ("scripted", "missing field `gains`"),
    ] {
        let error = ControllerSpec::parse(text).and_then(|spec| spec.check()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn replayed_rates() {
    let observed: Vec<Observation> = [1.0, 1.0, 1.0, 1.0, 1.0].map(seen).to_vec();
    let check = |text: &str, compat, expected: &[f64]| {
        assert_eq!(replay(text, 0.1, &observed, compat).unwrap(), expected, "{text}");
    };
    check("plateau = { factor = 0.5, patience = 1 }", Compat::Lrlab, &[0.1, 0.1, 0.05, 0.05, 0.025]);
    check(
        "plateau = { factor = 0.5, patience = 1, min_lr = 0.04 }",
        Compat::Torch,
        &[0.1, 0.1, 0.05, 0.05, 0.04],
    );
    let no_epochs = Horizon { updates: 1, updates_per_epoch: 0 };
    let fixed =
        ScheduleSpec::parse("static").unwrap().build(&Horizon { updates: 1, updates_per_epoch: 1 }).unwrap();
    assert_eq!(replay_under(&*fixed, "plateau", 0.1, &no_epochs, &[]).unwrap(), [0.1]);
    let error = replay("plateau = { min_lr = 0.04 }", 0.1, &observed, Compat::Lrlab).unwrap_err();
    assert!(error.to_string().contains("unknown field `min_lr`"), "{error}");
}
