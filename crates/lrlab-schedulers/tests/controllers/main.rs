//! Decisions and states of controllers.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod decisions;
mod greedy;
mod plateau;
mod random;
mod search;
mod states;

use lrlab_schedulers::{AnyController, ControllerSpec, Decision, Observation};

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

/// The loss of a trial at a gain, with the minimum at 2.
fn trial(gain: f64) -> f64 {
    (gain.ln() - 2.0_f64.ln()).powi(2)
}
