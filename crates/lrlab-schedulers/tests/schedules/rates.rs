//! Rates at given updates.

use lrlab_schedulers::{Horizon, Schedule, lambda, multiplicative, recursive};

use crate::common::parse;
use crate::{RUN, close, rates};

/// From a base rate below `eta_min` the rates start at the base rate and stay between the two.
#[test]
fn rates_rise_to_an_eta_min_above_the_base_rate() {
    for text in [
        "cosine = { eta_min = ETA_MIN }",
        "cosine = { eta_min = ETA_MIN, every = 'epoch' }",
        "cosine_warm_restarts = { t_0 = '30%', eta_min = ETA_MIN }",
        "polynomial = { power = 2, eta_min = ETA_MIN }",
        "rex = { eta_min = ETA_MIN }",
        "wsd = { eta_min = ETA_MIN }",
        "wsd = { shape = 'cosine', eta_min = ETA_MIN }",
        "wsd = { shape = 'mirror_cosine', eta_min = ETA_MIN }",
        "wsd = { shape = 'exponential', eta_min = ETA_MIN }",
        "wsd = { shape = 'exponential_to_zero', eta_min = ETA_MIN }",
        "polynomial = { total_iters = '30%', cycle = true, eta_min = ETA_MIN }",
        "cosine = { exponent = 2, num_cycles = 1.5, eta_min = ETA_MIN }",
        "wsd = { shape = 'one_minus_power', power = 3, eta_min = ETA_MIN }",
        "wsd = { shape = 'exponential_to_zero', ratio = 0.1, eta_min = ETA_MIN }",
    ] {
        for eta_min in [0.3, 0.7, 1.1, 2.3, 123.4] {
            let updates: Vec<u64> = (0..=200).collect();
            let rates = rates(&text.replace("ETA_MIN", &eta_min.to_string()), &updates);
            assert_eq!(rates[0], 0.1, "{text}, {eta_min}");
            assert!(rates.iter().all(|lr| (0.1..=eta_min).contains(lr)), "{text}, {eta_min}: {rates:?}");
        }
    }
}

#[test]
fn rates_at_given_updates() {
    let check = |text: &str, updates: &[u64], expected: &[f64]| {
        let found = rates(text, updates);
        assert!(
            found.iter().zip(expected).all(|(&a, &b)| close(a, b)),
            "{text}: {found:?}, not {expected:?}"
        );
    };
    check("static", &[0, 99, 1000], &[0.1, 0.1, 0.1]);
    check("constant = { factor = 0.5, total_iters = '1.05 epochs' }", &[0, 10, 11], &[0.05, 0.05, 0.1]);
    check("step = { step_size = '30%' }", &[0, 29, 30, 60, 90, 120], &[0.1, 0.1, 0.01, 1e-3, 1e-4, 1e-5]);
    check("multi_step = { milestones = ['2 epochs', '20%', '50%'] }", &[19, 20, 50], &[0.1, 1e-3, 1e-4]);
    check(
        "linear = { start_factor = 0, end_factor = 2, total_iters = '50%' }",
        &[0, 25, 50, 99],
        &[0., 0.1, 0.2, 0.2],
    );
    check("exponential = { gamma = 0.5 }", &[0, 10, 15, 30], &[0.1, 0.05, 0.1 * 0.5_f64.powf(1.5), 0.0125]);
    check("exponential = { gamma = 0.5, every = 'epoch' }", &[9, 10, 19, 20], &[0.1, 0.05, 0.05, 0.025]);
    check("exponential = { decay_rate = 0.7 }", &[0, 20], &[0.1, 0.1 * (-1.4_f64).exp()]);
    check("polynomial = { power = 2, eta_min = 0.02 }", &[0, 50, 100, 200], &[0.1, 0.04, 0.02, 0.02]);
    check("cosine = { eta_min = 0.02 }", &[0, 50, 100, 200], &[0.1, 0.06, 0.02, 0.02]);
    check("cosine = { every = 'epoch' }", &[0, 9, 50, 59, 100], &[0.1, 0.1, 0.05, 0.05, 0.0]);
    let restarts = "cosine_warm_restarts = { t_0 = '10 updates', t_mult = 2, decay = 0.5, limit = 3 }";
    check(restarts, &[0, 5, 10, 20, 30, 50, 70, 99], &[0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0, 0.0]);
    let cyclic =
        "cyclic = { base_lr = 1, max_lr = 3, step_size_up = '4 updates', step_size_down = '6 updates'";
    check(&format!("{cyclic} }}"), &[0, 2, 4, 7, 10, 14], &[1., 2., 3., 2., 1., 3.]);
    check(&format!("{cyclic}, mode = 'triangular2' }}"), &[4, 14, 24], &[3., 2., 1.5]);
    check(
        &format!("{cyclic}, mode = 'exp_range', gamma = 0.9 }}"),
        &[0, 4],
        &[1., 1. + 2. * 0.9_f64.powf(4.)],
    );
    let one_cycle = "one_cycle = { max_lr = 1, pct_start = 0.2, div_factor = 10, final_div_factor = 10";
    check(&format!("{one_cycle} }}"), &[0, 10, 20, 60, 100, 150], &[0.1, 0.55, 1., 0.505, 0.01, 0.01]);
    let linear = format!("{one_cycle}, three_phase = true, anneal_strategy = 'linear' }}");
    check(&linear, &[0, 5, 20, 40, 70, 100], &[0.1, 0.325, 1., 0.1, 0.055, 0.01]);
    check("inverse_sqrt = { timescale = '25 updates' }", &[0, 25, 100], &[0.1, 0.1, 0.05]);
    check("noam = { d_model = 4, warmup = '4 updates' }", &[0, 3, 15], &[0.00625, 0.025, 0.0125]);
    check("wsd = { cooldown = '20%' }", &[0, 79, 80, 85, 100], &[0.1, 0.1, 0.1, 0.05, 0.0]);
    check("wsd = { cooldown = '200%', shape = 'linear' }", &[0, 50, 100], &[0.1, 0.05, 0.0]);
    check("rex", &[0, 50, 100], &[0.1, 0.1 * 0.5 / 0.75, 0.0]);
    check("linear_to_zero", &[0, 50, 100, 150], &[0.1, 0.05, 0.0, 0.0]);
    check("tanh = { lb = -2, ub = 2 }", &[50, 100], &[0.05, 0.1 * (1.0 - 2.0_f64.tanh()) / 2.0]);
    let knots = "piecewise_linear = { knots = [{ at = '10%', factor = 0 }, { at = '30%', factor = 1 }, \
                 { at = '100%', factor = 0.3 }] }";
    check(knots, &[0, 10, 20, 30, 65, 100, 200], &[0.0, 0.0, 0.05, 0.1, 0.065, 0.03, 0.03]);
    let warmup = "warmup = { over = '20%', start_factor = 0, then = { cosine = { eta_min = 0.02 } }";
    check(&format!("{warmup} }}"), &[0, 10, 20, 60, 100], &[0.0, 0.05, 0.1, 0.06, 0.02]);
    check(&format!("{warmup}, clock = 'shared' }}"), &[0, 50, 100], &[0.0, 0.06, 0.02]);
    let parts =
        "sequential = { milestones = ['40%'], schedulers = [{ linear_to_zero = {} }, { cosine = {} }] }";
    check(parts, &[0, 20, 39, 40, 70, 100], &[0.1, 0.05, 0.0025, 0.1, 0.05, 0.0]);
    let chain = "chained = { schedulers = [{ linear_to_zero = {} }, { scale = { by = 0.5, of = { static = {} } } }] }";
    check(chain, &[0, 50], &[0.05, 0.025]);
    check(
        "clamp = { min = 0.03, max = 0.07, of = { linear_to_zero = {} } }",
        &[0, 50, 99],
        &[0.07, 0.05, 0.03],
    );
    check("delay = { by = '50%', of = { linear_to_zero = {} } }", &[0, 50, 75, 100], &[0.1, 0.1, 0.05, 0.0]);
    let repeat = "repeat = { period = '20%', decay = 0.5, limit = 2, of = { linear_to_zero = {} } }";
    check(repeat, &[0, 10, 20, 30, 40, 90], &[0.1, 0.05, 0.05, 0.025, 0.0, 0.0]);
    let stairs = "staircase = { step = '20%', of = { linear_to_zero = {} } }";
    check(stairs, &[0, 19, 20, 39, 99, 100], &[0.1, 0.1, 0.08, 0.08, 0.02, 0.0]);
    check(
        &stairs.replace("20%", "0.25 epochs"),
        &[0, 2, 3, 4, 5, 7, 8],
        &[0.1, 0.1, 0.097, 0.097, 0.095, 0.095, 0.092],
    );
    check(&format!("{warmup}, clock = 'hidden' }}"), &[0, 10, 19, 50, 100], &[0.0, 0.05, 0.095, 0.06, 0.02]);
    let two = "schedulers = [{ linear_to_zero = {} }, { scale = { by = 0.4, of = { static = {} } } }]";
    check(&format!("min = {{ {two} }}"), &[0, 99], &[0.04, 0.001]);
    check(&format!("max = {{ {two} }}"), &[0, 99], &[0.1, 0.04]);
}

#[test]
fn rates_of_functions() {
    let cubes = multiplicative(|step| if step == 3 { f64::NAN } else { 2.0 }, 5);
    let found: Vec<f64> = (0..4).map(|update| cubes.lr(1.0, RUN.at(update))).collect();
    assert_eq!(found, [1.0, 2.0, 4.0, 0.0]);
    assert_eq!(lambda(|at| at.epoch).lr(0.1, RUN.at(25)), 0.25);
    assert_eq!(lambda(|_| f64::INFINITY).lr(0.0, RUN.at(0)), 0.0);
    let steps = recursive(|epoch, lr| if epoch == 3 { f64::NAN } else { lr * 2.0 + epoch as f64 }, 5);
    let found: Vec<f64> = [0, 9, 10, 20, 30, 40, 50].map(|update| steps.lr(1.0, RUN.at(update))).into();
    assert_eq!(found, [2.0, 2.0, 5.0, 12.0, 0.0, 4.0, 4.0]);
}

#[test]
fn the_last_update_does_not_have_the_end_value() {
    for text in ["cosine", "linear_to_zero", "rex", "polynomial", "wsd"] {
        let [last, end] = rates(text, &[99, 100])[..] else { unreachable!() };
        assert!(last > 0.0 && end == 0.0, "{text}: {last}, {end}");
    }
}

/// A step begins at the first update at or after a multiple of its length, for any length that is exact in decimals, and the
/// marks are there.
#[test]
fn steps_of_fractional_length_begin_where_they_are_marked() {
    for (updates, per_epoch, length) in [
        (50, 10, "7%"),
        (50, 10, "14%"),
        (300, 25, "1.1 epochs"),
        (300, 25, "0.3 epochs"),
        (1000, 10, "0.1%"),
        (960, 32, "30%"),
    ] {
        let run = Horizon { updates, updates_per_epoch: per_epoch };
        for (text, factor) in [
            (format!("step = {{ step_size = \"{length}\", gamma = 0.5 }}"), 0.5),
            (format!("inverse_time = {{ decay_steps = \"{length}\", staircase = true }}"), 0.0),
        ] {
            let schedule = parse(&text).build(&run).unwrap();
            // In tenths of a per mille of the run or an epoch, which are exact.
            let (amount, of) = match length.strip_suffix('%') {
                Some(percent) => ((percent.parse::<f64>().unwrap() * 10.0).round() as u64, 1000),
                None => {
                    ((length.split(' ').next().unwrap().parse::<f64>().unwrap() * 10.0).round() as u64, 10)
                }
            };
            let whole = if length.ends_with('%') { updates } else { per_epoch };
            // Step n begins at ⌈n · amount · whole / of⌉.
            let step = |update: u64| update * of / (amount * whole);
            let starts: Vec<u64> = (1..updates).filter(|update| step(*update) != step(update - 1)).collect();
            let marks: Vec<u64> = schedule.marks().iter().map(|mark| mark.update).collect();
            assert_eq!(marks, starts, "{text}");
            for update in 0..updates {
                let n = step(update) as f64;
                let expected = if factor > 0.0 { 0.1 * libm::pow(factor, n) } else { 0.1 / (1.0 + n) };
                assert!(close(schedule.lr(0.1, run.at(update)), expected), "{text}: update {update}");
            }
        }
    }
}
