//! Phases, names, monitored metrics and state of a collection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{Script, Sim, play};
use lrlab_callbacks::{
    Action, Callback, Callbacks, Context, EarlyStopping, EarlyStoppingConfig, Error, Hook, Phase, Timer,
};
use std::time::Duration;

/// Requests an action in each of the given phases, with a tag that names the phase.
struct Requests(&'static str, &'static [Phase]);

impl Callback for Requests {
    fn name(&self) -> &str {
        self.0
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let due = self.1.contains(&phase) && matches!(context.hook, Hook::EpochEnd(_)) && context.epoch == 1;
        Ok(if due { vec![Action::Save { tag: format!("{} {phase:?}", self.0) }] } else { Vec::new() })
    }
}

/// Monitors a metric, which may not exist.
struct Watches(&'static str);

impl Callback for Watches {
    fn name(&self) -> &'static str {
        "watches"
    }
    fn monitors(&self) -> Vec<&str> {
        vec![self.0]
    }
    fn on(&mut self, _: Phase, _: &Context<'_>) -> Result<Vec<Action>, Error> {
        Ok(Vec::new())
    }
}

#[test]
fn phases_take_precedence_over_the_order_of_callbacks() {
    let callbacks = Callbacks::default()
        .with(Requests("a", &[Phase::Report, Phase::Snapshot]))
        .with(Requests("b", &[Phase::Measure, Phase::Snapshot]))
        .with(Requests("c", &[Phase::Control, Phase::Keep]));
    let (sim, _) = play(&Script::default(), callbacks);
    assert_eq!(
        sim.words(),
        [
            "3 save b Measure",
            "3 save c Keep",
            "3 save c Control",
            "3 save a Snapshot",
            "3 save b Snapshot",
            "3 save a Report"
        ]
    );
}

#[test]
fn invalid_collections_fail_at_the_start() {
    for (callbacks, expected) in [
        (
            Callbacks::default().with(Watches("val_los")),
            "watches monitors \"val_los\", which is not a metric; expected one of lr_first, lr, train_loss, \
             train_accuracy, val_loss, val_loss_stderr, val_accuracy, val_f1, val_precision, val_recall, \
             val_ece, grad_norm, or \"min:NAME\" or \"max:NAME\" for one of `EpochMetrics::extra`",
        ),
        (
            Callbacks::default().with(Watches("lr")).with(Requests("a", &[])).with(Watches("val_loss")),
            "watches: two callbacks have this name: watches, a, watches",
        ),
    ] {
        let mut callbacks = callbacks;
        let error = Sim::new(Script::default()).start(&mut callbacks).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(Sim::new(Script::default()).start(&mut Callbacks::default().with(Watches("val_f1"))).is_ok());
}

#[test]
fn states_are_restored_by_name_and_unknown_ones_are_errors() {
    let stopping = || EarlyStopping::new(EarlyStoppingConfig::default()).unwrap();
    let (_, callbacks) = play(&Script::default(), Callbacks::default().with(stopping()));
    let state = callbacks.state();
    assert_eq!(state.as_object().unwrap().keys().collect::<Vec<_>>(), ["early_stopping"]);

    // The order and additional callbacks do not matter.
    let timer = Timer::new(Duration::from_secs(9));
    let mut more = Callbacks::new(vec![Box::new(timer.clone()), Box::new(stopping())]);
    more.restore(state.clone()).unwrap();
    assert_eq!(more.state(), state);
    assert_eq!(more.get::<EarlyStopping>().unwrap().best(), Some((0.125, 8)));
    assert!(more.get::<Requests>().is_none());

    // A state without a callback is an error.
    let error = Callbacks::default().with(timer).restore(state).unwrap_err();
    assert_eq!(error.to_string(), "early_stopping: has a saved state but is not among the callbacks: timer");
    let wrong = serde_json::json!({ "early_stopping": { "best": "low" } });
    assert!(matches!(more.restore(wrong), Err(Error::State { .. })));
}
