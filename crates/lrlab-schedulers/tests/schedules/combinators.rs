//! Noise, sums, floors and warm-ups, and the laws of combinators.

use lrlab_schedulers::{Compose, Horizon, Schedule, ScheduleSpec, fixed};
use proptest::prelude::*;

use crate::common::{EVERY, parse};
use crate::{RUN, close, rates};

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

/// Of 64 draws none may be within the limit; then there is no noise.
#[test]
fn noise_is_drawn_a_limited_number_of_times() {
    let without_noise = |std: f64, limit: f64| {
        let text = format!("noise = {{ std = {std:e}, limit = {limit}, of = {{ static = {{}} }} }}");
        let found = rates(&text, &(0..5000).collect::<Vec<_>>());
        found.iter().filter(|&&lr| lr == 0.1).count() as f64 / 5000.0
    };
    // A draw is within the limit with a probability of about limit / std · √(2 / π), except if std is small.
    for (std, limit) in [(30.0, 0.67), (100.0, 0.67), (40.0, 1.0)] {
        let expected = (1.0 - limit / std * (2.0 / std::f64::consts::PI).sqrt()).powi(64);
        let found = without_noise(std, limit);
        assert!((found - expected).abs() < 0.025, "{found} of std {std}, not {expected}");
    }
    assert_eq!(without_noise(1.0, 0.67), 0.0);
    assert_eq!(without_noise(1e30, 0.1), 1.0);
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

proptest! {
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
