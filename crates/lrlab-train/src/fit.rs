//! The training loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{Action, Averaging, Callbacks, Context, Host, Moment, Phase};
use lrlab_data::Dataset;
use lrlab_models::Model;
use lrlab_optim::Optimizer;
use lrlab_runs::{Decision, DecisionKind, EpochMetrics, Evaluation, Event, Timing, finite};
use lrlab_schedulers::{Horizon, Schedule};

use crate::running::{Running, validated};
use crate::trainer::{Trainer, next_window};
use crate::{Error, Rate, Settings};

/// Everything a run is made of.
pub struct Fit<'a> {
    /// The network.
    pub model: Box<dyn Model>,
    /// The update rule over the network's parameters.
    pub optimizer: Box<dyn Optimizer>,
    /// The rate over time, resolved for this run's [`Horizon`] (see [`Fit::horizon`]).
    pub schedule: Box<dyn Schedule>,
    /// What watches.
    pub callbacks: Callbacks,
    /// The examples.
    pub data: &'a Dataset,
    /// The rest.
    pub settings: &'a Settings,
    /// Where to train; the parameters live there already.
    pub device: &'a Device,
}

impl Fit<'_> {
    /// How long a run with these settings on `examples` training examples is.
    #[must_use]
    pub fn horizon(settings: &Settings, examples: usize) -> Horizon {
        let updates_per_epoch = settings.updates_per_epoch(examples);
        Horizon { updates: updates_per_epoch * settings.epochs, updates_per_epoch }
    }
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Every update was made.
    Completed,
    /// A callback asked for it.
    Stopped,
    /// The loss left the finite numbers, or a callback said so.
    Diverged,
    /// The flag was raised from outside. Nothing was evaluated at the end.
    Interrupted,
}

/// What training gives.
#[derive(Debug)]
pub struct Fitted {
    /// Why it ended.
    pub stop: Stop,
    /// One entry per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// After the last update.
    pub last: Evaluation,
    /// The best epoch by `settings.select`, ties to the earliest.
    pub best: Evaluation,
    /// What callbacks decided.
    pub decisions: Vec<Decision>,
    /// Clocks; `started` and `finished` are left to the caller.
    pub timing: Timing,
    /// The best epoch's weights and buffers by name.
    pub weights: BTreeMap<String, Tensor>,
    /// The weights and buffers after the last update.
    pub last_weights: BTreeMap<String, Tensor>,
    /// Trained elements of the model.
    pub parameters: usize,
}

/// Trains. `interrupt` is looked at after every update; `report` hears every event as it happens.
///
/// # Errors
/// See [`Error`]; callbacks hear of it before it is returned.
pub fn fit(parts: Fit<'_>, interrupt: &AtomicBool, report: &mut dyn FnMut(&Event)) -> Result<Fitted, Error> {
    parts.settings.check()?;
    let Fit { model, optimizer, schedule, mut callbacks, data, settings, device } = parts;
    let horizon = Fit::horizon(settings, data.train.len());
    let rate = Rate::new(schedule, horizon, settings.lr, settings.lr_min, settings.lr_max);
    let trainer = Trainer::new(model, optimizer, rate, data, settings, device);
    let mut run = Run::new(trainer, settings, horizon);

    let stop = match train(&mut run, &mut callbacks, data, interrupt, report) {
        Ok(stop) => stop,
        Err(error) => {
            let text = error.to_string();
            // The first error is the one to tell; a callback that fails on it has nothing to add.
            let _ = run.tell(&mut callbacks, Moment::Failed { error: &text }, report);
            return Err(error);
        }
    };
    if stop == Stop::Interrupted {
        return Ok(run.fitted(stop, Evaluation::default(), Evaluation::default(), BTreeMap::new()));
    }
    run.undo_rewind()?;
    let mut last = run.last(data)?;
    run.last_weights = run.trainer.params().snapshot()?;
    run.averaged = false;
    run.tell(&mut callbacks, Moment::FitEnd, report)?;
    if run.averaged {
        last = run.last(data)?;
    }
    run.finish(stop, last, data)
}

/// The algorithm.
fn train(
    run: &mut Run<'_>,
    callbacks: &mut Callbacks,
    data: &Dataset,
    interrupt: &AtomicBool,
    report: &mut dyn FnMut(&Event),
) -> Result<Stop, Error> {
    let settings = run.settings;
    report(&Event::Started { updates: run.horizon.updates, epochs: settings.epochs });
    run.tell(callbacks, Moment::FitStart, report)?;
    for epoch in 0..settings.epochs {
        run.tell(callbacks, Moment::EpochStart, report)?;
        let mut seen = Running::new(run.trainer.rate().at(run.trainer.update));
        let mut batches = run.trainer.batches(epoch);
        let mut batch = epoch * settings.batches_per_epoch(data.train.len());
        loop {
            let clock = Instant::now();
            let window = next_window(&mut batches, settings.accumulate)?;
            run.timing.data_s += clock.elapsed().as_secs_f64();
            if window.is_empty() {
                break;
            }
            let lr = run.trainer.rate().at(run.trainer.update);
            let clock = Instant::now();
            let updated = run.trainer.step(&window, batch, lr)?;
            run.timing.train_s += clock.elapsed().as_secs_f64();
            batch += window.len() as u64;
            run.lr = lr;
            seen.add(&updated);
            run.examples += updated.outcomes.len() as f64;
            report(&Event::Progress { update: run.trainer.update, loss: finite(updated.loss), lr });

            run.validated = false;
            run.rewound = false;
            run.undone = None;
            let grad_norm = Some(updated.grad_norm);
            run.tell(callbacks, Moment::Update { loss: updated.loss, grad_norm }, report)?;
            if !updated.loss.is_finite() && !run.rewound {
                return Ok(Stop::Diverged);
            }
            if let Some(stop) = run.stop {
                return Ok(stop);
            }
            if interrupt.load(Ordering::Relaxed) {
                return Ok(Stop::Interrupted);
            }
        }
        let clock = Instant::now();
        let scores = run.trainer.evaluate(&data.validation)?;
        run.timing.eval_s += clock.elapsed().as_secs_f64();
        run.epoch = epoch + 1;
        let metrics = seen.metrics(run.epoch, run.lr, &scores);
        run.remember(&metrics)?;
        report(&Event::Epoch { metrics: Box::new(metrics.clone()) });
        run.rewound = false;
        run.tell(callbacks, Moment::Epoch(&metrics), report)?;
        if metrics.val_loss.is_none() && !run.rewound {
            return Ok(Stop::Diverged);
        }
        if let Some(stop) = run.stop {
            return Ok(stop);
        }
    }
    Ok(Stop::Completed)
}

/// What a run has so far.
struct Run<'a> {
    trainer: Trainer<'a>,
    settings: &'a Settings,
    horizon: Horizon,
    begun: Instant,
    timing: Timing,
    /// Training examples seen, repeats included.
    examples: f64,
    /// Completed epochs.
    epoch: u64,
    /// Rate of the last update, of the first before it.
    lr: f64,
    history: Vec<EpochMetrics>,
    decisions: Vec<Decision>,
    /// Epoch, value and weights of the best epoch so far.
    best: Option<(usize, f64, BTreeMap<String, Tensor>)>,
    last_weights: BTreeMap<String, Tensor>,
    /// Set by an action.
    stop: Option<Stop>,
    /// Set by an action: weights went back, so a loss that is not finite is dealt with.
    rewound: bool,
    /// The weights of the last update, where an action went back from them since.
    undone: Option<BTreeMap<String, Tensor>>,
    /// Set by an action: an average took the weights' place.
    averaged: bool,
    /// The weights in force are those the last entry of the history was measured on.
    validated: bool,
}

impl<'a> Run<'a> {
    fn new(trainer: Trainer<'a>, settings: &'a Settings, horizon: Horizon) -> Self {
        let lr = trainer.rate().at(0);
        Self {
            trainer,
            settings,
            horizon,
            begun: Instant::now(),
            timing: Timing::default(),
            examples: 0.0,
            epoch: 0,
            lr,
            history: Vec::new(),
            decisions: Vec::new(),
            best: None,
            last_weights: BTreeMap::new(),
            stop: None,
            rewound: false,
            undone: None,
            averaged: false,
            validated: false,
        }
    }

    /// Lets callbacks see a moment, phase by phase, and carries out what they ask for.
    fn tell(
        &mut self,
        callbacks: &mut Callbacks,
        moment: Moment<'_>,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(), Error> {
        let marks = self.trainer.rate().marks();
        for phase in Phase::ALL {
            let context = Context {
                moment,
                update: self.trainer.update,
                epoch: self.epoch,
                updates: self.horizon.updates,
                updates_per_epoch: self.horizon.updates_per_epoch,
                epochs: self.settings.epochs,
                lr: self.lr,
                schedule_lr: self.trainer.rate().schedule_at(self.trainer.update),
                gain: self.trainer.rate().gain(),
                marks: &marks,
                elapsed_s: self.begun.elapsed().as_secs_f64(),
                history: &self.history,
                decisions: &self.decisions,
            };
            for (source, action) in callbacks.run(phase, &context)? {
                self.act(&source, action, report)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, source: &str, action: Action, report: &mut dyn FnMut(&Event)) -> Result<(), Error> {
        let before = self.trainer.rate().at(self.trainer.update);
        let (kind, metric, value, reason) = match action {
            Action::SetGain { gain, metric, value, reason } => {
                let cut = gain < self.trainer.rate().gain_of(source);
                let kind = if cut { DecisionKind::Cut } else { DecisionKind::Raise };
                self.trainer.set_gain(source, gain);
                (kind, metric, value, reason)
            }
            Action::Stop { metric, value, reason } => {
                self.stop.get_or_insert(Stop::Stopped);
                (DecisionKind::Stop, metric, value, reason)
            }
            Action::Diverge { reason } => {
                self.stop = Some(Stop::Diverged);
                (DecisionKind::Stop, String::new(), f64::NAN, reason)
            }
            Action::Restore { tag, reason } => {
                if self.validated {
                    self.undone = Some(self.trainer.params().snapshot()?);
                }
                self.trainer.restore(&tag)?;
                self.rewound = true;
                self.validated = false;
                (DecisionKind::Rewind, String::new(), f64::NAN, reason)
            }
            Action::Average(_) | Action::RecomputeNormStatistics => {
                self.averaged |= action == Action::Average(Averaging::Apply);
                self.validated = false;
                action.carry_out(&mut self.trainer)?;
                return Ok(());
            }
            Action::Save { .. } | Action::Discard { .. } => {
                action.carry_out(&mut self.trainer)?;
                return Ok(());
            }
        };
        let decision = Decision {
            update: self.trainer.update,
            epoch: self.epoch,
            source: source.to_owned(),
            kind,
            lr_before: finite(before),
            lr_after: finite(self.trainer.rate().at(self.trainer.update)),
            gain: self.trainer.rate().gain_of(source),
            metric,
            value: finite(value),
            reason,
        };
        report(&Event::Decided { decision: Box::new(decision.clone()) });
        self.decisions.push(decision);
        Ok(())
    }

    /// Keeps an epoch's figures, and its weights where it is the best so far.
    fn remember(&mut self, metrics: &EpochMetrics) -> Result<(), Error> {
        self.history.push(metrics.clone());
        self.validated = true;
        let Some(value) = metrics.get(&self.settings.select).flatten() else { return Ok(()) };
        if metrics.val_loss.is_none() {
            // Weights that are no numbers: their accuracy is the share of one class.
            return Ok(());
        }
        let higher = EpochMetrics::higher_is_better(&self.settings.select) == Some(true);
        let better =
            self.best.as_ref().is_none_or(|(_, best, _)| if higher { value > *best } else { value < *best });
        if better {
            self.best = Some((self.history.len() - 1, value, self.trainer.params().snapshot()?));
        }
        Ok(())
    }

    /// `final` is after the last update, also where a callback went back from there at the end of its epoch.
    fn undo_rewind(&mut self) -> Result<(), Error> {
        if let Some(weights) = self.undone.take() {
            self.trainer.params().restore(&weights)?;
            self.validated = true;
        }
        Ok(())
    }

    /// Evaluates the weights in force, on the validation split only where that was not done yet.
    fn last(&mut self, data: &Dataset) -> Result<Evaluation, Error> {
        let clock = Instant::now();
        let metrics = match self.history.last() {
            Some(metrics) if self.validated => metrics.clone(),
            _ => {
                let scores = self.trainer.evaluate(&data.validation)?;
                let now = EpochMetrics { epoch: self.epoch, lr: finite(self.lr), ..EpochMetrics::default() };
                validated(&now, &scores)
            }
        };
        let last = self.evaluation(metrics, data)?;
        self.timing.eval_s += clock.elapsed().as_secs_f64();
        Ok(last)
    }

    /// Evaluates the best epoch's weights. Here and in `last` is the only reading of the test split.
    fn finish(mut self, stop: Stop, last: Evaluation, data: &Dataset) -> Result<Fitted, Error> {
        let clock = Instant::now();
        let (best, weights) = match self.best.take() {
            Some((index, _, weights)) if self.history[index] == last.metrics => (last.clone(), weights),
            Some((index, _, weights)) => {
                self.trainer.params().restore(&weights)?;
                (self.evaluation(self.history[index].clone(), data)?, weights)
            }
            None => (last.clone(), self.trainer.params().snapshot()?),
        };
        self.timing.eval_s += clock.elapsed().as_secs_f64();
        Ok(self.fitted(stop, last, best, weights))
    }

    fn fitted(
        mut self,
        stop: Stop,
        last: Evaluation,
        best: Evaluation,
        weights: BTreeMap<String, Tensor>,
    ) -> Fitted {
        self.timing.updates_executed = self.trainer.update;
        if self.timing.train_s > 0.0 {
            self.timing.examples_per_s = self.examples / self.timing.train_s;
        }
        let parameters = self.trainer.params().count();
        let Self { history, decisions, timing, last_weights, .. } = self;
        Fitted { stop, history, last, best, decisions, timing, weights, last_weights, parameters }
    }

    fn evaluation(&self, metrics: EpochMetrics, data: &Dataset) -> Result<Evaluation, Error> {
        let (train, test) = (self.trainer.evaluate(&data.train)?, self.trainer.evaluate(&data.test)?);
        Ok(Evaluation {
            train_eval_loss: finite(train.loss),
            train_eval_accuracy: finite(train.accuracy),
            accuracy_gap: metrics.val_accuracy.map(|validation| train.accuracy - validation),
            loss_gap: metrics.val_loss.map(|validation| validation - train.loss).and_then(finite),
            test_loss: finite(test.loss),
            test_accuracy: finite(test.accuracy),
            test_f1: finite(test.f1),
            test_precision: finite(test.precision),
            test_recall: finite(test.recall),
            test_ece: finite(test.ece),
            metrics,
        })
    }
}
