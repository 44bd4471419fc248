//! What controllers decide, and that their state is all they remember.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use lrlab_schedulers::{AnyController, Compat, ControllerSpec, Decision, Observation, replay};
use proptest::prelude::*;

const EVERY: &[&str] = &[
    "plateau = { factor = 0.5, patience = 1, cooldown = 1, on_nan = 'rewind' }",
    "plateau = { factor = 0.5, patience = 1, rule = 'keras', mode = 'max', threshold_mode = 'abs' }",
    "noise_aware_plateau = { z = 2, patience = 1, rewind = true }",
    "greedy = { factor = 0.8, patience = 1, cooldown = 1, warmup = 2, window = 3 }",
    "new_bob = { patience = 1 }",
    "bold_driver",
    "bold_driver = { rewind = false, mode = 'max', min_gain = 0.1 }",
];

fn build(text: &str) -> Box<dyn AnyController> {
    ControllerSpec::parse(text)
        .and_then(|spec| spec.build())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn seen(value: f64) -> Observation {
    Observation { value, stderr: None }
}

/// Observations, counted from 0, at which something was decided, and what.
fn decisions(text: &str, values: &[f64]) -> Vec<(usize, Decision)> {
    let mut controller = build(text);
    let decide = |(i, &value)| (i, controller.observe(&seen(value)));
    values.iter().enumerate().map(decide).filter(|(_, decision)| *decision != Decision::Keep).collect()
}

fn moments(text: &str, values: &[f64]) -> Vec<usize> {
    decisions(text, values).into_iter().map(|(i, _)| i).collect()
}

/// When a constant metric is cut, by patience and cooldown: PyTorch's rule and Keras's.
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
fn reasons() {
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

/// PyTorch's relative threshold takes a slow rise of a negative metric for improvement; ours does not.
#[test]
fn negative_metrics() {
    let rising: Vec<f64> = (0..40).map(|k| -1.0 + 5e-5 * f64::from(k)).collect();
    let observed: Vec<Observation> = rising.iter().map(|&value| seen(value)).collect();
    let torch = replay("plateau = { patience = 3 }", 0.1, &observed, Compat::Torch).unwrap();
    assert!(torch.iter().all(|&lr| lr == 0.1), "PyTorch does not see it");
    assert_eq!(moments("plateau = { patience = 3 }", &rising)[0], 4);
}

#[test]
fn noise_is_no_improvement() {
    let observe = |stderr: f64| {
        let mut controller = build("noise_aware_plateau = { z = 1, patience = 2 }");
        let values = [1.0, 0.99, 0.98, 0.97, 0.96, 0.95];
        let act = |value| controller.observe(&Observation { value, stderr: Some(stderr) }) != Decision::Keep;
        values.map(act)
    };
    assert_eq!(observe(0.001), [false; 6], "each step stands out");
    assert_eq!(observe(0.1), [false, false, false, true, false, false], "none stands out");
    assert_eq!(observe(0.015), [false; 6], "the third stands out from the first");
}

/// A spike makes PyTorch's rule see a plateau in the descent after it; `NewBob` compares with the one before.
#[test]
fn a_spike_is_no_plateau() {
    let spike: Vec<f64> = [0.5, 2.0].into_iter().chain((0..8).map(|k| 1.5 * 0.9_f64.powi(k))).collect();
    assert!(moments("new_bob = { patience = 1 }", &spike).is_empty());
    assert!(!moments("plateau = { patience = 4 }", &spike).is_empty());
}

#[test]
fn replays() {
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
    let error = replay("plateau = { min_lr = 0.04 }", 0.1, &observed, Compat::Lrlab).unwrap_err();
    assert!(error.to_string().contains("unknown field `min_lr`"), "{error}");
}

#[test]
fn foreign_state_is_refused() {
    let mut controller = build("bold_driver");
    controller.observe(&seen(1.0));
    let before = controller.state();
    assert!(controller.restore(build("new_bob").state()).is_err());
    assert_eq!(controller.state(), before);
}

fn metric() -> impl Strategy<Value = Observation> {
    let value = prop_oneof![
        8 => -1.0..2.0,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, 5e-324]),
    ];
    let stderr = prop_oneof![2 => 0.0..0.3, 1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1.0])];
    (value, prop::option::of(stderr)).prop_map(|(value, stderr)| Observation { value, stderr })
}

proptest! {
    /// Saved at any moment, as text, and restored, a controller decides what it would have decided.
    #[test]
    fn resumes(text in prop::sample::select(EVERY), metrics in prop::collection::vec(metric(), 1..40), k in 0_usize..40) {
        let mut whole = build(text);
        let mut resumed = build(text);
        for (i, observation) in metrics.iter().enumerate() {
            if i == k {
                let saved = resumed.state().to_string();
                resumed = build(text);
                resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            }
            prop_assert_eq!(whole.observe(observation), resumed.observe(observation), "{} at {}", text, i);
        }
        prop_assert_eq!(whole.state(), resumed.state());
    }

    /// Gains stay finite and above 0, whatever is observed and however often.
    #[test]
    fn gains_are_positive(text in prop::sample::select(EVERY), metrics in prop::collection::vec(metric(), 1..200)) {
        let mut controller = build(text);
        for _ in 0..10 {
            for observation in &metrics {
                if let Decision::Gain { gain, .. } | Decision::Rewind { gain, .. } = controller.observe(observation) {
                    prop_assert!(gain > 0.0 && gain.is_finite(), "{}: {}", text, gain);
                }
            }
        }
    }

    /// Where PyTorch's threshold is right, both plateaus act together.
    #[test]
    fn acts_with_pytorch(
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
