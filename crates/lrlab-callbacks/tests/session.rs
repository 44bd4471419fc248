//! The session: bounds of the rate, trials, decisions, divergence, and saved state.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_callbacks::{
    Action, Averaging, Callback, Callbacks, Context, Error, Hook, Host, Phase, SaveEvery, Session,
    StopReason, WeightAveraging,
};
use lrlab_runs::{Decision, EpochMetrics};
use lrlab_schedulers::{Horizon, Observation, ScheduleSpec, lambda};

const RUN: Horizon = Horizon { updates: 6, updates_per_epoch: 3 };

/// Records the requested operations.
#[derive(Default)]
struct Recorder {
    trials: Vec<Vec<f64>>,
    averages: Vec<Averaging>,
    decisions: Vec<Decision>,
    checkpoints: Vec<serde_json::Value>,
}

impl Host for Recorder {
    fn save(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn restore(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn discard(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn average(&mut self, rule: Averaging) -> Result<(), Error> {
        self.averages.push(rule);
        Ok(())
    }
    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        self.trials.push(lrs.collect());
        Ok(Observation { value: 0.5, stderr: None })
    }
    fn checkpoint(&mut self, session: &serde_json::Value) -> Result<(), Error> {
        self.checkpoints.push(session.clone());
        Ok(())
    }
    fn decided(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
    }
}

/// Tries 0.1 and 4 times the rate after the first epoch, and sets the observed value as its gain.
struct Tries;

impl Callback for Tries {
    fn name(&self) -> &'static str {
        "tries"
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let due = phase == Phase::Control && matches!(context.hook, Hook::EpochEnd(_)) && context.epoch == 1;
        let tries = [0.1, 4.0].map(|factor| Action::Try { factor, updates: 2 });
        Ok(if due { tries.to_vec() } else { Vec::new() })
    }
    fn tried(&mut self, seen: &Observation) -> Result<Vec<Action>, Error> {
        let (metric, reason) = ("val_loss".to_owned(), "as observed".to_owned());
        Ok(vec![Action::SetGain { gain: seen.value, metric, value: seen.value, reason }])
    }
}

fn session(callbacks: Callbacks, schedule: &str) -> Session {
    Session::new(callbacks, ScheduleSpec::parse(schedule).unwrap().build(&RUN).unwrap(), 1.0, RUN)
}

fn epoch(session: &mut Session, host: &mut Recorder) -> Vec<f64> {
    session.begin_epoch(host).unwrap();
    let mut rates = Vec::new();
    for _ in 0..RUN.updates_per_epoch {
        rates.push(session.lr());
        session.end_update(1.0, None, host).unwrap();
    }
    let val_loss = Some(1.0);
    session.end_epoch(EpochMetrics { val_loss, ..EpochMetrics::default() }, host).unwrap();
    rates
}

#[test]
fn bounds_apply_to_updates_and_trials() {
    let mut session =
        session(Callbacks::default().with(Tries), "step = { step_size = '1 update', gamma = 0.5 }");
    session = session.clamp_lr(0.05, Some(0.6));
    let mut host = Recorder::default();
    assert_eq!(session.last_lr(), 0.6);
    session.begin(&mut host).unwrap();
    assert_eq!(epoch(&mut session, &mut host), [0.6, 0.5, 0.25]);
    assert_eq!(session.last_lr(), 0.25);
    // The next rates of the schedule are 0.125 and 0.0625.
    assert_eq!(host.trials, [[0.05, 0.05], [0.5, 0.25]]);
    assert_eq!(host.decisions, session.decisions());
    assert_eq!((host.decisions[0].lr_before, host.decisions[0].lr_after), (Some(0.125), Some(0.0625)));
    assert_eq!(epoch(&mut session, &mut host), [0.0625, 0.05, 0.05]);
    assert!(session.is_over() && session.stop_reason().is_none());
}

/// Stops within the first epoch.
struct Stops;

impl Callback for Stops {
    fn name(&self) -> &'static str {
        "stops"
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let due = phase == Phase::Control && context.update == 2 && context.epoch == 0;
        let stop = Action::Stop { metric: String::new(), value: 0.0, reason: "enough".to_owned() };
        Ok(if due { vec![stop] } else { Vec::new() })
    }
}

/// A run that is killed after a stop within an epoch and continued has the same epochs as one that is not.
#[test]
fn a_stop_within_an_epoch_has_no_checkpoint_before_the_end_of_the_epoch() {
    let make = || session(Callbacks::default().with(Stops), "static").checkpoint_every(SaveEvery::Updates(1));
    let (mut session, mut host) = (make().unwrap(), Recorder::default());
    session.begin(&mut host).unwrap();
    while !session.is_over() {
        session.begin_epoch(&mut host).unwrap();
        for _ in session.epoch_updates() {
            session.end_update(1.0, None, &mut host).unwrap();
            if session.is_over() {
                break;
            }
        }
        session.end_epoch(EpochMetrics::default(), &mut host).unwrap();
    }
    session.end(&mut host).unwrap();
    assert_eq!((session.update(), session.epoch()), (2, 1));
    let places: Vec<_> =
        host.checkpoints.iter().map(|at| (&at["count"]["update"], &at["count"]["epoch"])).collect();
    assert_eq!(places, [(&1.into(), &0.into()), (&2.into(), &1.into())]);
}

#[test]
fn the_weights_of_a_diverged_run_do_not_change() {
    for diverged in [false, true] {
        let average = WeightAveraging::ema(0.5).unwrap();
        let (mut session, mut host) =
            (session(Callbacks::default().with(average), "static"), Recorder::default());
        session.begin(&mut host).unwrap();
        epoch(&mut session, &mut host);
        if diverged {
            session.diverge();
        }
        session.end(&mut host).unwrap();
        assert_eq!(host.averages.contains(&Averaging::Apply), !diverged);
        assert_eq!(session.stop_reason(), diverged.then_some(StopReason::Diverged));
    }
}

/// A checkpoint continues a run of the same epochs, which may be longer.
#[test]
fn a_state_of_another_run_is_rejected() {
    let run = |updates, updates_per_epoch| {
        let run = Horizon { updates, updates_per_epoch };
        let schedule = ScheduleSpec::parse("static").unwrap().build(&run).unwrap();
        Session::new(Callbacks::default(), schedule, 1.0, run)
    };
    let (mut first, mut host) = (run(6, 3), Recorder::default());
    first.begin(&mut host).unwrap();
    epoch(&mut first, &mut host);
    epoch(&mut first, &mut host);
    let mut longer = run(12, 3);
    longer.restore(first.state()).unwrap();
    assert_eq!((longer.update(), longer.epoch_updates()), (6, 6..9));
    for (updates, per_epoch, expected) in [
        (12, 6, "session: the state has 3 updates per epoch, the run has 6"),
        (12, 1, "session: the state has 3 updates per epoch, the run has 1"),
        (3, 3, "session: the state has 6 updates, the run has 3"),
    ] {
        let mut other = run(updates, per_epoch);
        assert_eq!(other.restore(first.state()).unwrap_err().to_string(), expected);
        assert_eq!((other.update(), other.epoch()), (0, 0));
    }
    // Earlier versions did not save the number of updates per epoch.
    let mut state = first.state();
    state["count"].as_object_mut().unwrap().remove("updates_per_epoch").unwrap();
    run(12, 6).restore(state).unwrap();
}

/// A horizon without updates per epoch counts as one update per epoch, so that a loop over its epochs ends.
#[test]
fn epochs_have_updates() {
    let run = Horizon { updates: 2, updates_per_epoch: 0 };
    let mut session = Session::new(Callbacks::default(), Box::new(lambda(|_| 1.0)), 0.1, run);
    let mut host = Recorder::default();
    session.begin(&mut host).unwrap();
    while !session.is_over() {
        assert_eq!(session.epoch_updates().count(), 1);
        session.end_update(1.0, None, &mut host).unwrap();
        session.end_epoch(EpochMetrics::default(), &mut host).unwrap();
    }
    assert_eq!(session.epoch(), 2);
}

/// A session can move to another thread, with callbacks of every kind.
#[test]
fn sessions_are_send() {
    fn is_send<T: Send>() {}
    is_send::<Session>();
    is_send::<Callbacks>();
}

#[test]
fn the_state_stores_infinite_rates() {
    let (mut first, mut host) = (session(Callbacks::default().with(Tries), "static"), Recorder::default());
    first = first.clamp_lr(0.0, Some(f64::INFINITY));
    first.begin(&mut host).unwrap();
    epoch(&mut first, &mut host);
    first.diverge();
    let mut progress = first.progress().clone();
    progress.lr = f64::INFINITY;
    let mut second = session(Callbacks::default().with(Tries), "static");
    second.resume(progress, first.callbacks().state(), 0.0).unwrap();
    let text = second.state().to_string();
    let mut third = session(Callbacks::default().with(Tries), "static");
    third.restore(serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(third.progress(), second.progress());
    assert_eq!((third.last_lr(), third.stop_reason()), (f64::INFINITY, Some(StopReason::Diverged)));
    // The format of an earlier version.
    let text = text.replace(r#""stop":"diverged""#, r#""end":"Diverged""#);
    assert!(text.contains("\"end\""), "{text}");
    third.restore(serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(third.progress(), second.progress());
}
