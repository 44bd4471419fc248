//! Callbacks that change the rate or end a run: monitor, early stopping, guard, timer, sham control, range test. Each test
//! also resumes the run after every event.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod early_stopping;

use std::time::Duration;

use common::{Script, play, resumes_after_every_event, val_loss};
use lrlab_callbacks::{
    Action, Callbacks, DivergenceConfig, DivergenceGuard, EarlyStopping, EarlyStoppingConfig, Error,
    GainPolicy, NoSuggestion, OnDivergence, RangeTest, RangeTestConfig, ShamControl, Timer,
    ValidationLossMonitor,
};
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::{Controlled, Controller, ControllerSpec, Decision, Observation, OnNan, Plateau};

fn monitor(plateau: Plateau) -> ValidationLossMonitor {
    ValidationLossMonitor::new(ControllerSpec::from(plateau).build().unwrap(), "val_loss").unwrap()
}

fn plateau() -> Plateau {
    Plateau { factor: 0.5, patience: 1, ..Plateau::default() }
}

/// The best epoch is 2.
fn overfits(epoch: u64) -> EpochMetrics {
    val_loss(epoch, [0.7, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85][epoch as usize - 1])
}

#[test]
fn the_monitor_applies_the_decisions_of_its_controller() {
    let script = Script { metrics: overfits, ..Script::default() };
    let (sim, callbacks) =
        resumes_after_every_event(&script, || Callbacks::default().with(monitor(plateau())));
    assert_eq!(
        sim.words(),
        [
            "0 save monitor-best",
            "3 save monitor-best",
            "6 save monitor-best",
            "12 gain 0.5",
            "18 gain 0.25",
            "24 gain 0.125"
        ]
    );
    assert_eq!(callbacks.get::<ValidationLossMonitor>().unwrap().gain(), 0.125);
    let decision = &sim.decisions[0];
    assert_eq!((decision.update, decision.epoch, decision.source.as_str()), (12, 4, "monitor"));
    assert_eq!((decision.metric.as_str(), decision.value), ("val_loss", Some(0.65)));
    assert_eq!((decision.lr_before, decision.lr_after), (Some(0.1), Some(0.05)));
    // The cut of epoch 4 holds from update 13 on.
    assert!((sim.weight - (12.0 * 0.1 + 6.0 * 0.05 + 6.0 * 0.025)).abs() < 1e-12);
}

#[test]
fn the_monitor_rewinds_to_the_best_epoch_or_the_start() {
    let script = Script { metrics: overfits, epochs: 4, ..Script::default() };
    let make = || Callbacks::default().with(monitor(Plateau { rewind: true, ..plateau() }));
    let (sim, _) = resumes_after_every_event(&script, make);
    assert_eq!(sim.words()[3..], ["12 rewind monitor-best", "12 gain 0.5"]);
    assert!((sim.weight - 6.0 * 0.1).abs() < 1e-12, "weights of epoch 2");

    let script = Script { metrics: |epoch| val_loss(epoch, f64::NAN), epochs: 1, ..Script::default() };
    let make = || Callbacks::default().with(monitor(Plateau { on_nan: OnNan::Rewind, ..plateau() }));
    let (sim, _) = resumes_after_every_event(&script, make);
    assert_eq!(sim.words(), ["0 save monitor-best", "3 rewind monitor-best", "3 gain 0.5"]);
    assert_eq!(sim.weight, 0.0);
}

#[test]
fn the_gains_of_two_monitors_are_multiplied() {
    let script = Script { metrics: overfits, ..Script::default() };
    let make = || Callbacks::default().with(monitor(plateau())).with(monitor(plateau()).named("second"));
    let (sim, _) = resumes_after_every_event(&script, make);
    assert_eq!(sim.gain(), 0.125 * 0.125);
}

/// The restart replaces the decision of the same epoch, also one that would have raised the gain to 1.
#[test]
fn a_reset_replaces_a_raise_to_one() {
    // Greedy cuts after epoch 2 and raises after epoch 3, with which the cycle ends.
    let script = Script {
        metrics: |epoch| val_loss(epoch, [0.7, 0.8, 0.6, 0.5][epoch as usize - 1]),
        epochs: 4,
        restarts: vec![9],
        ..Script::default()
    };
    for text in [
        "greedy = { factor = 0.5, patience = 0, max_gain = 1 }",
        "scripted = { gains = [[2, 0.5], [3, 1.0]] }",
    ] {
        let make = || {
            let controller = ControllerSpec::parse(text).unwrap().build().unwrap();
            let monitor = ValidationLossMonitor::new(controller, "val_loss").unwrap();
            Callbacks::default().with(monitor.at_restart(GainPolicy::ResetAtRestart))
        };
        let (sim, callbacks) = resumes_after_every_event(&script, make);
        assert!(sim.words().contains(&"6 gain 0.5".to_owned()), "{text}: {:?}", sim.words());
        assert!(sim.words().contains(&"9 gain 1".to_owned()), "{text}: {:?}", sim.words());
        let monitor = callbacks.get::<ValidationLossMonitor>().unwrap();
        assert_eq!((sim.gain(), monitor.gain()), (1.0, 1.0), "{text}");
    }
}

#[test]
fn a_warm_restart_may_reset_the_monitor() {
    // Restarts at the end of epoch 4, where a cut is due, and in the middle of epoch 7, after the cut of epoch 6.
    let script = Script { metrics: overfits, restarts: vec![12, 20], ..Script::default() };
    for (policy, expected) in [
        (GainPolicy::Keep, vec!["12 gain 0.5", "18 gain 0.25", "24 gain 0.125"]),
        // The restart replaces the cut, and the gain is 1 as before.
        (GainPolicy::ResetAtRestart, vec![]),
    ] {
        let make = || Callbacks::default().with(monitor(plateau()).at_restart(policy));
        let (sim, _) = resumes_after_every_event(&script, make);
        let gains: Vec<_> = sim.words().into_iter().filter(|w| w.contains("gain")).collect();
        assert_eq!(gains, expected, "{policy:?}");
    }
    let script = Script { restarts: vec![14, 20], ..script };
    let make = || Callbacks::default().with(monitor(plateau()).at_restart(GainPolicy::ResetAtRestart));
    let (sim, _) = resumes_after_every_event(&script, make);
    let gains: Vec<_> = sim.words().into_iter().filter(|w| w.contains("gain")).collect();
    assert_eq!(gains, ["12 gain 0.5", "14 gain 1"]);
}

/// Sets the observed value as the gain, with the standard error as the reason.
#[derive(Debug)]
struct Echo;
impl Controller for Echo {
    type State = u64;
    fn init(&self) -> u64 {
        0
    }
    fn observe(&self, state: &mut u64, seen: &Observation) -> Decision {
        *state += 1;
        if *state == 3 {
            return Decision::Stop { reason: "enough".to_owned() };
        }
        Decision::Gain { gain: seen.value, reason: format!("{:?}", seen.stderr) }
    }
}

#[test]
fn the_monitor_accepts_any_controller_and_metric() {
    let script = Script {
        metrics: |epoch| EpochMetrics { val_f1: Some(0.25), ..val_loss(epoch, 0.5) },
        ..Script::default()
    };
    for (metric, gain, stderr) in [("val_loss", 0.5, "Some(0.01)"), ("val_f1", 0.25, "None")] {
        let make = || {
            let monitor = ValidationLossMonitor::new(Box::new(Controlled::new(Echo)), metric);
            Callbacks::default().with(monitor.unwrap())
        };
        let (sim, _) = resumes_after_every_event(&script, make);
        let seen: Vec<_> = sim.decisions.iter().map(|d| (d.gain, d.reason.as_str())).collect();
        // A decision that leaves the gain as it is changes nothing.
        assert_eq!(seen, [(gain, stderr), (gain, "enough")]);
        assert_eq!((sim.ended, sim.epoch), (Some("stopped"), 3));
    }
    for (metric, words) in [
        ("val_los", "monitors \"val_los\", which is not a metric; expected one of "),
        ("lr", "\"lr\" has no better direction, so it cannot be monitored"),
    ] {
        let error = ValidationLossMonitor::new(Box::new(Controlled::new(Echo)), metric).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn guard(config: DivergenceConfig) -> Callbacks {
    Callbacks::default().with(DivergenceGuard::new(config).unwrap())
}

#[test]
fn the_guard_detects_nan_and_explosion() {
    let nan: fn(u64) -> f64 = |update| if update == 8 { f64::NAN } else { 1.0 };
    let spike: fn(u64) -> f64 = |update| if update == 5 || update >= 8 { 4.5 } else { 1.0 };
    let rewind = OnDivergence::Rewind { factor: 0.5, limit: 1 };
    let cut = OnDivergence::Cut { factor: 0.5, limit: 1 };
    let sane = "divergence_guard-sane";
    let saves = |updates: &[u64]| updates.iter().map(|u| format!("{u} save {sane}")).collect::<Vec<_>>();
    let actions = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rewound = format!("8 rewind {sane}");
    for (what, loss, explosion, patience, action, expected) in [
        ("NaN", nan, None, 1, OnDivergence::Diverge, actions(&["8 diverge"])),
        ("NaN stops", nan, None, 1, OnDivergence::Stop, actions(&["8 stop"])),
        ("a cut does not help against NaN", nan, None, 1, cut, actions(&["8 diverge"])),
        (
            "NaN rewinds",
            nan,
            None,
            1,
            rewind,
            [saves(&[0, 3, 6]), actions(&[&rewound, "8 gain 0.5"]), saves(&[9, 12])].concat(),
        ),
        ("spikes without an explosion factor", spike, None, 1, OnDivergence::Diverge, actions(&[])),
        ("first spike", spike, Some(4.0), 1, OnDivergence::Diverge, actions(&["5 diverge"])),
        ("patience", spike, Some(4.0), 2, OnDivergence::Diverge, actions(&["9 diverge"])),
        ("below", spike, Some(5.0), 1, OnDivergence::Diverge, actions(&[])),
        ("one cut, then divergence", spike, Some(4.0), 1, cut, actions(&["5 gain 0.5", "8 diverge"])),
    ] {
        let script = Script { loss, epochs: 4, ..Script::default() };
        let config = DivergenceConfig { explosion, patience, action };
        let (sim, _) = resumes_after_every_event(&script, || guard(config.clone()));
        assert_eq!(sim.words(), expected, "{what}");
    }
    // If the last update of an epoch makes the weights NaN, only the validation loss of the epoch shows it.
    let spoiled = Script {
        epochs: 4,
        metrics: |epoch| val_loss(epoch, if epoch == 2 || epoch == 4 { f64::NAN } else { 1.0 }),
        ..Script::default()
    };
    let back = [saves(&[0, 3]), actions(&[&format!("6 rewind {sane}"), "6 gain 0.5"]), saves(&[9])].concat();
    for (action, expected) in [(rewind, back), (cut, actions(&[])), (OnDivergence::Diverge, actions(&[]))] {
        let config = DivergenceConfig { action, ..DivergenceConfig::default() };
        let (sim, _) = resumes_after_every_event(&spoiled, || guard(config.clone()));
        assert_eq!(sim.words(), expected, "{action:?}");
        assert_eq!((sim.update, sim.epoch), (12, 4), "{action:?}");
        let reasons: Vec<_> = sim.decisions.iter().map(|decision| decision.reason.as_str()).collect();
        assert!(
            reasons.iter().all(|reason| reason.ends_with("at update 6: validation loss is NaN")),
            "{reasons:?}"
        );
    }
    for (explosion, action, words) in [
        (Some(1.0), OnDivergence::Stop, "explosion is 1, expected a number above 1"),
        (Some(f64::NAN), OnDivergence::Stop, "explosion is NaN, expected a number above 1"),
        (None, OnDivergence::Cut { factor: 1.0, limit: 1 }, "factor is 1, expected a number between 0 and 1"),
        (
            None,
            OnDivergence::Rewind { factor: 0.0, limit: 1 },
            "factor is 0, expected a number between 0 and 1",
        ),
    ] {
        let error = DivergenceGuard::new(DivergenceConfig { explosion, patience: 1, action }).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_timer_waits_for_the_metrics_of_the_epoch() {
    // The simulated clock is one second per update.
    for (budget, expected) in [(7, Some((7, 2))), (6, Some((6, 2))), (24, None), (99, None)] {
        let make = || Callbacks::default().with(Timer::new(Duration::from_secs(budget)));
        let (sim, _) = resumes_after_every_event(&Script::default(), make);
        assert_eq!(sim.ended.map(|_| (sim.update, sim.epoch)), expected, "{budget} s");
    }
}

/// Without a validation loss, only the next update shows whether the weights at the end of an epoch are sane.
#[test]
fn the_guard_keeps_sane_weights_until_later_ones_are_confirmed() {
    let action = OnDivergence::Rewind { factor: 0.5, limit: 3 };
    for (patience, loss, expected) in [
        (1, (|update| if update == 7 { f64::NAN } else { 1.0 }) as fn(u64) -> f64, "7 rewind 2, 7 gain 0.5"),
        // The loss with the weights after update 6 is beyond the bound, but not for long enough.
        (2, |update| if update == 7 { 9.0 } else { 1.0 }, ""),
        (2, |update| if update == 7 || update == 8 { 9.0 } else { 1.0 }, "8 rewind 2, 8 gain 0.5"),
    ] {
        let script = Script {
            loss,
            epochs: 4,
            metrics: |epoch| EpochMetrics { val_loss: None, ..val_loss(epoch, 1.0) },
            ..Script::default()
        };
        let config = DivergenceConfig { explosion: Some(4.0), patience, action };
        let (sim, _) = resumes_after_every_event(&script, || guard(config.clone()));
        let words = sim.words().join(", ").replace("divergence_guard-sane-2", "2");
        let words = words.replace("divergence_guard-sane", "1");
        let expected = ["0 save 1, 3 save 2, 6 save 1", expected, "9 save 1, 12 save 2"];
        let expected: Vec<&str> = expected.into_iter().filter(|part| !part.is_empty()).collect();
        assert_eq!(words, expected.join(", "), "{patience}");
    }
}

/// A decision has the gain of its source.
#[test]
fn sham_control_multiplies_the_gains_of_several_sources() {
    let script = Script {
        metrics: overfits,
        loss: |update| if update == 5 || update == 17 { 4.5 } else { 1.0 },
        ..Script::default()
    };
    let action = OnDivergence::Cut { factor: 0.7, limit: 9 };
    let watch = DivergenceConfig { explosion: Some(4.0), action, ..DivergenceConfig::default() };
    let real = guard(watch).with(monitor(plateau()));
    let (real, _) = play(&script, real);
    assert!(real.gain() < 0.7 * 0.7 * 0.5 + 1e-9 && real.decisions.len() >= 4, "{:?}", real.decisions);
    let make = || Callbacks::default().with(ShamControl::new(&real.decisions));
    let (sham, _) = resumes_after_every_event(&Script::default(), make);
    let rates = |decisions: &[lrlab_runs::Decision]| {
        decisions.iter().map(|d| (d.update, d.epoch, d.lr_after.map(f64::to_bits))).collect::<Vec<_>>()
    };
    assert_eq!(rates(&sham.decisions), rates(&real.decisions));
    // The state of a longer recording does not panic.
    let mut longer = Callbacks::default().with(ShamControl::new(&real.decisions[..1]));
    longer.restore(play(&Script::default(), make()).1.state()).unwrap();
    play(&Script::default(), longer);
}

#[test]
fn sham_control_replays_the_rates_of_another_run() {
    let script = Script { metrics: overfits, ..Script::default() };
    let stop = EarlyStoppingConfig { patience: 5, ..EarlyStoppingConfig::default() };
    let real = Callbacks::default()
        .with(monitor(Plateau { rewind: true, ..plateau() }))
        .with(EarlyStopping::new(stop).unwrap());
    let (real, _) = play(&script, real);
    assert_eq!((real.epoch, real.decisions.len()), (7, 5));

    // The metrics of the replaying run improve in every epoch and have no effect.
    let make = || Callbacks::default().with(ShamControl::new(&real.decisions));
    let (sham, _) = resumes_after_every_event(&Script::default(), make);
    let rates = |decisions: &[lrlab_runs::Decision]| {
        let kept = decisions.iter().filter(|d| d.kind != lrlab_runs::DecisionKind::Rewind);
        kept.map(|d| (d.update, d.epoch, d.kind, d.lr_after.map(f64::to_bits))).collect::<Vec<_>>()
    };
    assert_eq!(rates(&sham.decisions), rates(&real.decisions));
    assert_eq!((sham.ended, sham.update, sham.epoch), (real.ended, real.update, real.epoch));
    assert!(sham.kept.is_empty());
}

#[test]
fn the_range_test_sweeps_and_suggests() {
    // 41 rates from 1e-4 to 1: the loss falls along a logistic curve around update 21 (rate 1e-2), then explodes.
    let config = RangeTestConfig { min_lr: 1e-4, max_lr: 1.0, updates: 41, smoothing: 0.0, divergence: 4.0 };
    let script = Script {
        epochs: 20,
        loss: |update| match update {
            36.. => 5.0,
            _ => 1.0 / (1.0 + ((update as f64 - 21.0) / 3.0).exp()) + 0.5,
        },
        ..Script::default()
    };
    let make = || Callbacks::default().with(RangeTest::new(config.clone()).unwrap());
    let (sim, callbacks) = resumes_after_every_event(&script, make);
    assert_eq!((sim.ended, sim.update), (Some("stopped"), 36));
    let found = callbacks.get::<RangeTest>().unwrap();
    for (i, &(lr, _)) in found.points().iter().enumerate() {
        let expected = 1e-4 * 10f64.powf(i as f64 / 10.0);
        assert!((lr / expected - 1.0).abs() < 1e-12, "update {i}: {lr} against {expected}");
    }
    let suggested = found.suggestion().unwrap();
    assert!((suggested.lr / 1e-2).log10().abs() < 0.11 && suggested.lowest_loss < 0.55, "{suggested:?}");

    // Without divergence the sweep ends after its updates. A loss that only rises gives no suggestion.
    let script = Script { loss: |update| 1.0 + update as f64 * 1e-3, ..script };
    let smooth = RangeTestConfig { smoothing: 0.98, ..config.clone() };
    let make = || Callbacks::default().with(RangeTest::new(smooth.clone()).unwrap());
    let (sim, callbacks) = resumes_after_every_event(&script, make);
    assert_eq!((sim.ended, sim.update), (Some("stopped"), 41));
    let found = callbacks.get::<RangeTest>().unwrap();
    assert!(matches!(found.suggestion(), Err(NoSuggestion::Rises { .. })));
    // The bias of the moving average is corrected, so the first smoothed loss is the first loss.
    assert!((found.points()[0].1 - 1.001).abs() < 1e-12);

    // NaN ends the sweep.
    let script = Script { loss: |update| if update == 4 { f64::NAN } else { 1.0 }, ..script };
    let (sim, _) = resumes_after_every_event(&script, make);
    assert_eq!((sim.ended, sim.update), (Some("stopped"), 4));
    for (bad, words) in [
        (
            RangeTestConfig { min_lr: 0.0, ..config.clone() },
            "min_lr < max_lr, both finite, found min_lr = 0e0",
        ),
        (RangeTestConfig { max_lr: f64::INFINITY, ..config.clone() }, "max_lr = inf"),
        (
            RangeTestConfig { max_lr: 1e31, ..config.clone() },
            "from 1e-30 to 1e30, found min_lr = 1e-4 and max_lr = 1e31",
        ),
        (RangeTestConfig { min_lr: 1e-320, ..config.clone() }, "from 1e-30 to 1e30, found min_lr = 1e-320"),
        (RangeTestConfig { updates: 1, ..config.clone() }, "expected updates above 1, found 1"),
        (
            RangeTestConfig { smoothing: 1.0, ..config.clone() },
            "expected smoothing from 0 to below 1, found 1",
        ),
        (RangeTestConfig { divergence: f64::NAN, ..config }, "expected divergence above 1, found NaN"),
    ] {
        let text = RangeTest::new(bad).unwrap_err().to_string();
        assert!(text.starts_with("range_test: ") && text.contains(words) && !text.contains('{'), "{text}");
    }
    // A gain cannot change a rate of 0.
    let mut callbacks = make();
    let mut sim = common::Sim::new(Script { lr: 0.0, ..Script::default() });
    assert!(matches!(sim.start(&mut callbacks), Err(Error::Config { .. })));
}

/// The loss falls below 0, like the negative log-likelihood of a density, and explodes there.
#[test]
fn the_range_test_accepts_negative_losses() {
    for (loss, ends) in [
        ((|update| -1.0 - update as f64 / 10.0) as fn(u64) -> f64, 41),
        (|update| if update < 30 { 1.0 - update as f64 / 10.0 } else { update as f64 - 26.0 }, 30),
        (|update| if update < 30 { -2.0 } else { update as f64 - 26.5 }, 31),
        (|_| 0.0, 41),
    ] {
        let config = RangeTestConfig { min_lr: 1e-4, updates: 41, smoothing: 0.0, ..Default::default() };
        let script = Script { epochs: 20, loss, ..Script::default() };
        let make = || Callbacks::default().with(RangeTest::new(config.clone()).unwrap());
        let (sim, _) = resumes_after_every_event(&script, make);
        assert_eq!((sim.ended, sim.update), (Some("stopped"), ends), "{:?}", sim.decisions.last());
    }
}

#[test]
fn the_reason_of_a_divergence_names_the_loss() {
    let script = Script { metrics: overfits, loss: |_| f64::INFINITY, ..Script::default() };
    let (sim, _) = play(&script, guard(DivergenceConfig::default()));
    let [(_, _, _, Action::Diverge { reason })] = &sim.log[..] else { panic!("{:?}", sim.log) };
    assert_eq!(reason, "diverged at update 1: loss is inf");
}
