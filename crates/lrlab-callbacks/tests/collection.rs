//! Phases, names, monitors and state of the collection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use common::{Script, Sim, play};
use lrlab_callbacks::{
    Action, Callback, Callbacks, Context, EarlyStopping, EarlyStoppingConfig, Error, Hook, Phase, Timer,
};
use std::time::Duration;

/// Asks in every phase it is told to, for a tag that says where.
struct Asks(&'static str, &'static [Phase]);

impl Callback for Asks {
    fn name(&self) -> &str {
        self.0
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let asks = self.1.contains(&phase) && matches!(context.hook, Hook::EpochEnd(_)) && context.epoch == 1;
        Ok(if asks { vec![Action::Save { tag: format!("{} {phase:?}", self.0) }] } else { Vec::new() })
    }
}

/// Watches a metric that may not be one.
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
fn phases_go_before_the_order_of_the_list() {
    let callbacks = Callbacks::default()
        .with(Asks("a", &[Phase::Report, Phase::Snapshot]))
        .with(Asks("b", &[Phase::Measure, Phase::Snapshot]))
        .with(Asks("c", &[Phase::Control, Phase::Keep]));
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
fn bad_collections_fail_at_the_start() {
    for (callbacks, expected) in [
        (
            Callbacks::default().with(Watches("val_los")),
            "watches monitors \"val_los\", which is not a metric; expected one of lr_first, lr, train_loss, \
             train_accuracy, val_loss, val_loss_stderr, val_accuracy, val_f1, val_precision, val_recall, \
             val_ece, grad_norm, or \"min:NAME\" or \"max:NAME\" for one of `EpochMetrics::extra`",
        ),
        (
            Callbacks::default().with(Watches("lr")).with(Asks("a", &[])).with(Watches("val_loss")),
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
fn state_goes_by_name_and_nothing_is_lost_without_a_word() {
    let stopping = || EarlyStopping::new(EarlyStoppingConfig::default()).unwrap();
    let (_, callbacks) = play(&Script::default(), Callbacks::default().with(stopping()));
    let state = callbacks.state();
    assert_eq!(state.as_object().unwrap().keys().collect::<Vec<_>>(), ["early_stopping"]);

    // Another order and a further callback do not matter.
    let timer = Timer::new(Duration::from_secs(9));
    let mut more = Callbacks::new(vec![Box::new(timer.clone()), Box::new(stopping())]);
    more.restore(state.clone()).unwrap();
    assert_eq!(more.state(), state);
    assert_eq!(more.get::<EarlyStopping>().unwrap().best(), Some((0.125, 8)));
    assert!(more.get::<Asks>().is_none());

    // A callback that is gone does.
    let error = Callbacks::default().with(timer).restore(state).unwrap_err();
    assert_eq!(error.to_string(), "early_stopping: has a saved state but is not among the callbacks: timer");
    let wrong = serde_json::json!({ "early_stopping": { "best": "low" } });
    assert!(matches!(more.restore(wrong), Err(Error::State { .. })));
}
