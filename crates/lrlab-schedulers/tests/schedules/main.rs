//! Rates of schedules, properties of all schedules, and laws of combinators.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod combinators;
mod common;
mod lints;
mod peers;
mod pytorch;
mod rates;
mod restarts;
mod specs;

use common::{EVERY, parse};
use lrlab_schedulers::{Horizon, ScheduleSpec, Time};
use proptest::prelude::*;

const RUN: Horizon = Horizon { updates: 100, updates_per_epoch: 10 };

fn rates(text: &str, updates: &[u64]) -> Vec<f64> {
    let schedule = parse(text).build(&RUN).unwrap();
    updates.iter().map(|&update| schedule.lr(0.1, RUN.at(update))).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()) + 1e-17
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

#[test]
fn relative_times_have_whole_epochs() {
    // Whole epochs after a start within an epoch are not rounded down.
    for (updates_per_epoch, start) in [(391, 500), (352, 500), (97, 13), (7, 5), (1, 3)] {
        let run = Horizon { updates: 1_000_000, updates_per_epoch };
        for epoch in 0..300 {
            let since = run.at(start + epoch * updates_per_epoch).since(start);
            assert_eq!(since, run.at(epoch * updates_per_epoch), "{updates_per_epoch} {start}");
        }
    }
    // Of a time that no whole number of updates explains, the share is kept.
    assert_eq!(Time { update: 4, epoch: 3.0 }.since(2), Time { update: 2, epoch: 1.5 });
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
