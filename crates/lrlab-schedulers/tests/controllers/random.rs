//! Random specifications and observations: gains are finite and above 0, and nothing panics.

use lrlab_schedulers::{ControllerSpec, Decision, Observation};
use proptest::prelude::*;

use crate::{EVERY, build, observe};

pub(crate) fn metric() -> impl Strategy<Value = Observation> {
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
}
