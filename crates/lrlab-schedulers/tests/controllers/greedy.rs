//! Resets of `greedy`, and its comparison with `GreedyLR` of transformers.

use lrlab_schedulers::{Decision, Observation};

use crate::decisions;

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
