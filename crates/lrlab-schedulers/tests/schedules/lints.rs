//! Warnings of the linter, and valid schedules without warnings.

use crate::common::{EVERY, parse};
use lrlab_schedulers::{ControllerSpec, Horizon, lint};

const RUN: Horizon = Horizon { updates: 200, updates_per_epoch: 10 };

fn found(schedule: &str, controllers: &[&str]) -> Vec<String> {
    let controllers: Vec<_> = controllers.iter().map(|text| ControllerSpec::parse(text).unwrap()).collect();
    let findings = lint(&parse(schedule), 0.1, &RUN, &controllers).unwrap();
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn warnings_of_schedules() {
    let check = |schedule: &str, expected: &[&str]| assert_eq!(found(schedule, &[]), expected, "{schedule}");
    check(
        "cosine = { t_max = '200 epochs' }",
        &["cosine.t_max: the end of \"200 epochs\" is never reached: the run covers 10% of it"],
    );
    check(
        "step = { step_size = '20 epochs' }",
        &["step.step_size: \"20 epochs\" is not within the run of 200 updates: the rate never steps"],
    );
    check(
        "warmup = { over = '300 updates', then = { static = {} } }",
        &["warmup.over: \"300 updates\" is not within the run of 200 updates: the warm-up never ends"],
    );
    check(
        "sequential = { milestones = ['50%'], schedulers = [{ static = {} }, { rex = { t_max = '20 epochs' } }] }",
        &[
            "sequential.schedulers.1.rex.t_max: the end of \"20 epochs\" is never reached: the run covers 50% of it",
        ],
    );
    check(
        "swa = { swa_lr = 0.02, start = '90%', of = { static = {} } }",
        &["swa.anneal: the end of \"10 epochs\" is never reached: the run covers 20% of it"],
    );
    check("swa = { swa_lr = 0.02, start = '50%', of = { static = {} } }", &[]);
    check(
        "cosine = { eta_min = 0.5 }",
        &["cosine.eta_min: 0.5 lies above the base rate 0.1: the rate rises"],
    );
    check(
        "cosine_warm_restarts = { t_0 = '8 epochs' }",
        &["cosine_warm_restarts: the run ends 50% into cycle 3"],
    );
    check(
        "linear_to_zero = { t_max = '50%' }",
        &["linear_to_zero: the rate is 0 for 50% of the run, first at update 100, last at 199"],
    );
    check(
        "warmup = { over = '5%', start_factor = 0, then = { cosine = {} } }",
        &["warmup: the rate is 0 for 0.5% of the run, first at update 0, last at 0"],
    );
}

#[test]
fn patience_that_cannot_run_out() {
    let check = |controller: &str, expected: bool| {
        let findings = found("cosine", &[controller]);
        assert_eq!(!findings.is_empty(), expected, "{controller}: {findings:?}");
    };
    check("plateau = { patience = 17 }", false);
    check("plateau = { patience = 18 }", true);
    check("plateau = { patience = 18, rule = 'keras' }", false);
    check("plateau = { patience = 19, rule = 'keras' }", true);
    check("greedy = { patience = 19 }", true);
    check("bold_driver", false);
    assert_eq!(
        found("static", &["plateau = { patience = 30 }"]),
        [
            "plateau.patience: 30 cannot run out: the first decision needs 32 observations, the run has 20, and no \
          update follows the last one"
        ]
    );
}

#[test]
fn cosine_longer_than_the_run() {
    assert_eq!(found("cosine = { t_max = '200 epochs' }", &[]).len(), 1);
    assert!(found("cosine = { t_max = '20 epochs' }", &[]).is_empty());
}

#[test]
fn a_step_after_the_end_of_the_run() {
    let words = found("step = { step_size = '30 epochs' }", &[]).concat();
    assert!(words.contains("the rate never steps"), "{words}");
    assert!(found("step = { step_size = '19 epochs' }", &[]).is_empty());
    assert_eq!(found("multi_step = { milestones = ['50%', '100%'] }", &[]).len(), 1);
}

#[test]
fn a_warmup_that_never_ends() {
    let warmup =
        |over: &str| found(&format!("warmup = {{ over = '{over}', then = {{ static = {{}} }} }}"), &[]);
    assert!(warmup("21 epochs").concat().contains("the warm-up never ends"));
    assert!(warmup("1 epoch").is_empty());
}

#[test]
fn a_minimum_that_is_never_reached() {
    let clamp = |min: f64| {
        found(&format!("clamp = {{ min = {min}, of = {{ exponential = {{ gamma = 0.9 }} }} }}"), &[])
    };
    let words = clamp(1e-4).concat();
    assert!(
        words.starts_with("clamp.min: 0.0001 is never reached: the rate does not fall below 0.012"),
        "{words}"
    );
    assert!(clamp(0.05).is_empty());
    let plateau =
        |min_gain: f64| found("static", &[&format!("plateau = {{ patience = 4, min_gain = {min_gain} }}")]);
    // The run has 20 observations; the cuts are at the sixth, eleventh and sixteenth.
    assert_eq!(
        plateau(1e-4),
        [
            "plateau.min_gain: 0.0001 is never reached: the run has time for 3 cuts, which lower the gain to 0.0010000000000000002"
        ]
    );
    assert!(plateau(0.01).is_empty());
    assert!(
        found("polynomial = { total_iters = '21 epochs', eta_min = 0.01 }", &[])
            .concat()
            .contains("never reached")
    );
}

#[test]
fn searches_that_are_too_expensive_or_never_begin() {
    let words = found("static", &["auto_lrs = { trials = 5, updates = 3 }"]).concat();
    assert!(
        words.starts_with(
            "auto_lrs.updates: a search makes 15 updates, more than the 10 between two searches"
        ),
        "{words}"
    );
    assert!(found("static", &["auto_lrs = { trials = 5, updates = 2 }"]).is_empty());
    assert!(
        found("static", &["auto_lrs = { every = 20, updates = 2 }"]).concat().contains("is never reached")
    );
    assert!(
        found("staircase = { step = '30 epochs', of = { cosine = {} } }", &[])
            .concat()
            .contains("never changes")
    );
}

#[test]
fn valid_schedules_have_no_warnings() {
    for text in
        ["static", "cosine", "wsd", "rex", "one_cycle = { max_lr = 1 }", "step = { step_size = '30%' }"]
    {
        assert_eq!(found(text, &["plateau = { patience = 2 }"]), Vec::<String>::new(), "{text}");
    }
    for text in EVERY {
        let run = Horizon { updates: 100, updates_per_epoch: 10 };
        assert!(lint(&parse(text), 0.1, &run, &[]).is_ok(), "{text}");
    }
}
