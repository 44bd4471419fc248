//! Controllers that are saved as text and restored.

use lrlab_schedulers::{AnyController, Controller, Decision, Observation};
use proptest::prelude::*;
use serde_json::json;

use crate::random::metric;
use crate::{EVERY, build, observe, seen, trial};

/// Returns a controller with a state that another configuration may have saved.
fn restored(text: &str, state: serde_json::Value) -> Box<dyn AnyController> {
    let mut controller = build(text);
    controller.restore(state).unwrap();
    controller
}

/// Returns the state of a controller after some observations.
fn state_after(text: &str, values: &[f64]) -> serde_json::Value {
    let mut controller = build(text);
    for &value in values {
        controller.observe(&seen(value));
    }
    controller.state()
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

/// A window or mean that is shorter than that of the saved state has the last observations.
#[test]
fn states_fit_a_smaller_configuration() {
    let state = state_after("greedy = { window = 5, threshold = 0 }", &[8.0, 6.0, 4.0, 2.0, 2.0]);
    for window in [1, 2, 4, 5, 6] {
        let text = format!("greedy = {{ window = {window}, threshold = 0 }}");
        let mut controller = restored(&text, state.clone());
        controller.observe(&seen(1.0));
        let all = [8.0, 6.0, 4.0, 2.0, 2.0, 1.0];
        assert_eq!(controller.state()["recent"], json!(all[6 - window..]), "{text}");
    }

    let state = state_after("plateau = { accumulate = 5 }", &[8.0, 6.0, 4.0, 2.0]);
    for (accumulate, mean) in [(1, 1.0), (2, 1.5), (4, 3.25), (5, 4.2)] {
        let text = format!("plateau = {{ accumulate = {accumulate} }}");
        let mut controller = restored(&text, state.clone());
        controller.observe(&seen(1.0));
        let state = controller.state();
        assert!((state["best"][0].as_f64().unwrap() - mean).abs() < 1e-12, "{text}: {state}");
        assert_eq!(state.get("held"), None, "{text}");
    }
}

/// Counters at their maximum stay there.
#[test]
fn counters_do_not_overflow() {
    let most = u64::MAX;
    for (text, state) in [
        (
            "plateau = { factor = 0.5 }",
            json!({ "gain": 1.0, "best": [0.1, 1], "bad": most, "cooldown": 0, "seen": most }),
        ),
        (
            "greedy = { factor = 0.5 }",
            json!({ "gain": 1.0, "best": 0.1, "good": 0, "bad": most, "wait": 0, "recent": [] }),
        ),
    ] {
        let decision = restored(text, state).observe(&seen(0.2));
        assert!(matches!(decision, Decision::Gain { gain: 0.5, .. }), "{text}: {decision:?}");
    }
    let raised = json!({ "gain": 1.0, "best": 0.1, "good": most, "bad": 0, "wait": 0, "recent": [] });
    let decision = restored("greedy = { factor = 0.5 }", raised).observe(&seen(0.05));
    assert!(matches!(decision, Decision::Gain { gain: 2.0, .. }), "{decision:?}");
    let stuck =
        json!({ "gain": 0.5, "best": 0.1, "good": 0, "bad": 0, "wait": 0, "stuck": most, "recent": [] });
    let text = "greedy = { factor = 0.5, patience = 0, min_gain = 0.5, reset_after = 3 }";
    let decision = restored(text, stuck).observe(&seen(0.2));
    assert!(matches!(decision, Decision::Gain { gain: 1.0, .. }), "{decision:?}");
    let mut search = restored("auto_lrs", json!({ "gain": 1.0, "seen": most, "tried": [], "trying": null }));
    assert!(matches!(search.observe(&seen(0.2)), Decision::Try { .. }));
    assert_eq!(search.state()["seen"], most);
}

/// A gain below the new `min_gain` stays the one that the host applies.
#[test]
fn a_gain_below_the_bound_changes_only_by_a_decision() {
    let state = json!({ "gain": 0.125, "last": 1.0 });
    let mut controller = restored("bold_driver = { rewind = false, min_gain = 0.5, up = 2 }", state);
    assert_eq!(controller.observe(&seen(2.0)), Decision::Keep);
    assert_eq!(controller.state()["gain"], 0.125);
    assert!(matches!(controller.observe(&seen(1.0)), Decision::Gain { gain: 0.25, .. }));
}

/// A controller of a crate that does not enable the feature `serde`.
#[derive(Debug)]
struct Patient(u32);

impl AnyController for Patient {
    fn observe(&mut self, _: &Observation) -> Decision {
        self.0 -= 1;
        if self.0 == 0 { Decision::Stop { reason: "enough".to_owned() } } else { Decision::Keep }
    }

    fn tried(&mut self, _: &Observation) -> Decision {
        Decision::Keep
    }
}

/// A controller whose state serde does not know.
#[derive(Debug)]
struct Halves;

#[derive(Debug, Clone, PartialEq)]
struct Gain(f64);

impl Controller for Halves {
    type State = Gain;

    fn init(&self) -> Gain {
        Gain(1.0)
    }

    fn observe(&self, state: &mut Gain, _: &Observation) -> Decision {
        state.0 /= 2.0;
        Decision::Gain { gain: state.0, reason: "halved".to_owned() }
    }
}

#[test]
fn controllers_need_no_saved_state() {
    let mut controller: Box<dyn AnyController> = Box::new(Patient(2));
    assert_eq!(controller.observe(&seen(1.0)), Decision::Keep);
    assert_eq!(controller.state(), serde_json::Value::Null);
    for state in [serde_json::Value::Null, json!(7)] {
        let error = controller.restore(state).unwrap_err();
        assert_eq!(error.to_string(), "Patient(1) does not save its state");
    }
    assert_eq!(controller.observe(&seen(1.0)), Decision::Stop { reason: "enough".to_owned() });

    let mut state = Halves.init();
    Halves.observe(&mut state, &seen(1.0));
    assert_eq!(state, Gain(0.5));
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
