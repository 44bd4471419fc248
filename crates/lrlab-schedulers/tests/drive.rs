//! `Rates` and `Driver`.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::sync::Arc;

use lrlab_schedulers::{Compose, Driver, Horizon, Hyper, Rates, Schedule, ScheduleSpec};

const RUN: Horizon = Horizon { updates: 40, updates_per_epoch: 10 };

fn build(text: &str) -> Box<dyn Schedule> {
    ScheduleSpec::parse(text).unwrap().build(&RUN).unwrap()
}

/// The rates are those of the schedule times the gain, and the number of updates restores them.
#[test]
fn rates_continue_from_any_update() {
    let all: Vec<f64> = Rates::new(build("cosine"), 0.1, RUN).collect();
    assert_eq!(all.len(), 40);
    for k in 0..=40 {
        let mut rates = Rates::new(build("cosine"), 0.1, RUN);
        rates.seek(k);
        assert_eq!((rates.update(), rates.collect::<Vec<_>>().as_slice()), (k, &all[k as usize..]));
    }
    let mut rates = Rates::new(build("cosine"), 0.1, RUN);
    rates.nth(9);
    rates.set_gain(0.5);
    assert_eq!((rates.peek(), rates.next(), rates.update()), (all[10] * 0.5, Some(all[10] * 0.5), 11));
}

#[test]
fn the_driver_supports_groups_and_hyperparameters() {
    let momentum = "one_cycle = { max_lr = 0.95, div_factor = 1.1, final_div_factor = 1 }";
    let driver = Driver::default()
        .drive("backbone", Hyper::Lr, 0.01, build("linear_to_zero"))
        .drive("head", Hyper::Lr, 0.1, build("static"))
        .drive("head", Hyper::Momentum, 1.0, build(momentum))
        .drive("head", Hyper::Other("dropout".to_owned()), 0.5, build("linear_to_zero"))
        // Replaces an existing schedule.
        .drive("head", Hyper::Lr, 0.1, build("linear_to_zero"));
    let mut set = Vec::new();
    driver.apply(RUN.at(20), |group, hyper, value| set.push((group.to_owned(), hyper.clone(), value)));
    assert_eq!(set.len(), 4);
    assert_eq!(set[0], ("backbone".to_owned(), Hyper::Lr, 0.005));
    assert_eq!(set[1], ("head".to_owned(), Hyper::Lr, 0.05));
    assert_eq!(set[3], ("head".to_owned(), Hyper::Other("dropout".to_owned()), 0.25));
    for (group, hyper, value) in &set {
        assert_eq!(driver.value(group, hyper, RUN.at(20)), Some(*value));
    }
    assert_eq!(driver.value("head", &Hyper::Momentum, RUN.at(12)), Some(0.95));
    assert_eq!(driver.value("head", &Hyper::Beta2, RUN.at(12)), None);
    assert_eq!(driver.value("neck", &Hyper::Lr, RUN.at(12)), None);
}

/// Groups share one schedule that is built once, as an `Arc` or a reference, with or without combinators.
#[test]
fn groups_share_a_schedule() {
    let text = "cosine_warm_restarts = { t_0 = '1 epoch', limit = 3 }";
    let shared: Arc<dyn Schedule> = build(text).into();
    let driver = Driver::default()
        .drive("backbone", Hyper::Lr, 0.01, Arc::clone(&shared))
        .drive("head", Hyper::Lr, 0.1, Arc::clone(&shared))
        .drive("head", Hyper::WeightDecay, 1e-4, Arc::clone(&shared).scale(0.5));
    assert_eq!(Arc::strong_count(&shared), 4);
    let own = build(text);
    for update in 0..RUN.updates {
        let at = RUN.at(update);
        for (group, base) in [("backbone", 0.01), ("head", 0.1)] {
            assert_eq!(driver.value(group, &Hyper::Lr, at), Some(own.lr(base, at)));
        }
        assert_eq!(driver.value("head", &Hyper::WeightDecay, at), Some(own.lr(1e-4, at) * 0.5));
    }
    let mut groups = [0.01, 0.1].map(|base| Rates::new(&*shared, base, RUN));
    assert_eq!(
        groups.each_mut().map(|rates| rates.nth(13)),
        [0.01, 0.1].map(|base| Some(own.lr(base, RUN.at(13))))
    );
    assert_eq!((&shared).scale(0.5).marks(), own.marks());
    assert_eq!(own.marks().len(), 3);
}
