//! A simulated run with one weight and scripted losses, which carries out all actions.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, VecDeque};

use lrlab_callbacks::{Action, Averaging, Callbacks, Context, Error, Hook, Host, Phase};
use lrlab_runs::{Decision, DecisionKind, EpochMetrics, finite};
use lrlab_schedulers::{Mark, MarkKind, Observation};

/// The settings of a run. Losses and metrics are functions, so that a test determines every observation.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) updates_per_epoch: u64,
    pub(crate) epochs: u64,
    pub(crate) lr: f64,
    pub(crate) restarts: Vec<u64>,
    /// The loss as a function of the number of completed updates.
    pub(crate) loss: fn(u64) -> f64,
    /// The metrics as a function of the number of completed epochs.
    pub(crate) metrics: fn(u64) -> EpochMetrics,
    /// The observation of a trial as a function of the factor of the rate.
    pub(crate) trial: fn(f64) -> f64,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            updates_per_epoch: 3,
            epochs: 8,
            lr: 0.1,
            restarts: Vec::new(),
            loss: |update| 1.0 / update as f64,
            metrics: |epoch| val_loss(epoch, 1.0 / epoch as f64),
            trial: |factor| (factor.log2() - 1.0).powi(2),
        }
    }
}

/// Returns metrics with only a validation loss.
pub(crate) fn val_loss(epoch: u64, value: f64) -> EpochMetrics {
    EpochMetrics { epoch, val_loss: Some(value), val_loss_stderr: Some(0.01), ..EpochMetrics::default() }
}

/// A line of the log: update, event, callback and action.
pub(crate) type Line = (u64, &'static str, String, Action);

/// The simulated run and host; a copy is a checkpoint.
#[derive(Clone)]
pub(crate) struct Sim {
    pub(crate) script: Script,
    pub(crate) marks: Vec<Mark>,
    pub(crate) update: u64,
    pub(crate) epoch: u64,
    pub(crate) lr: f64,
    pub(crate) weight: f64,
    pub(crate) kept: BTreeMap<String, f64>,
    pub(crate) gains: BTreeMap<String, f64>,
    pub(crate) history: Vec<EpochMetrics>,
    /// The weight on which the metrics of each epoch were measured.
    pub(crate) measured: Vec<f64>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) log: Vec<Line>,
    pub(crate) ended: Option<&'static str>,
    averaged: Vec<f64>,
    /// The next event.
    next: Event,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Event {
    EpochStart,
    Update,
    Epoch,
    FitEnd,
    Over,
}

impl Sim {
    pub(crate) fn new(script: Script) -> Self {
        let marks = script.restarts.iter().map(|&update| Mark { update, kind: MarkKind::Restart }).collect();
        let lr = script.lr;
        Self {
            script,
            marks,
            update: 0,
            epoch: 0,
            lr,
            weight: 0.0,
            kept: BTreeMap::new(),
            gains: BTreeMap::new(),
            history: Vec::new(),
            measured: Vec::new(),
            decisions: Vec::new(),
            log: Vec::new(),
            ended: None,
            averaged: Vec::new(),
            next: Event::EpochStart,
        }
    }

    /// Runs from the start or a checkpoint to the end.
    pub(crate) fn run(&mut self, callbacks: &mut Callbacks) -> Result<(), Error> {
        self.start(callbacks)?;
        while self.step(callbacks)? {}
        Ok(())
    }

    pub(crate) fn start(&mut self, callbacks: &mut Callbacks) -> Result<(), Error> {
        self.dispatch(callbacks, "fit_start", Hook::FitStart)
    }

    /// Processes an event; returns `false` at the end of the run.
    pub(crate) fn step(&mut self, callbacks: &mut Callbacks) -> Result<bool, Error> {
        match self.next {
            Event::EpochStart => {
                self.next = Event::Update;
                self.dispatch(callbacks, "epoch_start", Hook::EpochStart)?;
            }
            Event::Update => {
                self.lr = self.script.lr * self.gain();
                self.weight += self.lr;
                self.update += 1;
                let ends = self.update.is_multiple_of(self.script.updates_per_epoch);
                self.next = if ends { Event::Epoch } else { Event::Update };
                let loss = (self.script.loss)(self.update);
                // A metric that is logged at every third update.
                let own = (self.update.is_multiple_of(3)).then(|| ("third".to_owned(), self.update as f64));
                let extra = own.into_iter().collect();
                self.dispatch(
                    callbacks,
                    "update",
                    Hook::UpdateEnd { loss, grad_norm: Some(1.0), extra: &extra },
                )?;
            }
            Event::Epoch => {
                self.epoch += 1;
                let metrics = (self.script.metrics)(self.epoch);
                self.history.push(metrics.clone());
                self.measured.push(self.weight);
                let over = self.epoch == self.script.epochs;
                self.next = if over { Event::FitEnd } else { Event::EpochStart };
                self.dispatch(callbacks, "epoch", Hook::EpochEnd(&metrics))?;
            }
            Event::FitEnd => {
                self.next = Event::Over;
                self.dispatch(callbacks, "fit_end", Hook::FitEnd)?;
            }
            Event::Over => return Ok(false),
        }
        if self.ended.is_some() && self.next != Event::Over {
            self.next = Event::FitEnd;
        }
        Ok(true)
    }

    pub(crate) fn dispatch(
        &mut self,
        callbacks: &mut Callbacks,
        word: &'static str,
        hook: Hook<'_>,
    ) -> Result<(), Error> {
        for phase in Phase::ALL {
            let (marks, history, decisions) =
                (self.marks.clone(), self.history.clone(), self.decisions.clone());
            let context = Context {
                hook,
                update: self.update,
                epoch: self.epoch,
                updates: self.script.updates_per_epoch * self.script.epochs,
                updates_per_epoch: self.script.updates_per_epoch,
                epochs: self.script.epochs,
                lr: self.lr,
                schedule_lr: self.script.lr,
                gain: self.gain(),
                marks: &marks,
                elapsed_s: self.update as f64,
                history: &history,
                decisions: &decisions,
            };
            let mut requested = VecDeque::from(callbacks.run(phase, &context)?);
            while let Some((source, action)) = requested.pop_front() {
                if let Action::Try { factor, .. } = action {
                    self.log.push((self.update, word, source.clone(), action));
                    let seen = self.observe(factor);
                    requested.extend(callbacks.tried(&source, &seen)?);
                } else {
                    self.act(word, source, action)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the observation of a trial at the current rate times `factor`.
    fn observe(&self, factor: f64) -> Observation {
        Observation { value: (self.script.trial)(factor), stderr: Some(0.01) }
    }

    pub(crate) fn gain(&self) -> f64 {
        self.gains.values().product()
    }

    /// Returns the update and the action of every line of the log.
    pub(crate) fn words(&self) -> Vec<String> {
        self.log.iter().map(|(update, _, _, action)| format!("{update} {}", word(action))).collect()
    }

    fn act(&mut self, event: &'static str, source: String, action: Action) -> Result<(), Error> {
        self.log.push((self.update, event, source.clone(), action.clone()));
        let before = self.gain();
        let about_weights = action.carry_out(self)?;
        let (kind, metric, value, reason) = match action {
            Action::Restore { reason, .. } | Action::Rewind { reason, .. } => {
                (DecisionKind::Rewind, String::new(), f64::NAN, reason)
            }
            _ if about_weights => return Ok(()),
            Action::SetGain { gain, .. } if self.gains.get(&source).copied().unwrap_or(1.0) == gain => {
                return Ok(());
            }
            Action::SetGain { gain, metric, value, reason } => {
                self.gains.insert(source.clone(), gain);
                let kind = if self.gain() < before { DecisionKind::Cut } else { DecisionKind::Raise };
                (kind, metric, value, reason)
            }
            Action::Stop { metric, value, reason } => {
                self.ended = Some("stopped");
                (DecisionKind::Stop, metric, value, reason)
            }
            Action::Diverge { reason } => {
                self.ended = Some("diverged");
                (DecisionKind::Stop, String::new(), f64::NAN, reason)
            }
            other => panic!("already carried out: {other:?}"),
        };
        let gain = self.gains.get(&source).copied().unwrap_or(1.0);
        self.decisions.push(Decision {
            update: self.update,
            epoch: self.epoch,
            source,
            kind,
            lr_before: finite(self.script.lr * before),
            lr_after: finite(self.script.lr * self.gain()),
            gain,
            metric,
            value: finite(value),
            reason,
        });
        Ok(())
    }
}

/// Formats an action briefly.
pub(crate) fn word(action: &Action) -> String {
    match action {
        Action::SetGain { gain, .. } => format!("gain {gain}"),
        Action::Try { factor, updates } => format!("try {factor:.3} for {updates}"),
        Action::Stop { .. } => "stop".to_owned(),
        Action::Diverge { .. } => "diverge".to_owned(),
        Action::Save { tag } => format!("save {tag}"),
        Action::Discard { tag } => format!("discard {tag}"),
        Action::Restore { tag, .. } => format!("restore {tag}"),
        Action::Rewind { tag, .. } => format!("rewind {tag}"),
        Action::Average(Averaging::Apply) => "apply".to_owned(),
        Action::Average(_) => "average".to_owned(),
        Action::RecomputeNormStatistics => "recompute".to_owned(),
    }
}

impl Host for Sim {
    fn save(&mut self, tag: &str) -> Result<(), Error> {
        self.kept.insert(tag.to_owned(), self.weight);
        Ok(())
    }

    fn restore(&mut self, tag: &str) -> Result<(), Error> {
        let kept = self.kept.get(tag).copied();
        self.weight = kept.ok_or_else(|| Error::Host {
            action: format!("restore {tag:?}"),
            message: "there is no snapshot under this tag".to_owned(),
        })?;
        Ok(())
    }

    fn discard(&mut self, tag: &str) -> Result<(), Error> {
        self.kept.remove(tag);
        Ok(())
    }

    fn average(&mut self, rule: Averaging) -> Result<(), Error> {
        match rule {
            Averaging::Apply => self.weight = self.averaged.iter().sum::<f64>() / self.averaged.len() as f64,
            _ => self.averaged.push(self.weight),
        }
        Ok(())
    }

    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        let lr = lrs.next().unwrap_or(f64::NAN);
        Ok(self.observe(lr / (self.script.lr * self.gain())))
    }
}

/// Runs a script to its end.
pub(crate) fn play(script: &Script, callbacks: Callbacks) -> (Sim, Callbacks) {
    let mut callbacks = callbacks;
    let mut sim = Sim::new(script.clone());
    sim.run(&mut callbacks).unwrap();
    (sim, callbacks)
}

/// Asserts that a run that is interrupted after any event, and continues with new callbacks whose state was saved as text,
/// requests the same actions as an uninterrupted run. Returns the uninterrupted run.
pub(crate) fn resumes_after_every_event(script: &Script, make: impl Fn() -> Callbacks) -> (Sim, Callbacks) {
    let (whole, whole_callbacks) = play(script, make());
    for events in 0.. {
        let (mut callbacks, mut sim) = (make(), Sim::new(script.clone()));
        sim.start(&mut callbacks).unwrap();
        let more = (0..events).all(|_| sim.step(&mut callbacks).unwrap());
        if !more {
            break;
        }
        let saved = serde_json::to_string(&callbacks.state()).unwrap();
        drop(callbacks);
        let mut callbacks = make();
        callbacks.restore(serde_json::from_str(&saved).unwrap()).unwrap();
        if events > 0 {
            let before = sim.log.len();
            if sim.update > 0 {
                sim.start(&mut callbacks).unwrap();
            }
            assert_eq!(sim.log.len(), before, "the start of a resumed run requests no action");
        }
        while sim.step(&mut callbacks).unwrap() {}
        assert_eq!(format!("{:?}", sim.log), format!("{:?}", whole.log), "resumed after {events} events");
        assert_eq!(sim.weight.to_bits(), whole.weight.to_bits(), "resumed after {events} events");
        assert_eq!(sim.kept, whole.kept, "resumed after {events} events");
        assert_eq!(callbacks.state(), whole_callbacks.state(), "resumed after {events} events");
    }
    (whole, whole_callbacks)
}
