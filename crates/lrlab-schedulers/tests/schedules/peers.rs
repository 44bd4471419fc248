//! Comparison with the formulas of other libraries.

use std::f64::consts::PI;

use crate::common::parse;
use lrlab_schedulers::{Horizon, refined};

const RUN: Horizon = Horizon { updates: 100, updates_per_epoch: 10 };
const BASE: f64 = 0.1;

/// Compares every update of a run, and some after its end, with a formula for the rate.
fn check(text: &str, peer: impl Fn(f64) -> f64) {
    let schedule = parse(text).build(&RUN).unwrap();
    for update in 0..130 {
        let (found, expected) = (schedule.lr(BASE, RUN.at(update)), peer(update as f64));
        let near = (found - expected).abs() <= 1e-12 * expected.abs() + 1e-15;
        assert!(near, "{text} at {update}: {found}, not {expected}");
    }
}

/// Returns `eta_min + (base − eta_min) share`.
fn above(eta_min: f64, share: f64) -> f64 {
    eta_min + (BASE - eta_min) * share
}

/// Optax's `cosine_decay_schedule(exponent)`.
#[test]
fn cosine_with_an_exponent() {
    check("cosine = { t_max = '80 updates', eta_min = 0.01, exponent = 1.7 }", |t| {
        let decayed = 0.5 * (1.0 + (PI * t.min(80.0) / 80.0).cos());
        above(0.01, decayed.powf(1.7))
    });
}

/// transformers' `get_cosine_schedule_with_warmup(num_cycles)`; after the end, our rate holds.
#[test]
fn cosine_with_cycles() {
    for num_cycles in [0.5, 0.25, 1.0, 2.5] {
        let text = format!("cosine = {{ num_cycles = {num_cycles} }}");
        check(&text, |t| BASE * 0.5 * (1.0 + (PI * num_cycles * 2.0 * (t / 100.0).min(1.0)).cos()));
    }
}

/// timm's `CosineLRScheduler` and `PolyLRScheduler` with `k_decay`.
#[test]
fn k_decay() {
    let k: f64 = 1.6;
    let cosine = |t: f64, length: f64| 0.5 * (1.0 + (PI * t.powf(k) / length.powf(k)).cos());
    check("cosine = { eta_min = 0.01, k_decay = 1.6 }", |t| above(0.01, cosine(t.min(100.0), 100.0)));
    check("cosine_warm_restarts = { t_0 = '25 updates', eta_min = 0.01, k_decay = 1.6 }", |t| {
        above(0.01, cosine(t % 25.0, 25.0))
    });
    check("polynomial = { power = 2, eta_min = 0.01, k_decay = 1.6 }", |t| {
        above(0.01, (1.0 - (t.min(100.0) / 100.0).powf(k)).powi(2))
    });
}

/// Keras's `InverseTimeDecay`.
#[test]
fn inverse_time() {
    check("inverse_time = { decay_steps = '7 updates', decay_rate = 0.5 }", |t| BASE / (1.0 + 0.5 * t / 7.0));
    check("inverse_time = { decay_steps = '7 updates', decay_rate = 0.5, staircase = true }", |t| {
        BASE / (1.0 + 0.5 * (t / 7.0).floor())
    });
}

/// Optax's `piecewise_interpolate_schedule('cosine')`, and a jump between two knots with the same time.
#[test]
fn knots_with_cosines_and_jumps() {
    let cosine = |from: f64, to: f64, p: f64| to + (from - to) / 2.0 * ((PI * p).cos() + 1.0);
    let knots = "knots = [{ at = '0%', factor = 1 }, { at = '40%', factor = 0.2 }, { at = '40%', factor = 0.7 }, \
                 { at = '90%', factor = 0 }]";
    check(&format!("piecewise_linear = {{ {knots}, interpolate = 'cosine' }}"), |t| {
        BASE * match t {
            ..40.0 => cosine(1.0, 0.2, t / 40.0),
            ..90.0 => cosine(0.7, 0.0, (t - 40.0) / 50.0),
            _ => 0.0,
        }
    });
    check(&format!("piecewise_linear = {{ {knots} }}"), |t| {
        BASE * match t {
            ..40.0 => 1.0 - 0.8 * t / 40.0,
            ..90.0 => 0.7 * (90.0 - t) / 50.0,
            _ => 0.0,
        }
    });
}

/// Keras's `PolynomialDecay(cycle=True)`.
#[test]
fn polynomial_that_cycles() {
    check("polynomial = { total_iters = '30 updates', power = 2, eta_min = 0.01, cycle = true }", |t| {
        let length = 30.0 * if t == 0.0 { 1.0 } else { (t / 30.0).ceil() };
        (BASE - 0.01) * (1.0 - t / length).powi(2) + 0.01
    });
}

/// timm's `PolyLRScheduler` and `TanhLRScheduler` with cycles, and `CosineLRScheduler` with a `cycle_decay` above 1.
#[test]
fn restarts_of_polynomial_tanh_and_cosine() {
    // Cycles of 10, 20 and 40 updates, then `eta_min`.
    let cycle = |t: f64| match t {
        ..10.0 => Some((0, t, 10.0)),
        ..30.0 => Some((1, t - 10.0, 20.0)),
        ..70.0 => Some((2, t - 30.0, 40.0)),
        _ => None,
    };
    let restarts = "restarts = { t_mult = 2, decay = 0.6, limit = 3 }";
    let descents = |shape: fn(f64) -> f64, decay: f64| {
        move |t: f64| {
            let Some((i, t, length)) = cycle(t) else { return 0.01 };
            0.01 + (BASE * decay.powi(i) - 0.01) * shape(t / length)
        }
    };
    let polynomial =
        format!("polynomial = {{ total_iters = '10 updates', power = 3, eta_min = 0.01, {restarts} }}");
    check(&polynomial, descents(|p| (1.0 - p).powi(3), 0.6));
    let tanh = format!("tanh = {{ t_max = '10 updates', lb = -6, ub = 4, eta_min = 0.01, {restarts} }}");
    check(&tanh, descents(|p| 0.5 * (1.0 - (-6.0 * (1.0 - p) + 4.0 * p).tanh()), 0.6));
    check(
        "cosine_warm_restarts = { t_0 = '10 updates', t_mult = 2, eta_min = 0.01, decay = 1.5, limit = 3 }",
        descents(|p| 0.5 * (1.0 + (PI * p).cos()), 1.5),
    );
    check("repeat = { period = '40 updates', decay = 1.5, of = { linear_to_zero = {} } }", |t| {
        BASE * 1.5_f64.powf((t / 40.0).floor()) * (1.0 - t % 40.0 / 40.0)
    });
}

/// The shapes of Hägele et al. (`schedules-and-scaling`) and of Megatron-LM.
#[test]
fn cooldown_shapes_of_wsd() {
    let tail = |shape: &str, peer: fn(f64) -> f64| {
        check(&format!("wsd = {{ cooldown = '40%', shape = '{shape}', eta_min = 0.004 }}"), |t| {
            above(0.004, if t < 60.0 { 1.0 } else { peer(((t - 60.0) / 40.0).min(1.0)) })
        });
    };
    tail("linear", |p| 1.0 - p);
    tail("cosine", |p| 0.5 * (1.0 + (PI * p).cos()));
    tail("one_minus_sqrt", |p| 1.0 - p.sqrt());
    tail("one_minus_square", |p| 1.0 - p.powi(2));
    tail("mirror_cosine", |p| 2.0 * (1.0 - p) - 0.5 * (1.0 + (PI * p).cos()));
    tail("exponential_to_zero", |p| 2.0 * 0.5_f64.powf(p) - 1.0);
    check("wsd = { cooldown = '40%', shape = 'exponential', eta_min = 0.004 }", |t| {
        BASE * (0.004_f64 / BASE).powf(((t - 60.0) / 40.0).clamp(0.0, 1.0))
    });
}

/// transformers' `get_inverse_sqrt_schedule(timescale)` with a warm-up, and `big_vision`'s `rsqrt`.
#[test]
fn inverse_square_root_with_a_shift() {
    let text = "warmup = { over = '10 updates', start_factor = 0, \
                then = { inverse_sqrt = { timescale = '30 updates', shift = '30 updates' } } }";
    check(text, |t| {
        let (warmup, timescale) = (10.0, 30.0);
        if t < warmup {
            return BASE * t / warmup;
        }
        BASE / ((t + (timescale - warmup)) / timescale).sqrt()
    });
}

/// transformers' `get_wsd_schedule(warmup_type)`, where `min_lr_ratio` is the start, and a start above the base rate.
#[test]
fn warmup_shapes() {
    for start in [0.0, 0.2, 3.0] {
        let warm = |shape: &str, peer: fn(f64) -> f64| {
            let text = format!(
                "warmup = {{ over = '20 updates', start_factor = {start}, shape = '{shape}', then = {{ static = {{}} }} }}"
            );
            check(&text, |t| BASE * if t < 20.0 { peer(t / 20.0) * (1.0 - start) + start } else { 1.0 });
        };
        warm("linear", |p| p);
        warm("cosine", |p| 0.5 * (1.0 - (PI * p).cos()));
        warm("one_minus_sqrt", |p| 1.0 - (1.0 - p).sqrt());
    }
}

/// Optax's `piecewise_constant_schedule({20: 0.5, 50: 0.1, 80: 3})`.
#[test]
fn a_factor_per_milestone() {
    let text = "multi_step = { milestones = ['2 epochs', '50%', '80 updates'], gammas = [0.5, 0.1, 3] }";
    check(text, |t| {
        [(20.0, 0.5), (50.0, 0.1), (80.0, 3.0)]
            .iter()
            .filter(|(at, _)| *at <= t)
            .fold(BASE, |lr, (_, x)| lr * x)
    });
}

/// Shen et al.: `min(η_max, β a n^b)`, where n is the number of tokens so far.
#[test]
fn power_of_the_tokens() {
    check("power = { batch_size = 64, batch_tokens = 1e6 }", |t| {
        if t == 0.0 { BASE } else { BASE.min(64.0 * 4.0 * (t * 1e6).powf(-0.51)) }
    });
    let schedule = parse("power = { batch_size = 64, batch_tokens = 1e6 }").build(&RUN).unwrap();
    assert!(schedule.lr(BASE, RUN.at(99)) < BASE / 2.0, "the power applies");
}

/// Defazio et al., theorem 3: weights `g^(−2)`, each times the sum of the following ones. Equal norms give a linear decay.
#[test]
fn refined_from_norms() {
    let norms: Vec<f64> = (0..50).map(|t| 1.0 + 0.5 * (f64::from(t) * 0.3).sin()).collect();
    let weights: Vec<f64> = norms.iter().map(|g| g.powi(-2)).collect();
    let plain: Vec<f64> = (0..50).map(|t| weights[t] * weights[t + 1..].iter().sum::<f64>()).collect();
    let most = plain.iter().copied().fold(0.0, f64::max);
    for (found, expected) in refined(&norms, 2.0).unwrap().iter().zip(&plain) {
        assert!((found - expected / most).abs() < 1e-12, "{found}, not {}", expected / most);
    }
    for (t, factor) in refined(&[3.0; 20], 1.0).unwrap().iter().enumerate() {
        assert!((factor - (1.0 - (t as f64 + 1.0) / 20.0) * 20.0 / 19.0).abs() < 1e-12);
    }
    let refused = |norms: &[f64]| refined(norms, 2.0).unwrap_err().to_string();
    assert_eq!(
        refused(&[1.0]),
        "norms: the number of entries is 1, expected at least 2, because the factor of the last update is 0"
    );
    assert_eq!(refused(&[1.0, 0.0]), "norms.1: 0 is not a number above 0, at most 1e30");
}

#[test]
fn optional_keys_are_checked_and_omitted_if_default() {
    let refused = |text: &str, words: &str| {
        let error = parse(text).build(&RUN).unwrap_err().to_string();
        assert_eq!(error, words, "{text}");
    };
    refused("cosine = { exponent = 0 }", "cosine.exponent: 0 is not a number above 0, at most 1e30");
    refused("cosine = { num_cycles = 0 }", "cosine.num_cycles: 0 is not a number above 0, at most 1e6");
    refused(
        "polynomial = { cycle = true, restarts = {} }",
        "polynomial.restarts: cannot be combined with `cycle`",
    );
    refused("tanh = { restarts = { limit = 0 } }", "tanh.restarts.limit: 0 is not at least 1");
    refused(
        "wsd = { shape = 'exponential' }",
        "wsd.eta_min: 0 is not a number above 0, which the exponential shape requires",
    );
    refused("wsd = { power = 2 }", "wsd.power: `power` belongs to `shape = \"one_minus_power\"`");
    refused("wsd = { ratio = 0.2 }", "wsd.ratio: `ratio` belongs to `shape = \"exponential_to_zero\"`");
    refused(
        "wsd = { shape = 'exponential_to_zero', ratio = 1 }",
        "wsd.ratio: 1 is not a number above 0 and below 1",
    );
    refused(
        "exponential = { gamma = 1, per = '0%' }",
        "exponential.per: \"0%\" is not a valid length: expected more than 0",
    );
    refused("floor = { at = 2, of = { static = {} } }", "floor.at: 2 is not a number from 0 to 1");
    refused("sum = { schedulers = [] }", "sum.schedulers: the list is empty");
    refused(
        "multi_step = { milestones = ['50%'], gammas = [0.1, 0.2] }",
        "multi_step.gammas: the number of entries is 2, expected 1: one for each milestone",
    );
    refused(
        "power = { batch_size = 1, batch_tokens = 1, b = 1 }",
        "power.b: 1 is not a number from -10 to 0",
    );
    let keys = |text: &str| {
        let value = serde_json::to_value(parse(text)).unwrap();
        value.as_object().unwrap().values().next().unwrap().as_object().unwrap().len()
    };
    for (text, count) in [
        ("cosine = {}", 3),
        ("cosine_warm_restarts = { t_0 = '10%' }", 6),
        ("polynomial = {}", 4),
        ("tanh = {}", 5),
        ("inverse_sqrt = { timescale = '10%' }", 1),
        ("multi_step = { milestones = ['10%'] }", 2),
        ("piecewise_linear = { knots = [{ at = '10%', factor = 1 }] }", 2),
        ("warmup = { over = '5%', then = { static = {} } }", 4),
        ("exponential = { gamma = 0.9 }", 3),
        ("wsd = {}", 3),
        ("inverse_time = { decay_steps = '10%' }", 2),
        ("noise = { of = { static = {} } }", 5),
    ] {
        assert_eq!(keys(text), count, "{text}");
    }
}

/// Megatron-LM's `OptimizerParamScheduler.get_wd`: from `start_wd` to `end_wd` within `wd_incr_steps`, `linear` or `cosine`.
/// Ours is a schedule with `eta_min` above the base value.
#[test]
fn weight_decay_rises_as_in_megatron() {
    let run = Horizon { updates: 100, updates_per_epoch: 10 };
    for (start, end) in [(0.0, 0.1), (0.01, 0.1)] {
        for (style, text) in [
            ("linear", "polynomial = { total_iters = '80 updates', eta_min = END }"),
            ("cosine", "cosine = { t_max = '80 updates', eta_min = END }"),
        ] {
            let schedule = parse(&text.replace("END", &end.to_string())).build(&run).unwrap();
            for step in 0..100_u32 {
                let ratio = f64::from(step) / 80.0;
                let coeff = match style {
                    _ if step > 80 => 1.0,
                    "linear" => ratio,
                    _ => 0.5 * ((std::f64::consts::PI * (1.0 - ratio)).cos() + 1.0),
                };
                let (ours, theirs) =
                    (schedule.lr(start, run.at(u64::from(step))), start + coeff * (end - start));
                assert!((ours - theirs).abs() < 1e-12, "{style}, step {step}: {ours}, Megatron {theirs}");
            }
        }
    }
}
