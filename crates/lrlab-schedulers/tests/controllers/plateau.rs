//! What counts as a plateau: patience, NaN, thresholds and noise.

use lrlab_schedulers::{Compat, Decision, Observation, replay};
use proptest::prelude::*;

use crate::{build, decisions, moments, seen};

/// Cuts of a constant metric by patience and cooldown, with the rules of PyTorch and Keras.
#[test]
fn patience_rules() {
    let check = |rule: &str, patience: u64, cooldown: u64, expected: [usize; 3]| {
        let text = format!("plateau = {{ rule = '{rule}', patience = {patience}, cooldown = {cooldown} }}");
        assert_eq!(moments(&text, &[1.0; 14])[..3], expected, "{text}");
    };
    check("torch", 2, 0, [3, 6, 9]);
    check("torch", 2, 1, [3, 7, 11]);
    check("torch", 2, 2, [3, 8, 13]);
    check("keras", 2, 0, [2, 4, 6]);
    check("keras", 2, 1, [2, 4, 6]);
    check("keras", 2, 2, [2, 5, 8]);
}

#[test]
fn nan_policies() {
    let check = |policy: &str, expected: &[(usize, Decision)]| {
        let text = format!("plateau = {{ factor = 0.5, patience = 1, on_nan = '{policy}' }}");
        assert_eq!(decisions(&text, &[1.0, f64::NAN, f64::NEG_INFINITY, 0.9]), expected, "{policy}");
    };
    let nan = "the metric is NaN".to_owned();
    check("ignore", &[]);
    check(
        "stop",
        &[
            (1, Decision::Stop { reason: nan.clone() }),
            (2, Decision::Stop { reason: "the metric is -inf".into() }),
        ],
    );
    let best = "best 1 at observation 1";
    let reason = format!("cut × 0.5: 2 bad > patience 1, {best}");
    check("count_as_bad", &[(2, Decision::Gain { gain: 0.5, reason })]);
    check(
        "rewind",
        &[
            (1, Decision::Rewind { gain: 0.5, reason: format!("cut × 0.5: {nan}, {best}") }),
            (2, Decision::Rewind { gain: 0.25, reason: format!("cut × 0.5: the metric is -inf, {best}") }),
        ],
    );
}

/// The first observations are not looked at, and the mean of several is one, NaN where one of them is.
#[test]
fn observations_are_left_out_or_averaged() {
    let check = |keys: &str, values: &[f64], expected: &[usize]| {
        let text = format!("plateau = {{ factor = 0.5, patience = 0, {keys} }}");
        assert_eq!(moments(&text, values), expected, "{text}");
    };
    let falling = [0.0, 5.0, 4.0, 3.0, 3.0, 2.0];
    check("start_after = 0", &falling, &[1, 2, 3, 4, 5]);
    check("start_after = 1", &falling, &[4]);
    check("start_after = 9", &falling, &[]);
    // Means 2.5, 3.5 and 2.5.
    check("accumulate = 2", &falling, &[3, 5]);
    check("accumulate = 2, start_after = 1", &falling, &[]);
    check("accumulate = 2, min_delta = 1.5, threshold = 0", &[4.0, 4.0, 3.0, 3.0, 2.0, 2.0], &[3]);
    check("accumulate = 2", &[1.0, 1.0, f64::NAN, 0.1, 0.5, 0.5], &[3]);
    check("accumulate = 2, on_nan = 'ignore'", &[1.0, 1.0, 0.5, f64::NAN, 0.5, 3.0, 3.0], &[6]);
}

/// PyTorch's relative threshold takes a slow rise of a negative metric for improvement; ours does not.
#[test]
fn relative_threshold_for_negative_metrics() {
    let rising: Vec<f64> = (0..40).map(|k| -1.0 + 5e-5 * f64::from(k)).collect();
    let observed: Vec<Observation> = rising.iter().map(|&value| seen(value)).collect();
    let torch = replay("plateau = { patience = 3 }", 0.1, &observed, Compat::Torch).unwrap();
    assert!(torch.iter().all(|&lr| lr == 0.1), "PyTorch does not cut");
    assert_eq!(moments("plateau = { patience = 3 }", &rising)[0], 4);
}

#[test]
fn changes_within_the_noise_are_not_improvements() {
    let observe = |stderr: f64| {
        let mut controller = build("noise_aware_plateau = { z = 1, patience = 2 }");
        let values = [1.0, 0.99, 0.98, 0.97, 0.96, 0.95];
        let act = |value| controller.observe(&Observation { value, stderr: Some(stderr) }) != Decision::Keep;
        values.map(act)
    };
    assert_eq!(observe(0.001), [false; 6], "each step exceeds the noise");
    assert_eq!(observe(0.1), [false, false, false, true, false, false], "no step exceeds the noise");
    assert_eq!(observe(0.015), [false; 6], "two steps exceed the noise");
}

/// An observation that equals the previous one is no improvement, also at 0 and where the threshold times it rounds to 0.
#[test]
fn new_bob_cuts_a_constant_metric() {
    let check = |text: &str, values: &[f64], expected: &[usize]| {
        assert_eq!(moments(text, values), expected, "{text} {values:?}");
    };
    for value in [0.0, -0.0, 5e-324, -3.0, 1e300] {
        for mode in ["min", "max"] {
            check(&format!("new_bob = {{ mode = '{mode}' }}"), &[value; 4], &[1, 2, 3]);
            check(&format!("new_bob = {{ mode = '{mode}', patience = 1 }}"), &[value; 5], &[2, 4]);
            check(&format!("new_bob = {{ mode = '{mode}', threshold = 0 }}"), &[value; 4], &[]);
        }
    }
    check("new_bob", &[0.0, -1.0, 0.0, 0.0], &[2, 3]);
    check("new_bob = { mode = 'max' }", &[0.0, 1e-300, 2e-300], &[]);
}

/// PyTorch's rule compares the descent after a spike with the best value; `NewBob` with the previous one.
#[test]
fn the_descent_after_a_spike_is_not_a_plateau() {
    let spike: Vec<f64> = [0.5, 2.0].into_iter().chain((0..8).map(|k| 1.5 * 0.9_f64.powi(k))).collect();
    assert!(moments("new_bob = { patience = 1 }", &spike).is_empty());
    assert!(!moments("plateau = { patience = 4 }", &spike).is_empty());
}

proptest! {
    /// For positive metrics both plateaus make the same decisions.
    #[test]
    fn plateau_equals_pytorch_for_positive_metrics(
        metrics in prop::collection::vec(0.1..2.0, 1..60), patience in 0_i64..4, cooldown in 0_i64..3,
        max in any::<bool>(), abs in any::<bool>(),
    ) {
        let (mode, threshold_mode) = (if max { "max" } else { "min" }, if abs { "abs" } else { "rel" });
        let text = format!(
            "plateau = {{ factor = 0.5, patience = {patience}, cooldown = {cooldown}, mode = '{mode}', \
             threshold = 0.03125, threshold_mode = '{threshold_mode}' }}"
        );
        let observed: Vec<Observation> = metrics.iter().map(|&value| seen(value)).collect();
        let torch = replay(&text.replace("factor", "eps = 0.0, factor"), 1.0, &observed, Compat::Torch).unwrap();
        prop_assert_eq!(replay(&text, 1.0, &observed, Compat::Lrlab).unwrap(), torch);
    }
}
