//! Controllers that are saved as text and restored.

use lrlab_schedulers::Observation;
use proptest::prelude::*;

use crate::random::metric;
use crate::{EVERY, build, observe, seen, trial};

#[test]
fn the_state_of_another_controller_is_an_error() {
    let mut controller = build("bold_driver");
    controller.observe(&seen(1.0));
    let before = controller.state();
    let error = controller.restore(build("new_bob").state()).unwrap_err();
    assert!(error.to_string().contains("unknown field `previous`, expected `gain` or `last`"), "{error}");
    assert_eq!(controller.state(), before);
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
}
