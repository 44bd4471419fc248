//! Decisions and states of controllers.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use lrlab_schedulers::{AnyController, Compat, ControllerSpec, Decision, Observation, replay};
use proptest::prelude::*;

const EVERY: &[&str] = &[
    "plateau = { factor = 0.5, patience = 1, cooldown = 1, on_nan = 'rewind' }",
    "plateau = { factor = 0.5, patience = 1, rule = 'keras', mode = 'max', threshold_mode = 'abs' }",
    "plateau = { factor = 0.5, patience = 0, min_delta = 0.01, accumulate = 3, start_after = 4 }",
    "plateau = { factor = 0.5, patience = 0, accumulate = 2, on_nan = 'rewind' }",
    "noise_aware_plateau = { z = 2, patience = 1, rewind = true }",
    "greedy = { factor = 0.8, patience = 1, cooldown = 1, warmup = 2, window = 3 }",
    "new_bob = { patience = 1 }",
    "bold_driver",
    "bold_driver = { rewind = false, mode = 'max', min_gain = 0.1 }",
    "greedy = { factor = 0.5, patience = 0, min_gain = 0.2, reset_after = 2, on_nan = 'rewind' }",
    "auto_lrs = { trials = 6, every = 2, z = 1 }",
    "scripted = { gains = [[1, 0.5], [3, 2.0], [30, 0.1]] }",
    "auto_lrs = { trials = 3, reach = 2, min_gain = 0.5, max_gain = 4, on_nan = 'rewind' }",
];

fn build(text: &str) -> Box<dyn AnyController> {
    ControllerSpec::parse(text)
        .and_then(|spec| spec.build())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Passes an observation and the losses of all requested trials. Returns the final decision and the number of trials.
fn observe(
    controller: &mut dyn AnyController,
    observation: &Observation,
    loss: impl Fn(f64) -> f64,
) -> (Decision, u32) {
    let (mut decision, mut trials) = (controller.observe(observation), 0);
    while let Decision::Try { gain, updates, .. } = decision {
        assert!(gain > 0.0 && gain.is_finite() && updates > 0, "a trial at gain {gain} for {updates}");
        decision = controller.tried(&Observation { value: loss(gain), stderr: Some(0.01) });
        trials += 1;
    }
    (decision, trials)
}

fn seen(value: f64) -> Observation {
    Observation { value, stderr: None }
}

/// Returns the decisions and the indices of their observations, counted from 0.
fn decisions(text: &str, values: &[f64]) -> Vec<(usize, Decision)> {
    let mut controller = build(text);
    let decide = |(i, &value)| (i, observe(&mut *controller, &seen(value), |_| f64::NAN).0);
    values.iter().enumerate().map(decide).filter(|(_, decision)| *decision != Decision::Keep).collect()
}

fn moments(text: &str, values: &[f64]) -> Vec<usize> {
    decisions(text, values).into_iter().map(|(i, _)| i).collect()
}

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

/// PyTorch's rule compares the descent after a spike with the best value; `NewBob` with the previous one.
#[test]
fn the_descent_after_a_spike_is_not_a_plateau() {
    let spike: Vec<f64> = [0.5, 2.0].into_iter().chain((0..8).map(|k| 1.5 * 0.9_f64.powi(k))).collect();
    assert!(moments("new_bob = { patience = 1 }", &spike).is_empty());
    assert!(!moments("plateau = { patience = 4 }", &spike).is_empty());
}

/// The loss of a trial at a gain, with the minimum at 2.
fn trial(gain: f64) -> f64 {
    (gain.ln() - 2.0_f64.ln()).powi(2)
}

/// The search finds the lowest loss, keeps it, and its reason lists the trials.
#[test]
fn auto_lrs_finds_the_gain_with_the_lowest_loss() {
    let mut controller = build("auto_lrs = { trials = 12, updates = 7 }");
    let (Decision::Gain { gain, reason }, 12) = observe(&mut *controller, &seen(1.0), trial) else {
        panic!()
    };
    assert!((gain / 2.0).ln().abs() < 0.15, "{gain}");
    let words =
        format!("raise × {gain}: the best of 12 trials of 7 updates (× 1.000: 0.4805, × 0.250: 4.3241, ");
    assert!(reason.starts_with(&words), "{reason}");
    let (decision, trials) = observe(&mut *controller, &seen(1.0), |gain| (trial(gain) * 100.0).round());
    assert_eq!((decision, trials), (Decision::Keep, 12), "the current gain has the lowest loss");
}

#[test]
fn auto_lrs_in_edge_cases() {
    let decide = |text: &str, loss: &dyn Fn(f64) -> f64| {
        let mut controller = build(text);
        let (decision, trials) = observe(&mut *controller, &seen(1.0), loss);
        let gain = if let Decision::Gain { gain, .. } = decision { gain } else { 1.0 };
        (gain, trials)
    };
    // The search runs at every other observation.
    assert_eq!(decide("auto_lrs = { every = 2 }", &trial), (1.0, 0));
    // The lower bound wins if lower gains have lower losses, and if all trials diverge. If only the trial of the current gain
    // diverges, the better bound wins.
    assert_eq!(decide("auto_lrs", &|gain| gain).0, 0.25);
    assert_eq!(decide("auto_lrs = { min_gain = 0.5 }", &|gain| gain).0, 0.5);
    assert_eq!(decide("auto_lrs", &|_| f64::NAN), (0.25, 3));
    assert_eq!(
        decide("auto_lrs = { trials = 3 }", &|gain| if gain == 1.0 { f64::INFINITY } else { -gain }).0,
        4.0
    );
    // A difference within the noise does not count; the standard errors of the losses are 0.01.
    assert_eq!(decide("auto_lrs = { trials = 3, z = 2 }", &|gain| 1.0 - gain / 1000.0).0, 1.0);
    assert_eq!(decide("auto_lrs = { trials = 3 }", &|gain| 1.0 - gain / 1000.0).0, 4.0);
    // Equal bounds: there are no trials.
    assert_eq!(decide("auto_lrs = { min_gain = 1, max_gain = 1 }", &trial), (1.0, 0));
    let error = replay("auto_lrs", 0.1, &[seen(1.0)], Compat::Lrlab).unwrap_err();
    assert!(error.to_string().starts_with("auto_lrs: cannot be replayed"), "{error}");
}

/// The gain returns to 1 after `reset_after` cuts at the lowest gain.
#[test]
fn greedy_resets_after_cuts_without_effect() {
    let text = "greedy = { factor = 0.5, patience = 0, min_gain = 0.5, reset_after = 2 }";
    let found = decisions(text, &[1.0, 2.0, 2.0, 2.0, 2.0]);
    let gains: Vec<_> = found
        .iter()
        .map(|(i, decision)| match decision {
            Decision::Gain { gain, .. } => (*i, *gain),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(gains, [(0, 2.0), (1, 1.0), (2, 0.5), (4, 1.0)], "{found:?}");
}

/// `GreedyLR` of transformers, without `eps`.
struct TransformersGreedy {
    lr: f64,
    best: f64,
    good: u64,
    bad: u64,
    cooldown: u64,
    warmup: u64,
    resets_in: u64,
}

/// Returns the rates of `GreedyLR(factor=0.5, patience=1, cooldown=2, warmup=1, min_lr=0.02, max_lr=0.4, reset_start=3)` from 0.1.
fn transformers_greedy(values: &[f64]) -> Vec<f64> {
    let new = || TransformersGreedy {
        lr: 0.1,
        best: f64::INFINITY,
        good: 0,
        bad: 0,
        cooldown: 0,
        warmup: 0,
        resets_in: 3,
    };
    let mut it = new();
    let step = |&value: &f64| {
        if it.cooldown > 0 {
            (it.cooldown, it.good, it.bad) = (it.cooldown - 1, 0, 0);
        } else if it.warmup > 0 {
            (it.warmup, it.good, it.bad) = (it.warmup - 1, 0, 0);
        } else {
            if value < it.best - 1e-6 {
                (it.best, it.bad, it.good) = (value, 0, it.good + 1);
            } else {
                (it.bad, it.good) = (it.bad + 1, 0);
            }
            if it.good > 1 {
                (it.lr, it.resets_in, it.warmup, it.good) = ((it.lr / 0.5).min(0.4), 3, 1, 0);
            } else if it.bad > 1 {
                it.lr = (it.lr * 0.5).max(0.02);
                if it.lr <= 0.02 {
                    it.resets_in -= 1;
                    if it.resets_in == 0 {
                        it = new();
                    }
                }
                (it.cooldown, it.bad) = (2, 0);
            }
        }
        it.lr
    };
    values.iter().map(step).collect()
}

#[test]
fn greedy_equals_transformers() {
    use lrlab_schedulers::{Greedy, transformers};
    // Repeated descents and plateaus cause raises, cuts and resets.
    let values: Vec<f64> = (0..300).map(|i| if i % 60 < 12 { 100.0 - f64::from(i) } else { 200.0 }).collect();
    let greedy =
        Greedy { factor: 0.5, patience: 1, cooldown: 2, warmup: 1, reset_after: 3, ..Greedy::default() };
    let mut controller = transformers::greedy(0.1, 0.02, 0.4, &greedy).build().unwrap();
    let (mut gain, mut resets) = (1.0, 0);
    for (i, (&value, peer)) in values.iter().zip(transformers_greedy(&values)).enumerate() {
        if let Decision::Gain { gain: new, reason } = controller.observe(&Observation { value, stderr: None })
        {
            gain = new;
            resets += u32::from(reason.starts_with("gain back to 1"));
        }
        assert!((0.1 * gain - peer).abs() < 1e-12, "after {i}: {}, not {peer}", 0.1 * gain);
    }
    assert!(resets >= 3, "{resets} resets");
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
    let error = replay("plateau = { min_lr = 0.04 }", 0.1, &observed, Compat::Lrlab).unwrap_err();
    assert!(error.to_string().contains("unknown field `min_lr`"), "{error}");
}

#[test]
fn the_state_of_another_controller_is_an_error() {
    let mut controller = build("bold_driver");
    controller.observe(&seen(1.0));
    let before = controller.state();
    let error = controller.restore(build("new_bob").state()).unwrap_err();
    assert!(error.to_string().contains("unknown field `previous`, expected `gain` or `last`"), "{error}");
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

/// Valid and invalid specifications, with numbers at and beyond the bounds.
fn spec() -> impl Strategy<Value = ControllerSpec> {
    let number = || {
        let odd =
            vec![0.0, 5e-324, 1e-30, 0.5, 1.0, 1.000_000_1, 1e30, f64::MAX, f64::INFINITY, f64::NAN, -1.0];
        prop_oneof![3 => 0.0..1.0, 1 => 1.0..20.0, 2 => prop::sample::select(odd)]
    };
    let count = || prop_oneof![6 => 0_u64..5, 1 => Just(u64::MAX)];
    let bits = any::<(bool, bool, u8)>();
    (0_usize..7, prop::array::uniform5(number()), prop::array::uniform3(count()), bits).prop_map(
        |(kind, [a, b, c, min_gain, max_gain], [n, m, k], (one, two, bits))| {
            use lrlab_schedulers::*;
            let mode = if one { Mode::Min } else { Mode::Max };
            let threshold_mode = if two { ThresholdMode::Rel } else { ThresholdMode::Abs };
            let rule = if bits & 1 == 0 { PatienceRule::Torch } else { PatienceRule::Keras };
            let on_nan =
                [OnNan::Stop, OnNan::Rewind, OnNan::CountAsBad, OnNan::Ignore][usize::from(bits / 2 % 4)];
            let rewind = bits & 8 == 0;
            let (factor, threshold, patience, cooldown, max_gain) = (a, b, n, m, 1.0 + max_gain);
            match kind {
                0 => Plateau {
                    factor,
                    patience,
                    threshold,
                    threshold_mode,
                    mode,
                    cooldown,
                    min_gain,
                    rule,
                    on_nan,
                    rewind,
                    min_delta: if bits & 16 == 0 { 0.0 } else { c },
                    accumulate: u32::from(bits / 32),
                    start_after: k,
                }
                .into(),
                1 => NoiseAwarePlateau { z: b, factor, patience, mode, cooldown, min_gain, on_nan, rewind }
                    .into(),
                2 => Greedy {
                    factor,
                    patience,
                    threshold,
                    threshold_mode,
                    mode,
                    cooldown,
                    warmup: k,
                    window: u32::from(bits),
                    min_gain,
                    max_gain,
                    reset_after: m,
                    reset_rule: if bits & 1 == 0 { ResetRule::WithoutEffect } else { ResetRule::AtLeast },
                    on_nan,
                }
                .into(),
                3 => NewBob { factor, threshold, patience, mode, min_gain, on_nan }.into(),
                4 => BoldDriver { up: 1.0 + c, down: a, mode, min_gain, max_gain, rewind }.into(),
                5 => Scripted { gains: vec![(n, a), (n.saturating_add(m), b)] }.into(),
                _ => AutoLrs {
                    every: n,
                    trials: u32::from(bits % 40),
                    updates: m,
                    reach: 1.0 + c,
                    z: b,
                    min_gain,
                    max_gain,
                    on_nan,
                }
                .into(),
            }
        },
    )
}

/// `EVERY` and the random specifications contain every controller.
#[test]
fn every_controller_is_tested() {
    use proptest::strategy::ValueTree;
    use std::collections::BTreeSet;
    let schema = serde_json::to_value(schemars::schema_for!(ControllerSpec)).unwrap();
    let variants = schema["oneOf"].as_array().unwrap().iter();
    let known: BTreeSet<&str> = variants.map(|variant| variant["required"][0].as_str().unwrap()).collect();
    let listed: BTreeSet<&str> =
        EVERY.iter().map(|text| ControllerSpec::parse(text).unwrap().name()).collect();
    assert_eq!(listed, known);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let drawn = (0..3000).map(|_| spec().new_tree(&mut runner).unwrap().current());
    let accepted = drawn.filter(|spec| spec.check().is_ok()).map(|spec| spec.name());
    assert_eq!(accepted.collect::<BTreeSet<&str>>(), known, "valid random specifications");
}

/// Every controller that is saved as text after any observation and restored makes the same decisions.
#[test]
fn controllers_resume_after_every_observation() {
    let odd = [f64::NAN, f64::INFINITY, 0.0, -1.0, f64::MAX];
    let value = |k: usize| {
        if k % 9 == 8 { odd[k / 9 % 5] } else { 1.0 / (1.0 + k as f64) + (k as f64 * 1.7).sin() * 0.2 }
    };
    let curve: Vec<Observation> =
        (0..45).map(|k| Observation { value: value(k), stderr: (k % 2 == 0).then_some(0.05) }).collect();
    for text in EVERY {
        let mut whole = build(text);
        let all: Vec<_> = curve.iter().map(|seen| observe(&mut *whole, seen, trial)).collect();
        for k in 0..=curve.len() {
            let mut first = build(text);
            curve[..k].iter().for_each(|seen| drop(observe(&mut *first, seen, trial)));
            let saved = first.state().to_string();
            let mut second = build(text);
            second.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            let rest: Vec<_> = curve[k..].iter().map(|seen| observe(&mut *second, seen, trial)).collect();
            assert_eq!(rest, all[k..], "{text} from {k}");
            assert_eq!(second.state(), whole.state(), "{text} from {k}");
        }
    }
}

/// A search that is interrupted between two trials continues with the next one.
#[test]
fn a_search_resumes_between_trials() {
    let text = "auto_lrs = { trials = 8 }";
    let run = |interrupt: usize| {
        let (mut controller, mut tried) = (build(text), 0);
        let mut decision = controller.observe(&seen(1.0));
        while let Decision::Try { gain, .. } = decision {
            if tried == interrupt {
                let saved = controller.state().to_string();
                controller = build(text);
                controller.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            }
            tried += 1;
            decision = controller.tried(&seen(trial(gain)));
        }
        (decision, tried)
    };
    let whole = run(usize::MAX);
    assert_eq!(whole.1, 8);
    for interrupt in 0..8 {
        assert_eq!(run(interrupt), whole, "interrupted before trial {interrupt}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Valid specifications never panic, and gains are finite and above 0 for any observations.
    #[test]
    fn gains_are_finite_and_positive_for_random_specifications(spec in spec(), metrics in prop::collection::vec(metric(), 1..60), scale in metric()) {
        let Ok(mut controller) = spec.build() else { return Ok(()) };
        for observation in &metrics {
            let (decision, _) = observe(&mut *controller, observation, |gain| scale.value * gain);
            if let Decision::Gain { gain, .. } | Decision::Rewind { gain, .. } = decision {
                prop_assert!(gain > 0.0 && gain.is_finite(), "{:?}: {}", spec, gain);
            }
        }
        let text = controller.state().to_string();
        prop_assert!(controller.restore(serde_json::from_str(&text).unwrap()).is_ok(), "{}", text);
    }
}

proptest! {
    /// A controller that is saved as text at any time and restored makes the same decisions.
    #[test]
    fn controllers_resume_after_random_observations(text in prop::sample::select(EVERY), metrics in prop::collection::vec(metric(), 1..40), k in 0_usize..40) {
        let mut whole = build(text);
        let mut resumed = build(text);
        for (i, observation) in metrics.iter().enumerate() {
            if i == k {
                let saved = resumed.state().to_string();
                resumed = build(text);
                resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            }
            let (a, b) = (observe(&mut *whole, observation, trial), observe(&mut *resumed, observation, trial));
            prop_assert_eq!(a, b, "{} at {}", text, i);
        }
        prop_assert_eq!(whole.state(), resumed.state());
    }

    /// Gains are finite and above 0 for any number of observations.
    #[test]
    fn gains_are_finite_and_positive(text in prop::sample::select(EVERY), metrics in prop::collection::vec(metric(), 1..200)) {
        let mut controller = build(text);
        for _ in 0..10 {
            for observation in &metrics {
                let loss = |gain: f64| observation.value * gain;
                let (decision, _) = observe(&mut *controller, observation, loss);
                if let Decision::Gain { gain, .. } | Decision::Rewind { gain, .. } = decision {
                    prop_assert!(gain > 0.0 && gain.is_finite(), "{}: {}", text, gain);
                }
            }
        }
    }

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
