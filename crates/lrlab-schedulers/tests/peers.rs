//! Rates of other libraries, as `peers.py` took them from the versions that `peers.json` names, and this crate's beside them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use lrlab_schedulers::{
    ControllerSpec, CyclicSpec, Decision, Greedy, Horizon, Mode, Observation, Plateau, Schedule,
    ScheduleSpec, keras, multiplicative, optax, recursive, timm, transformers,
};
use serde_json::Value;

/// How many cases of a peer there are, each compared at every update, the last ones past the end of the run.
fn check(peer: &str, count: usize) {
    let file: Value = serde_json::from_str(include_str!("peers.json")).unwrap();
    let metrics: Vec<f64> = numbers(&file["metrics"]);
    let named = |case: &&Value| case["peer"].as_str().unwrap().split(' ').next() == Some(peer);
    let cases: Vec<&Value> = file["cases"].as_array().unwrap().iter().filter(named).collect();
    assert_eq!(cases.len(), count, "cases of {peer}");
    for case in cases {
        let (ours, base) = (case["ours"].as_str().unwrap(), case["base"].as_f64().unwrap());
        let rates = numbers(&case["rates"]);
        let found = if case["controller"] == true {
            let over = schedule(case["schedule"].as_str().unwrap_or("static"), &OBSERVED);
            observed(&controller(ours), &*over, base, &metrics)
        } else {
            let run = Horizon { updates: case["updates"].as_u64().unwrap(), updates_per_epoch: 1 };
            let (schedule, stride) = (schedule(ours, &run), case["stride"].as_u64().unwrap_or(1));
            (0..rates.len() as u64).map(|i| schedule.lr(base, run.at(i * stride))).collect()
        };
        // Keras takes its cosines in f32.
        let tolerance =
            if peer == "keras" && case["call"].as_str().unwrap().contains("Cosine") { 1e-6 } else { 1e-12 };
        for (i, (found, expected)) in found.iter().zip(&rates).enumerate() {
            let near = (found - expected).abs() <= tolerance * expected.abs() + 1e-15;
            assert!(near, "{} = {ours} at {i}: {found}, {peer} {expected}", case["call"]);
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

const OBSERVED: Horizon = Horizon { updates: 60, updates_per_epoch: 1 };

/// The rate after each observation: the schedule's of that update times the gain.
fn observed(spec: &ControllerSpec, over: &dyn Schedule, base: f64, metrics: &[f64]) -> Vec<f64> {
    let (mut controller, mut gain) = (spec.build().unwrap(), 1.0);
    let mut after = |(update, &value): (u64, &f64)| {
        if let Decision::Gain { gain: new, .. } = controller.observe(&Observation { value, stderr: None }) {
            gain = new;
        }
        over.lr(base, OBSERVED.at(update)) * gain
    };
    (0..).zip(metrics).map(&mut after).collect()
}

/// A constructor by its name, or a specification.
fn schedule(ours: &str, run: &Horizon) -> Box<dyn Schedule> {
    let cosine = timm::Cosine {
        lr_min: 0.01,
        cycle_decay: 0.7,
        warmup_t: 4,
        warmup_start: 0.2,
        ..timm::Cosine::new(9)
    };
    let tanh = timm::Cosine { cycle_limit: 2, warmup_t: 4, warmup_start: 0.2, ..timm::Cosine::new(16) };
    let cyclic = |step_size_up: &str, step_size_down: Option<&str>| CyclicSpec {
        base_factor: None,
        base_lr: Some(0.01),
        max_lr: Some(0.2),
        step_size_up: step_size_up.parse().unwrap(),
        step_size_down: step_size_down.map(|span| span.parse().unwrap()),
        mode: lrlab_schedulers::CyclicMode::Triangular,
        gamma: 1.0,
    };
    let spec = match ours {
        "torch cyclic by cycle" => {
            let cyclic = cyclic("4 updates", Some("7 updates"));
            return cyclic.with_peaks(run, |cycle, _| 1.0 / cycle as f64).unwrap();
        }
        "torch cyclic by iteration" => {
            let cyclic = cyclic("3 updates", None);
            return cyclic.with_peaks(run, |_, at| libm::pow(0.95, at.update as f64)).unwrap();
        }
        "torch multiplicative" => {
            return Box::new(multiplicative(|step| if step % 3 == 0 { 1.1 } else { 0.9 }, 40));
        }
        "keras recursive" => {
            let next =
                |epoch, lr| if epoch < 4 { lr } else { f64::max(lr * 0.8 - 0.001 * epoch as f64, 0.01) };
            return Box::new(recursive(next, 20));
        }
        "keras piecewise_constant" => {
            keras::piecewise_constant(&[5, 20, 30], &[0.3, 0.0, 0.5, 0.01]).unwrap()
        }
        "keras cosine_decay" => keras::cosine_decay(0.05, 25, 0.1, 0.3, 8),
        "keras cosine_decay_restarts" => keras::cosine_decay_restarts(5, 1.5, 0.7, 0.1),
        "timm cosine" => {
            timm::cosine(&timm::Cosine { cycle_mul: 1.5, cycle_limit: 3, k_decay: 1.4, ..cosine })
        }
        "timm cosine with a prefix" => {
            timm::cosine(&timm::Cosine { cycle_mul: 2.0, cycle_limit: 2, warmup_prefix: true, ..cosine })
        }
        "timm tanh" => {
            let cosine = timm::Cosine { lr_min: 0.01, cycle_mul: 1.5, cycle_decay: 0.7, ..tanh };
            timm::tanh(&cosine, -4.0, 3.0)
        }
        "timm tanh with a prefix" => timm::tanh(&timm::Cosine { warmup_prefix: true, ..tanh }, -4.0, 3.0),
        "timm multi_step" => lrlab_schedulers::WarmupSpec {
            over: "4 updates".parse().unwrap(),
            start_factor: 0.2,
            clock: lrlab_schedulers::WarmupClock::After,
            shape: lrlab_schedulers::WarmupShape::Linear,
            then: Box::new(timm::multi_step(&[6, 17, 30], 0.3)),
        }
        .into(),
        "transformers cosine_warmup_with_min_lr" => {
            transformers::cosine_warmup_with_min_lr(7, 40, 0.5, 0.3, None).unwrap()
        }
        "transformers cosine_warmup_with_min_lr with a start" => {
            transformers::cosine_warmup_with_min_lr(7, 40, 1.5, 0.2, Some(0.4)).unwrap()
        }
        "transformers cosine_warmup_with_min_lr of one update" => {
            transformers::cosine_warmup_with_min_lr(1, 40, 0.5, 0.3, None).unwrap()
        }
        "transformers cosine_warmup_with_min_lr of one update with a start" => {
            transformers::cosine_warmup_with_min_lr(1, 40, 1.5, 0.2, Some(0.4)).unwrap()
        }
        "transformers cosine_warmup_with_min_lr of two updates with a start" => {
            transformers::cosine_warmup_with_min_lr(2, 40, 0.5, 0.3, Some(0.6)).unwrap()
        }
        text => ScheduleSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")),
    };
    spec.build(run).unwrap_or_else(|error| panic!("{ours}: {error}"))
}

fn controller(ours: &str) -> ControllerSpec {
    match ours {
        "keras plateau" => keras::plateau(0.5, 2, 0.02, 3, Mode::Min),
        "keras plateau, max" => match keras::plateau(0.7, 3, 0.05, 0, Mode::Max) {
            // `min_lr` over the rate.
            ControllerSpec::Plateau(plateau) => Plateau { min_gain: 0.4, ..plateau }.into(),
            other => panic!("{other:?}"),
        },
        "optax plateau" => optax::reduce_on_plateau(0.5, 3, 0.02, 0.01, 2, 1, 0.1),
        "optax plateau of means" => optax::reduce_on_plateau(0.6, 2, 0.0, 0.03, 1, 3, 0.0),
        "transformers greedy" => {
            let greedy = Greedy {
                factor: 0.8,
                patience: 1,
                threshold: 0.001,
                cooldown: 1,
                warmup: 2,
                reset_after: 3,
                ..Greedy::default()
            };
            transformers::greedy(0.1, 0.03, 0.2, &greedy)
        }
        "transformers greedy, smooth" => {
            let greedy = Greedy {
                factor: 0.9,
                patience: 0,
                threshold: 0.01,
                threshold_mode: lrlab_schedulers::ThresholdMode::Rel,
                mode: Mode::Max,
                window: 4,
                reset_after: 2,
                ..Greedy::default()
            };
            transformers::greedy(0.1, 0.07, 0.3, &greedy)
        }
        "timm plateau" => {
            let text = "plateau = { factor = 0.5, patience = 2, threshold = 0.01, cooldown = 1, min_gain = 0.04, start_after = 6 }";
            ControllerSpec::parse(text).unwrap()
        }
        text => ControllerSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")),
    }
}

#[test]
fn as_pytorch() {
    check("torch", 10);
}

#[test]
fn as_optax() {
    check("optax", 20);
}

#[test]
fn as_keras() {
    check("keras", 14);
}

#[test]
fn as_timm() {
    check("timm", 25);
}

#[test]
fn as_transformers() {
    check("transformers", 31);
}

#[test]
fn as_megatron() {
    check("megatron-core", 11);
}

#[test]
fn as_burn() {
    check("burn-optim", 9);
}
