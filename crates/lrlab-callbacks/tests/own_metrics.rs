//! User-defined metrics, rates of groups, and a host with the required methods only.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_callbacks::{
    Action, Callback, Callbacks, Checkpoint, CheckpointConfig, Context, CsvLogger, EarlyStopping,
    EarlyStoppingConfig, EpochMetrics, Error, Hook, Host, JsonlLogger, Phase, SaveEvery, Session, StopReason,
    TensorBoardLogger, ValidationLossMonitor, WeightAveraging,
};
use lrlab_schedulers::{ControllerSpec, Horizon, ScheduleSpec, Span};
use serde_json::Value;

const RUN: Horizon = Horizon { updates: 60, updates_per_epoch: 6 };

/// Records the requested actions.
#[derive(Default)]
struct Three(Vec<String>);

impl Host for Three {
    fn save(&mut self, tag: &str) -> Result<(), Error> {
        self.0.push(format!("save {tag}"));
        Ok(())
    }
    fn restore(&mut self, tag: &str) -> Result<(), Error> {
        self.0.push(format!("restore {tag}"));
        Ok(())
    }
    fn discard(&mut self, tag: &str) -> Result<(), Error> {
        self.0.push(format!("discard {tag}"));
        Ok(())
    }
}

fn session(callbacks: Callbacks) -> Session {
    Session::new(callbacks, ScheduleSpec::parse("static").unwrap().build(&RUN).unwrap(), 0.1, RUN)
}

/// Runs ten epochs, whose metrics are a function of the epoch.
fn play(
    session: &mut Session,
    host: &mut dyn Host,
    metrics: impl Fn(u64) -> EpochMetrics,
) -> Result<(), Error> {
    session.begin(host)?;
    while !session.is_over() {
        session.begin_epoch(host)?;
        for _ in session.epoch_updates() {
            session.end_update(1.0, None, host)?;
        }
        session.end_epoch(metrics(session.epoch() + 1), host)?;
    }
    session.end(host)
}

/// `top5` rises until epoch 3, then falls.
fn top5(epoch: u64) -> EpochMetrics {
    EpochMetrics { val_loss: Some(1.0), ..EpochMetrics::default() }
        .with("top5", 1.0 - (epoch as f64 - 3.0).abs() / 10.0)
}

#[test]
fn user_defined_metrics_control_a_run() {
    let stopping =
        EarlyStoppingConfig { metric: "max:top5".into(), patience: 3, ..EarlyStoppingConfig::default() };
    let plateau = ControllerSpec::parse("plateau = { factor = 0.5, patience = 0, mode = 'max' }").unwrap();
    let best = CheckpointConfig { metric: "max:top5".into(), last: None, ..CheckpointConfig::default() };
    let callbacks = Callbacks::default()
        .with(ValidationLossMonitor::new(plateau.build().unwrap(), "max:top5").unwrap())
        .with(EarlyStopping::new(stopping).unwrap())
        .with(Checkpoint::new(best).unwrap());
    let (mut session, mut host) = (session(callbacks), Three::default());
    play(&mut session, &mut host, top5).unwrap();
    assert_eq!((session.epoch(), session.stop_reason()), (6, Some(StopReason::Stopped)));
    assert_eq!(session.gain(), 0.125);
    assert_eq!(session.decisions()[0].metric, "top5");
    assert_eq!(host.0.iter().filter(|action| *action == "save best").count(), 3);
}

#[test]
fn user_defined_metrics_have_columns_and_tags() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("metrics.csv");
    let callbacks = Callbacks::default()
        .with(CsvLogger::new(&csv))
        .with(JsonlLogger::new(folder.path().join("log.jsonl")))
        .with(TensorBoardLogger::new(folder.path().join("tensorboard")));
    // A second metric is measured in every other epoch.
    let metrics =
        |epoch: u64| if epoch.is_multiple_of(2) { top5(epoch).with("val_bleu", 0.5) } else { top5(epoch) };
    play(&mut session(callbacks), &mut Three::default(), metrics).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 11);
    let column = |name: &str| rows[0].iter().position(|cell| *cell == name).unwrap();
    let cells = |name: &str| rows[1..].iter().map(|row| row[column(name)].to_owned()).collect::<Vec<_>>();
    assert_eq!(&cells("top5")[..3], ["0.8", "0.9", "1"]);
    assert_eq!(&cells("val_bleu")[..4], ["", "0.5", "", "0.5"]);
    let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    assert!(log.contains(r#""extra":{"top5":0.9,"val_bleu":0.5}"#), "{log}");
    let entry = std::fs::read_dir(folder.path().join("tensorboard")).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(entry.path()).unwrap();
    for tag in ["top5", "val/bleu"] {
        assert!(bytes.windows(tag.len()).any(|part| part == tag.as_bytes()), "{tag}");
    }
}

#[test]
fn errors_of_unknown_metrics_list_the_existing_ones() {
    let stopping = |metric: &str| {
        EarlyStopping::new(EarlyStoppingConfig { metric: metric.into(), ..Default::default() })
    };
    let refused = |metric: &str| stopping(metric).unwrap_err().to_string();
    assert_eq!(
        refused("max:val_loss"),
        "early_stopping: \"val_loss\" has a fixed direction; write it without \"max:\""
    );
    assert!(refused("top5").ends_with("or \"min:NAME\" or \"max:NAME\" for one of `EpochMetrics::extra`"));
    let play = |metrics: fn(u64) -> EpochMetrics| {
        let callbacks = Callbacks::default().with(stopping("max:top_5").unwrap());
        play(&mut session(callbacks), &mut Three::default(), metrics).unwrap_err().to_string()
    };
    assert_eq!(
        play(top5),
        "early_stopping: monitors \"top_5\", which `EpochMetrics::extra` does not have; did you mean \"max:top5\"?"
    );
    let other = play(|_| EpochMetrics::default().with("bleu", 1.0));
    assert!(
        other.ends_with("monitors \"top_5\", which no epoch measured; `EpochMetrics::extra` has {\"bleu\"}"),
        "{other}"
    );
    let none = play(|_| EpochMetrics::default());
    assert!(
        none.ends_with("monitors \"top_5\", which no epoch measured; `EpochMetrics::extra` has {}"),
        "{none}"
    );
}

#[test]
fn a_built_in_metric_that_is_never_measured_is_an_error_of_a_complete_run() {
    let stopping = EarlyStoppingConfig { metric: "val_f1".into(), ..EarlyStoppingConfig::default() };
    let callbacks = Callbacks::default().with(EarlyStopping::new(stopping).unwrap());
    let error = play(&mut session(callbacks), &mut Three::default(), top5).unwrap_err().to_string();
    assert!(error.starts_with("early_stopping: monitors \"val_f1\", which no epoch measured"), "{error}");
}

/// Stops after the second epoch.
struct Impatient;

impl Callback for Impatient {
    fn name(&self) -> &'static str {
        "impatient"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        let stop = Action::Stop { metric: "epoch".into(), value: 2.0, reason: "enough".into() };
        let now = phase == Phase::Control && matches!(context.hook, Hook::EpochEnd(_)) && context.epoch == 2;
        Ok(if now { vec![stop] } else { Vec::new() })
    }
}

/// `top5` is measured in every fifth epoch, `top1` in each. A run that stops before may have no `top5`.
#[test]
fn a_metric_may_be_measured_now_and_then() {
    let metrics = |epoch: u64| {
        let all = EpochMetrics { val_loss: Some(1.0), ..EpochMetrics::default() };
        let all = all.with("top1", 0.4).with("top50", 0.9);
        if epoch.is_multiple_of(5) { all.with("top5", 0.8) } else { all }
    };
    for (stops, epochs) in [(false, 10), (true, 2)] {
        let best = CheckpointConfig { metric: "max:top5".into(), ..CheckpointConfig::default() };
        let mut callbacks = Callbacks::default().with(Checkpoint::new(best).unwrap());
        if stops {
            callbacks = callbacks.with(Impatient);
        }
        let (mut session, mut host) = (session(callbacks), Three::default());
        play(&mut session, &mut host, metrics).unwrap();
        assert_eq!(session.epoch(), epochs);
        assert_eq!(host.0.iter().filter(|action| *action == "save best").count(), usize::from(!stops));
    }
}

#[test]
fn errors_name_the_missing_method_of_a_host() {
    let callbacks = Callbacks::default().with(WeightAveraging::swa(Span::Epochs(1.0)).unwrap());
    let error = play(&mut session(callbacks), &mut Three::default(), top5).unwrap_err().to_string();
    assert_eq!(
        error,
        "the host failed to average the weights: it does not implement `Host::average`, which a callback of this run needs"
    );
    let mut session = session(Callbacks::default()).checkpoint_every(SaveEvery::Epochs(2)).unwrap();
    let error = play(&mut session, &mut Three::default(), top5).unwrap_err().to_string();
    assert!(
        error.starts_with("the host failed to store a checkpoint: it does not implement `Host::checkpoint`")
    );
    assert_eq!(session.epoch(), 2);
    let refused = Session::new(
        Callbacks::default(),
        ScheduleSpec::parse("static").unwrap().build(&RUN).unwrap(),
        0.1,
        RUN,
    )
    .checkpoint_every(SaveEvery::Updates(0));
    assert!(refused.unwrap_err().to_string().contains("the interval is 0 updates, expected more than 0"));
}

/// Stores the states of the session.
#[derive(Default)]
struct Stores {
    states: Vec<(u64, Value)>,
}

impl Host for Stores {
    fn save(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn restore(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn discard(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn checkpoint(&mut self, session: &Value) -> Result<(), Error> {
        self.states.push((session["count"]["update"].as_u64().unwrap(), session.clone()));
        Ok(())
    }
    fn resume(&mut self) -> Result<Option<Value>, Error> {
        Ok(self.states.last().map(|(_, state)| state.clone()))
    }
}

/// A resumed session makes the remaining updates.
#[test]
fn checkpoints_are_stored_every_n_updates() {
    let every = |n| session(Callbacks::default()).checkpoint_every(SaveEvery::Updates(n)).unwrap();
    let (mut whole, mut host) = (every(4), Stores::default());
    play(&mut whole, &mut host, top5).unwrap();
    let updates: Vec<u64> = host.states.iter().map(|(update, _)| *update).collect();
    assert_eq!(updates, (1..=15).map(|n| 4 * n).collect::<Vec<_>>());
    for kept in 1..=15 {
        let mut host = Stores { states: host.states[..kept].to_vec() };
        let mut resumed = every(4);
        play(&mut resumed, &mut host, top5).unwrap();
        assert_eq!(resumed.progress(), whole.progress(), "from checkpoint {kept}");
    }
}

#[test]
fn gains_apply_to_all_groups() {
    let plateau = ControllerSpec::parse("plateau = { factor = 0.5, patience = 0 }").unwrap().build().unwrap();
    let callbacks = Callbacks::default().with(ValidationLossMonitor::new(plateau, "val_loss").unwrap());
    let falls = ScheduleSpec::parse("linear_to_zero").unwrap().build(&RUN).unwrap();
    let mut session = session(callbacks).with_schedule("head", falls, 0.4).clamp_lr(0.03, None);
    assert_eq!((session.lr(), session.lr_of("head"), session.lr_of("tail")), (0.1, Some(0.4), None));
    let mut host = Three::default();
    session.begin(&mut host).unwrap();
    for _ in 0..2 {
        for _ in 0..6 {
            session.end_update(1.0, None, &mut host).unwrap();
        }
        session.end_epoch(top5(1), &mut host).unwrap();
    }
    assert_eq!((session.lr(), session.gain()), (0.05, 0.5));
    assert!((session.lr_of("head").unwrap() - 0.4 * 0.8 * 0.5).abs() < 1e-15);
    for _ in 0..46 {
        session.end_update(1.0, None, &mut host).unwrap();
    }
    assert_eq!(session.lr_of("head"), Some(0.03), "within the bounds");
}
