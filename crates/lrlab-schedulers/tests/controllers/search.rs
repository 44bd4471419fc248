//! The search of `auto_lrs` for the gain with the lowest loss.

use lrlab_schedulers::{Compat, Decision, replay};

use crate::{build, observe, seen, trial};

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
