//! Rates of schedules, properties of all schedules, and laws of combinators.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;
mod lints;
mod peers;
mod specs;

use common::{EVERY, parse};
use lrlab_schedulers::{
    Compat, Compose, Horizon, MarkKind, Schedule, ScheduleSpec, Time, fixed, lambda, multiplicative,
    recursive, torch, trace,
};
use proptest::prelude::*;

const RUN: Horizon = Horizon { updates: 100, updates_per_epoch: 10 };

fn rates(text: &str, updates: &[u64]) -> Vec<f64> {
    let schedule = parse(text).build(&RUN).unwrap();
    updates.iter().map(|&update| schedule.lr(0.1, RUN.at(update))).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()) + 1e-17
}

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

/// The noise also stays within its limit, and its mean is about 0.
#[test]
fn noise_depends_only_on_seed_and_time() {
    let text = "noise = { std = 0.3, limit = 0.5, seed = 7, of = { static = {} } }";
    let (forward, back): (Vec<u64>, Vec<u64>) = ((0..2000).collect(), (0..2000).rev().collect());
    let found = rates(text, &forward);
    let mut again = rates(text, &back);
    again.reverse();
    assert_eq!(found, again);
    assert!(found.iter().all(|lr| (0.05..0.15).contains(lr)));
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!((mean - 0.1).abs() < 0.002, "{mean}");
    assert_ne!(found, rates(&text.replace("seed = 7", "seed = 8"), &forward));
}

/// Noise has a beginning and an end, and may be uniform.
#[test]
fn noise_has_a_range_and_a_distribution() {
    let text = |more: &str| format!("noise = {{ limit = 0.5, seed = 7, {more}, of = {{ static = {{}} }} }}");
    let all: Vec<u64> = (0..2000).collect();
    let within = rates(&text("start = '30%', end = '5 epochs'"), &all[..100]);
    let without = rates(&text("std = 1"), &all[..100]);
    for (update, (lr, always)) in within.iter().zip(&without).enumerate() {
        assert_eq!(*lr, if (30..50).contains(&update) { *always } else { 0.1 }, "{update}");
    }
    let uniform = rates(&text("distribution = 'uniform'"), &all);
    assert!(uniform.iter().all(|lr| (0.05..=0.15).contains(lr)));
    let outer = uniform.iter().filter(|lr| (*lr - 0.1).abs() > 0.025).count();
    assert!((900..1100).contains(&outer), "{outer} of 2000 lie in the outer halves");
}

/// A sum adds, and a floor is a share of the base rate, which the base rate itself never leaves.
#[test]
fn sums_and_floors() {
    let check = |text: &str, updates: &[u64], expected: &[f64]| {
        let found = rates(text, updates);
        assert!(
            found.iter().zip(expected).all(|(&a, &b)| close(a, b)),
            "{text}: {found:?}, not {expected:?}"
        );
    };
    check(
        "sum = { schedulers = [{ static = {} }, { linear_to_zero = {} }] }",
        &[0, 50, 100],
        &[0.2, 0.15, 0.1],
    );
    check("floor = { at = 0.2, of = { linear_to_zero = {} } }", &[0, 50, 100, 150], &[0.1, 0.06, 0.02, 0.02]);
    let floor = parse("floor = { at = 0.3, of = { cosine = {} } }").build(&RUN).unwrap();
    for base in [1e-9, 0.1, 0.7, 123.4] {
        assert_eq!(floor.lr(base, RUN.at(0)), base);
        assert!(close(floor.lr(base, RUN.at(100)), 0.3 * base));
    }
    assert!(
        ScheduleSpec::parse("floor = { at = 0.1, of = { one_cycle = { max_lr = 1 } } }")
            .unwrap()
            .reads_base()
    );
    assert!(
        !ScheduleSpec::parse("floor = { at = 0, of = { one_cycle = { max_lr = 1 } } }").unwrap().reads_base()
    );
}

/// A warm-up that is aimed joins the curve, which `hidden` jumps to.
#[test]
fn a_warmup_aims_at_the_curve() {
    let text = |clock: &str| {
        format!(
            "warmup = {{ over = '20%', start_factor = 0.5, clock = '{clock}', then = {{ linear_to_zero = {{}} }} }}"
        )
    };
    let found = rates(&text("aimed"), &[0, 10, 20, 60]);
    assert!(found.iter().zip([0.05, 0.065, 0.08, 0.04]).all(|(&a, b)| close(a, b)), "{found:?}");
    let hidden = rates(&text("hidden"), &[19, 20]);
    assert!(close(hidden[0], 0.0975) && close(hidden[1], 0.08), "{hidden:?}");
}

/// Cycles that shrink have to end.
#[test]
fn cycles_shrink_within_a_limit() {
    let text = "cosine_warm_restarts = { t_0 = '40 updates', t_mult = 0.5, limit = 3 }";
    assert_eq!(rates(text, &[0, 40, 60]), [0.1; 3]);
    assert_eq!(rates(text, &[70, 79, 80, 81, 99, 1000]), [0.0; 6]);
    let endless = parse(&text.replace(", limit = 3", "")).build(&RUN).unwrap_err().to_string();
    assert_eq!(
        endless,
        "cosine_warm_restarts.t_mult: 0.5 is not a number from 1 to 1e6, or from 1e-6 with a limit"
    );
}

/// PyTorch's float logarithm misses restarts of this kind.
#[test]
fn rounding_misses_no_restart() {
    for factor in [2_u64, 3, 4, 5, 6, 7, 10] {
        for first in 1_u64..60 {
            let text = format!("cosine_warm_restarts = {{ t_0 = '{first} updates', t_mult = {factor} }}");
            let run = Horizon { updates: 1 << 40, updates_per_epoch: 1 };
            let schedule = parse(&text).build(&run).unwrap();
            let mut start = 0;
            for n in 0..6 {
                assert_eq!(schedule.lr(0.1, run.at(start)), 0.1, "{text}, restart {n} at {start}");
                start += first * factor.pow(n);
                assert!(start == first || schedule.lr(0.1, run.at(start - 1)) < 0.1);
            }
        }
    }
}

#[test]
fn marks_of_schedules() {
    use MarkKind::{End, Milestone, Restart};
    let check = |text: &str, expected: &[(u64, MarkKind)]| {
        let found: Vec<_> =
            parse(text).build(&RUN).unwrap().marks().iter().map(|mark| (mark.update, mark.kind)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("static", &[]);
    check("step = { step_size = '35 updates' }", &[(35, Milestone), (70, Milestone)]);
    check("cosine", &[(100, End)]);
    check("cosine = { t_max = '200 epochs' }", &[]);
    check(
        "cosine_warm_restarts = { t_0 = '1 epoch', t_mult = 2, limit = 3 }",
        &[(10, Restart), (30, Restart), (70, End)],
    );
    check("warmup = { over = '1 epoch', then = { cosine = {} } }", &[(10, Milestone), (100, End)]);
    check(
        "sequential = { milestones = ['50%'], schedulers = [{ cosine = {} }, { step = { step_size = '2 epochs' } }] }",
        &[(50, Milestone), (70, Milestone), (90, Milestone)],
    );
    check(
        "staircase = { step = '10%', of = { step = { step_size = '35 updates' } } }",
        &[(40, Milestone), (70, Milestone)],
    );
    check("repeat = { period = '40 updates', limit = 2, of = { rex = {} } }", &[(40, Restart)]);
}

#[test]
fn the_last_update_does_not_have_the_end_value() {
    for text in ["cosine", "linear_to_zero", "rex", "polynomial", "wsd"] {
        let [last, end] = rates(text, &[99, 100])[..] else { unreachable!() };
        assert!(last > 0.0 && end == 0.0, "{text}: {last}, {end}");
    }
}

proptest! {
    // Slightly less than half of the random specifications are valid.
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Valid schedules never panic and never return NaN, for any time.
    #[test]
    fn rates_are_finite(spec in common::spec(), run in common::run(), base in common::number(), at in any::<u64>()) {
        let Ok(schedule) = spec.build(&run) else { return Ok(()) };
        let base = if base.is_finite() { base } else { f64::MAX };
        let marks = schedule.marks();
        prop_assert!(marks.is_sorted_by_key(|mark| mark.update), "{:?}", spec);
        let moments = [0, 1, 2, 7, 50, at % 1000, at, run.updates, run.updates.saturating_add(1), u64::MAX];
        for update in moments.into_iter().chain(marks.iter().take(5).map(|mark| mark.update)) {
            let lr = schedule.lr(base, run.at(update));
            prop_assert!(lr.is_finite(), "{:?} of {} at {}: {}", spec, base, update, lr);
            prop_assert!(base < 0.0 || lr >= 0.0, "{:?} of {} at {}: {}", spec, base, update, lr);
        }
    }
}

/// Functions that format a length, and a schedule with such lengths.
type Length<'a> = &'a dyn Fn(u64) -> String;
type Text<'a> = &'a dyn Fn(Length<'_>) -> String;

proptest! {
    /// The difference is a rounding error.
    #[test]
    fn closed_forms_equal_the_recursive_forms_of_pytorch(
        n in 1_u64..60, m in 1_u64..20, mult in 1_u64..4, gamma in 0.3..1.0, x in 0.01..1.0, y in 0.0..1.0,
        power in 0.2..3.0, eta_min in prop::sample::select(vec![0.0, 1e-5, 0.01]),
    ) {
        let (u, t) = (|n| format!("'{n} updates'"), |n: u64| n.to_string());
        let pairs: [(Text<'_>, u64); 9] = [
            (&|l| format!("constant = {{ factor = {x}, total_iters = {} }}", l(n)), 100),
            (&|l| format!("step = {{ step_size = {}, gamma = {gamma} }}", l(m)), 100),
            (&|l| format!("multi_step = {{ milestones = [{}, {}], gamma = {gamma} }}", l(m), l(m + n)), 100),
            (&|l| format!("linear = {{ start_factor = {x}, end_factor = {y}, total_iters = {} }}", l(n)), 100),
            (&|_| format!("exponential = {{ gamma = {gamma} }}"), 100),
            (&|l| format!("polynomial = {{ total_iters = {}, power = {power} }}", l(n)), 100),
            (&|l| format!("cosine = {{ t_max = {}, eta_min = {eta_min} }}", l(n)), n + 1),
            (&|l| format!("cosine_warm_restarts = {{ t_0 = {}, t_mult = {mult}, eta_min = {eta_min} }}", l(m)), 100),
            (&|l| format!("cyclic = {{ base_lr = 0.01, max_lr = {}, step_size_up = {}, step_size_down = {}, \
                mode = 'triangular2' }}", x + 0.01, l(m), l(n)), 100),
        ];
        let run = Horizon { updates: 100, updates_per_epoch: 1 };
        for (text, updates) in pairs {
            let schedule = parse(&text(&u)).build(&run).unwrap();
            let rates = torch::trace(&torch::Spec::parse(&text(&t)).unwrap(), 0.1, updates).unwrap();
            for (update, rate) in (0..).zip(rates) {
                let lr = schedule.lr(0.1, run.at(update));
                prop_assert!((lr - rate).abs() <= 1e-12 * 0.1, "{} at {}: {} and {}", text(&u), update, lr, rate);
            }
        }
    }

    #[test]
    fn combinators_obey_their_laws(
        [a, b, c] in prop::array::uniform3(prop::sample::select(EVERY)), s in 0_u64..120, d in 0_u64..60,
        update in 0_u64..200, low in 0.0..0.2, high in 0.0..0.2, k in 0.0..2.0,
    ) {
        let build = |text: &str| parse(text).build(&RUN).unwrap();
        let at = RUN.at(update);
        let lr = |schedule: &dyn Schedule| schedule.lr(0.1, at);
        macro_rules! same { ($left:expr, $right:expr) => { prop_assert_eq!(lr(&$left), lr(&$right)) } }
        let (a, b, c) = (|| build(a), || build(b), || build(c));
        same!(a().then(s, b()).then(s + d, c()), a().then(s, b().then(d, c())));
        same!(a().over(b()).over(c()), a().over(b().over(c())));
        same!(fixed().over(a()), a());
        same!(a().over(fixed()), a());
        same!(Compose::min(a(), b()), Compose::min(b(), a()));
        same!(Compose::min(Compose::min(a(), b()), c()), Compose::min(a(), Compose::min(b(), c())));
        same!(Compose::min(a(), a()), a());
        same!(Compose::max(a(), b()), Compose::max(b(), a()));
        same!(Compose::max(Compose::max(a(), b()), c()), Compose::max(a(), Compose::max(b(), c())));
        same!(Compose::max(a(), Compose::min(a(), b())), a());
        same!(a().plus(b()), b().plus(a()));
        prop_assert!(close(lr(&a().plus(a())), lr(&a().scale(2.0))));
        same!(a().above(0.0), a());
        same!(a().clamp(low, high), a().clamp(low, high).clamp(low, high));
        prop_assert!(lr(&a().clamp(low, high)) <= high && (low > high || lr(&a().clamp(low, high)) >= low));
        same!(a().scale(1.0), a());
        prop_assert!(close(lr(&a().scale(k).scale(high)), lr(&a().scale(k * high))));
        same!(a().delay(0), a());
        same!(a().delay(s).delay(d), a().delay(s + d));
        let later = RUN.at(update + s.max(1));
        prop_assert_eq!(lr(&a().repeat(s)), a().repeat(s).lr(0.1, later));
        if update < s {
            same!(a().repeat(s), a());
            same!(a().then(s, b()), a());
        }
    }

    /// A specification gives the same rates as the combinators.
    #[test]
    fn specifications_equal_combinators(update in 0_u64..150, s in 1_u64..90, k in 0.0..2.0) {
        let at = RUN.at(update);
        let build = |text: &str, updates| parse(text).build(&Horizon { updates, ..RUN }).unwrap();
        let check = |text: String, schedule: &dyn Schedule| {
            let found = parse(&text).build(&RUN).unwrap().lr(0.1, at);
            assert_eq!(found, schedule.lr(0.1, at), "{text}");
        };
        let of = "{ cosine = { eta_min = 0.01 } }";
        let cosine = |updates| build("cosine = { eta_min = 0.01 }", updates);
        check(format!("scale = {{ by = {k}, of = {of} }}"), &cosine(100).scale(k));
        check(format!("delay = {{ by = '{s} updates', of = {of} }}"), &cosine(100 - s).delay(s));
        check(format!("repeat = {{ period = '{s} updates', of = {of} }}"), &cosine(s).repeat(s));
        check(
            format!("sequential = {{ milestones = ['{s} updates'], schedulers = [{of}, {{ rex = {{}} }}] }}"),
            &cosine(s).then(s, build("rex", 100 - s)),
        );
        check(
            format!("chained = {{ schedulers = [{of}, {{ rex = {{}} }}] }}"),
            &build("rex", 100).over(cosine(100)),
        );
    }
}

/// A schedule has no state.
#[test]
fn rates_do_not_depend_on_the_order_of_calls() {
    for text in EVERY {
        let schedule = parse(text).build(&RUN).unwrap();
        let ask = |update| schedule.lr(0.1, RUN.at(update)).to_bits();
        let forward: Vec<u64> = (0..150).map(ask).collect();
        let mut back: Vec<u64> = (0..150).rev().map(ask).collect();
        back.reverse();
        assert_eq!(forward, back, "{text}");
        assert_eq!(Time { update: 3, epoch: 0.3 }, RUN.at(3));
    }
}

/// A schedule that is created again gives the same bits from any update on.
#[test]
fn schedules_resume_at_every_update() {
    for text in EVERY {
        let whole = parse(text).build(&RUN).unwrap();
        let all: Vec<u64> = (0..120).map(|update| whole.lr(0.1, RUN.at(update)).to_bits()).collect();
        for k in 0..120 {
            let resumed = parse(text).build(&RUN).unwrap();
            let rest: Vec<u64> = (k..120).map(|update| resumed.lr(0.1, RUN.at(update)).to_bits()).collect();
            assert_eq!(rest, all[k as usize..], "{text} from {k}");
        }
    }
}

fn known_names() -> Vec<String> {
    let schema = serde_json::to_value(schemars::schema_for!(ScheduleSpec)).unwrap();
    let variants = schema["oneOf"].as_array().unwrap().iter();
    // `lambda` needs a registered function and has a separate test.
    let names = variants.map(|variant| variant["required"][0].as_str().unwrap().to_owned());
    let mut names: Vec<String> = names.filter(|name| name != "lambda").collect();
    names.sort_unstable();
    names
}

/// `EVERY` contains every schedule.
#[test]
fn every_schedule_is_tested() {
    let mut names: Vec<_> = EVERY.iter().map(|text| parse(text).name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, known_names());
}

/// `EXAMPLES` contains every schedule.
#[test]
fn every_schedule_has_an_example() {
    use lrlab_schedulers::{EXAMPLES, plot_line};
    let mut names: Vec<_> = EXAMPLES.iter().map(|(_, text)| parse(text).name()).collect();
    names.sort_unstable();
    assert_eq!(names, known_names());
    for (_, text) in EXAMPLES {
        assert_eq!(plot_line(&rates(text, &(0..100).collect::<Vec<_>>()), 20).chars().count(), 20, "{text}");
    }
    assert_eq!(plot_line(&[0.0, 1.0, 2.0, 4.0, 8.0, 0.0], 6), "▁▂▃▅█▁");
}

/// The random specifications contain every schedule.
#[test]
fn random_specifications_include_every_schedule() {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let drawn: std::collections::BTreeSet<&str> =
        (0..3000).map(|_| common::spec().new_tree(&mut runner).unwrap().current().name()).collect();
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), known_names());
}

/// Without absolute rates, `one_cycle` and `cyclic` equal `OneCycleLR` and `CyclicLR` with the base rate as peak. The phases of
/// `OneCycleLR` end at `pct_start · total_steps − 1` and `total_steps − 1`.
#[test]
fn one_cycle_and_cyclic_peak_at_the_base_rate() {
    let run = Horizon { updates: 50, updates_per_epoch: 10 };
    let relative = |text: &str| trace(text, 0.3, &run, Compat::Lrlab).unwrap();
    let torch = |text: &str| trace(text, 0.7, &run, Compat::Torch).unwrap();
    let same = |ours: &[f64], torch: &[f64]| {
        assert_eq!(ours.len(), torch.len());
        for (update, (ours, torch)) in ours.iter().zip(torch).enumerate() {
            assert!(
                (ours - torch).abs() <= 1e-15 + 1e-12 * torch,
                "update {update}: {ours}, PyTorch {torch}"
            );
        }
    };
    let share = (0.3 * 50.0 - 1.0) / 49.0;
    for shape in ["cos", "linear"] {
        let ours = relative(&format!(
            "one_cycle = {{ total_steps = '49 updates', pct_start = {share}, anneal_strategy = '{shape}' }}"
        ));
        same(
            &ours,
            &torch(&format!("one_cycle = {{ max_lr = 0.3, total_steps = 50, anneal_strategy = '{shape}' }}")),
        );
        assert_eq!(ours[14], 0.3);
    }
    for mode in ["triangular", "triangular2", "exp_range"] {
        let more = format!("mode = '{mode}', gamma = 0.97");
        let ours = relative(&format!("cyclic = {{ step_size_up = '7 updates', {more} }}"));
        same(
            &ours,
            &torch(&format!(
                "cyclic = {{ base_lr = 0.03, max_lr = 0.3, step_size_up = 7, cycle_momentum = false, {more} }}"
            )),
        );
    }
    // With an absolute peak, the base rate has no effect. Both forms are equal if the peak is the base rate.
    for (own, without) in [
        ("one_cycle = { max_lr = 0.3 }", "one_cycle"),
        (
            "cyclic = { base_lr = 0.15, max_lr = 0.3, step_size_up = '9%' }",
            "cyclic = { base_factor = 0.5, step_size_up = '9%' }",
        ),
    ] {
        assert_eq!(trace(own, 0.7, &run, Compat::Lrlab).unwrap(), relative(without));
        assert!(!ScheduleSpec::parse(own).unwrap().reads_base());
        assert!(ScheduleSpec::parse(without).unwrap().reads_base());
    }
}

/// The reference is the recursion of `torch.optim.swa_utils.SWALR` after a `LambdaLR` that halves the rate in each epoch. The
/// transition starts at the rate of `start`.
#[test]
fn swa_equals_swalr_of_pytorch() {
    let run = Horizon { updates: 12, updates_per_epoch: 1 };
    for (strategy, alpha) in
        [("cos", (|t| (1.0 - (std::f64::consts::PI * t).cos()) / 2.0) as fn(f64) -> f64), ("linear", |t| t)]
    {
        for anneal in [0_u32, 1, 4, 20] {
            let text = format!(
                "swa = {{ swa_lr = 0.05, start = '5 epochs', anneal = '{anneal} epochs', anneal_strategy = '{strategy}', \
                 of = {{ exponential = {{ gamma = 0.5 }} }} }}"
            );
            let ours = trace(&text, 0.8, &run, Compat::Lrlab).unwrap();
            let share = |step: f64| alpha((step / f64::from(anneal.max(1))).clamp(0.0, 1.0));
            let mut lr = 0.8;
            for (epoch, ours) in ours.iter().enumerate() {
                if epoch > 0 && epoch <= 5 {
                    lr *= 0.5;
                } else if epoch > 5 {
                    // `SWALR.get_lr` at step `epoch − 5`.
                    let step = (epoch - 5) as f64;
                    let before = share(step - 1.0);
                    let initial = if before == 1.0 { 0.05 } else { (lr - before * 0.05) / (1.0 - before) };
                    let now = share(step);
                    lr = 0.05 * now + initial * (1.0 - now);
                }
                // Without a transition, creating `SWALR` changes the rate.
                let torch = if anneal == 0 && epoch == 5 { 0.05 } else { lr };
                assert!((ours - torch).abs() < 1e-12, "{text}, epoch {epoch}: {ours}, PyTorch {torch}");
            }
        }
    }
}
