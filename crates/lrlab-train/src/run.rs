//! What a run has so far: figures, decisions, the best weights, and what callbacks asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use candle_core::Tensor;
use lrlab_callbacks::{Action, Averaging, Callbacks, Context, Host, Moment, Phase};
use lrlab_data::Dataset;
use lrlab_runs::{Decision, DecisionKind, EpochMetrics, Evaluation, Event, Updates, Work, finite};
use lrlab_schedulers::Horizon;

use crate::running::{Running, validated};
use crate::state::{Best, Facts, Groups};
use crate::trainer::Trainer;
use crate::{Error, Fitted, Keeper, Position, Settings, State, Stop, Wish};

/// What a run has so far.
pub(crate) struct Run<'a> {
    pub(crate) trainer: Trainer<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) horizon: Horizon,
    begun: Instant,
    /// What this attempt did; `updates`, `input_s` and `elapsed_s` are filled in by [`Run::work`].
    pub(crate) work: Work,
    /// What earlier attempts did on the way here.
    before: Work,
    /// Completed epochs.
    pub(crate) epoch: u64,
    /// Figures of the epoch under way, between two of its updates.
    pub(crate) seen: Option<Running>,
    /// Rate of the last update, of the first before it.
    pub(crate) lr: f64,
    history: Vec<EpochMetrics>,
    decisions: Vec<Decision>,
    /// The best epoch so far and its weights.
    best: Option<(Best, BTreeMap<String, Tensor>)>,
    pub(crate) last_weights: BTreeMap<String, Tensor>,
    /// Set by an action.
    pub(crate) stop: Option<Stop>,
    /// Set by an action: weights went back, so a loss that is not finite is dealt with.
    pub(crate) rewound: bool,
    /// The weights of the last update, which the last entry of the history was measured on, where an action went back
    /// from them since.
    pub(crate) undone: Option<BTreeMap<String, Tensor>>,
    /// Set by an action: an average took the weights' place.
    pub(crate) averaged: bool,
    /// The entry of the history that was measured on the weights in force.
    pub(crate) measured: Option<usize>,
    /// The same for the weights that callbacks keep, by tag.
    figures: BTreeMap<String, usize>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(trainer: Trainer<'a>, settings: &'a Settings, horizon: Horizon) -> Self {
        let lr = trainer.rate().at(0);
        Self {
            trainer,
            settings,
            horizon,
            begun: Instant::now(),
            work: Work::default(),
            before: Work::default(),
            epoch: 0,
            seen: None,
            lr,
            history: Vec::new(),
            decisions: Vec::new(),
            best: None,
            last_weights: BTreeMap::new(),
            stop: None,
            rewound: false,
            undone: None,
            averaged: false,
            measured: None,
            figures: BTreeMap::new(),
        }
    }

    /// What this attempt did so far.
    fn work(&self) -> Work {
        let elapsed_s = self.begun.elapsed().as_secs_f64();
        Work { updates: self.trainer.executed, input_s: self.trainer.input_s, elapsed_s, ..self.work }
    }

    /// Everything that is needed to go on from here.
    fn state(&self, callbacks: &Callbacks) -> Result<State, Error> {
        let mut tensors = Groups::default();
        let kept = self.trainer.kept(&mut tensors)?;
        if let Some((_, weights)) = &self.best {
            tensors.put("best", weights.clone());
        }
        if let Some(weights) = &self.undone {
            tensors.put("undone", weights.clone());
        }
        let facts = Facts {
            update: self.trainer.update,
            epoch: self.epoch,
            lr: self.lr,
            history: self.history.clone(),
            decisions: self.decisions.clone(),
            running: self.seen,
            best: self.best.as_ref().map(|(best, _)| *best),
            stop: self.stop,
            measured: self.measured,
            figures: self.figures.clone(),
            undone: self.undone.is_some(),
            gains: self.trainer.rate().gains().clone(),
            kept,
            average: self.trainer.averaging(),
            callbacks: callbacks.state(),
            work: self.before + self.work(),
        };
        Ok(State { facts, tensors })
    }

    /// Goes on from a state.
    pub(crate) fn go_on(&mut self, state: &State, callbacks: &mut Callbacks) -> Result<(), Error> {
        let State { facts, tensors } = state;
        self.trainer.go_on(facts, tensors)?;
        callbacks.restore(facts.callbacks.clone())?;
        self.before = facts.work;
        self.epoch = facts.epoch;
        self.seen = facts.running;
        self.lr = facts.lr;
        self.history.clone_from(&facts.history);
        self.decisions.clone_from(&facts.decisions);
        self.best = facts.best.map(|best| (best, tensors.get("best")));
        self.stop = facts.stop;
        self.undone = facts.undone.then(|| tensors.get("undone"));
        self.measured = facts.measured;
        self.figures.clone_from(&facts.figures);
        Ok(())
    }

    /// Asks the keeper what it wants, and does it.
    pub(crate) fn ask(
        &mut self,
        keeper: &mut dyn Keeper,
        callbacks: &Callbacks,
    ) -> Result<Option<Stop>, Error> {
        let wish = keeper.wish(&Position {
            update: self.trainer.update,
            epoch: self.epoch,
            between_epochs: self.seen.is_none(),
            work: self.work(),
        });
        let over = self.stop.is_some() || self.epoch == self.settings.epochs;
        let stop = match wish {
            Wish::GoOn => return Ok(None),
            Wish::Pause if over => return Ok(None),
            Wish::Save => None,
            Wish::Interrupt => Some(Stop::Interrupted),
            Wish::Pause => Some(Stop::Paused),
        };
        keeper.keep(self.state(callbacks)?)?;
        Ok(stop)
    }

    /// Lets callbacks see a moment, phase by phase, and carries out what they ask for.
    pub(crate) fn tell(
        &mut self,
        callbacks: &mut Callbacks,
        moment: Moment<'_>,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(), Error> {
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
                marks: self.trainer.rate().marks(),
                elapsed_s: self.before.elapsed_s + self.begun.elapsed().as_secs_f64(),
                history: &self.history,
                decisions: &self.decisions,
            };
            let mut asked = VecDeque::from(callbacks.run(phase, &context)?);
            while let Some((source, action)) = asked.pop_front() {
                if let Action::Try { factor, updates } = action {
                    let clock = Instant::now();
                    let seen = self.trainer.trial(factor, updates)?;
                    self.work.train_s += clock.elapsed().as_secs_f64();
                    asked.extend(callbacks.tried(&source, &seen)?);
                } else {
                    self.act(&source, action, report)?;
                }
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
            Action::Average(_) | Action::RecomputeNormStatistics | Action::Restore { .. }
                if self.stop == Some(Stop::Diverged) =>
            {
                return Ok(());
            }
            Action::Restore { tag, reason } => {
                if self.undone.is_none() && self.measured.is_some_and(|index| index + 1 == self.history.len())
                {
                    self.undone = Some(self.trainer.params().snapshot()?);
                }
                self.trainer.restore(&tag)?;
                self.rewound = true;
                self.measured = self.figures.get(&tag).copied();
                (DecisionKind::Rewind, String::new(), f64::NAN, reason)
            }
            Action::Average(_) | Action::RecomputeNormStatistics => {
                self.averaged |= action == Action::Average(Averaging::Apply);
                self.measured = None;
                action.carry_out(&mut self.trainer)?;
                return Ok(());
            }
            Action::Save { ref tag } | Action::Discard { ref tag } => {
                match self.measured.filter(|_| matches!(action, Action::Save { .. })) {
                    Some(index) => self.figures.insert(tag.clone(), index),
                    None => self.figures.remove(tag),
                };
                action.carry_out(&mut self.trainer)?;
                return Ok(());
            }
            Action::Try { .. } => {
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
    pub(crate) fn remember(&mut self, metrics: &EpochMetrics) -> Result<(), Error> {
        self.measured = Some(self.history.len());
        self.history.push(metrics.clone());
        let value = metrics.get(&self.settings.select).flatten().and_then(finite);
        let Some(value) = value.filter(|_| validates(metrics)) else { return Ok(()) };
        if self.best.as_ref().is_none_or(|(best, _)| self.beats(value, best.value)) {
            let best = Best { index: self.history.len() - 1, value };
            self.best = Some((best, self.trainer.params().snapshot()?));
        }
        Ok(())
    }

    fn beats(&self, value: f64, best: f64) -> bool {
        let higher = EpochMetrics::higher_is_better(&self.settings.select) == Some(true);
        if higher { value > best } else { value < best }
    }

    /// Tells callbacks that training is over. The weights in force afterwards are those of the last update, those that a
    /// callback restored, or the average that took their place. A run that diverged ends as it is.
    pub(crate) fn end(
        &mut self,
        stop: Stop,
        callbacks: &mut Callbacks,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(), Error> {
        if stop == Stop::Diverged {
            self.stop = Some(stop);
        }
        self.last_weights = self.trainer.params().snapshot()?;
        let measured = self.measured;
        (self.averaged, self.rewound) = (false, false);
        self.tell(callbacks, Moment::FitEnd, report)?;
        if self.averaged || self.rewound {
            self.last_weights = self.trainer.params().snapshot()?;
        } else {
            self.trainer.params().restore(&self.last_weights)?;
            self.measured = measured;
        }
        Ok(())
    }

    /// `final` is after the last update, also where a callback went back from there at the end of its epoch.
    pub(crate) fn undo_rewind(&mut self) -> Result<(), Error> {
        if let Some(weights) = self.undone.take() {
            self.trainer.params().restore(&weights)?;
            self.measured = self.history.len().checked_sub(1);
        }
        Ok(())
    }

    /// Evaluates the weights in force, on the validation split only where that was not done yet.
    pub(crate) fn last(&mut self, data: &Dataset) -> Result<Evaluation, Error> {
        let clock = Instant::now();
        let metrics = if let Some(metrics) = self.measured.and_then(|index| self.history.get(index)) {
            metrics.recorded()
        } else {
            let scores = self.trainer.evaluate(&data.validation)?;
            let now = EpochMetrics { epoch: self.epoch, lr: finite(self.lr), ..EpochMetrics::default() };
            validated(&now, &scores).recorded()
        };
        let last = Evaluation { averaged: self.averaged, ..self.evaluation(metrics, data)? };
        self.work.eval_s += clock.elapsed().as_secs_f64();
        Ok(last)
    }

    /// Evaluates the best weights: the best epoch's, or the average where that is better. Here and in `last` is the only reading of the test split.
    pub(crate) fn finish(mut self, stop: Stop, last: Evaluation, data: &Dataset) -> Result<Fitted, Error> {
        let clock = Instant::now();
        let value = last.metrics.get(&self.settings.select).flatten().filter(|_| last.averaged);
        let (best, weights) = match self.best.take() {
            Some((best, _)) if value.is_some_and(|value| self.beats(value, best.value)) => {
                (last.clone(), self.last_weights.clone())
            }
            Some((best, weights)) if self.history[best.index].recorded() == last.metrics => {
                (last.clone(), weights)
            }
            Some((best, weights)) => {
                self.trainer.params().restore(&weights)?;
                (self.evaluation(self.history[best.index].recorded(), data)?, weights)
            }
            None => (last.clone(), self.trainer.params().snapshot()?),
        };
        self.work.eval_s += clock.elapsed().as_secs_f64();
        Ok(self.fitted(stop, last, best, weights))
    }

    pub(crate) fn fitted(
        self,
        stop: Stop,
        last: Evaluation,
        best: Evaluation,
        weights: BTreeMap<String, Tensor>,
    ) -> Fitted {
        let (work, parameters) = (self.work(), self.trainer.params().count());
        let timing = (self.before + work).timing();
        let updates = Updates { made: self.trainer.update, per_epoch: self.horizon.updates_per_epoch };
        let Self { history, decisions, last_weights, trainer, .. } = self;
        let history = history.iter().map(EpochMetrics::recorded).collect();
        let kept = trainer.into_kept();
        Fitted {
            stop,
            updates,
            history,
            last,
            best,
            decisions,
            timing,
            work,
            weights,
            last_weights,
            kept,
            parameters,
        }
    }

    fn evaluation(&mut self, metrics: EpochMetrics, data: &Dataset) -> Result<Evaluation, Error> {
        let (train, test) = (self.trainer.evaluate(&data.train)?, self.trainer.evaluate(&data.test)?);
        Ok(Evaluation {
            train_eval_loss: finite(train.loss),
            train_eval_accuracy: finite(train.accuracy),
            accuracy_gap: metrics.val_accuracy.map(|validation| train.accuracy - validation).and_then(finite),
            loss_gap: metrics.val_loss.map(|validation| validation - train.loss).and_then(finite),
            test_loss: finite(test.loss),
            test_accuracy: finite(test.accuracy),
            test_f1: finite(test.f1),
            test_precision: finite(test.precision),
            test_recall: finite(test.recall),
            test_ece: finite(test.ece),
            averaged: false,
            metrics,
        })
    }
}

/// Whether the weights that an epoch ended with are numbers.
pub(crate) fn validates(metrics: &EpochMetrics) -> bool {
    metrics.val_loss.is_some_and(f64::is_finite)
}
