//! A run under way: its session, its host, its best weights, and its end.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;
use lrlab_callbacks::{Session, StopReason};
use lrlab_data::Dataset;
use lrlab_runs::{EpochMetrics, Evaluation, Updates, Work, finite};

use crate::host::TrainingHost;
use crate::running::{Running, validated};
use crate::state::{Best, Facts, Groups};
use crate::{Error, Fitted, Keeper, Position, Settings, State, Stop, Wish};

/// A run under way.
pub(crate) struct Run<'a> {
    pub(crate) session: Session,
    pub(crate) host: TrainingHost<'a>,
    pub(crate) settings: &'a Settings,
    /// What earlier attempts did.
    before: Work,
    /// Metrics of the epoch under way, between two of its updates.
    pub(crate) running: Option<Running>,
    /// The best epoch so far and its weights.
    best: Option<(Best, BTreeMap<String, Tensor>)>,
    last_weights: BTreeMap<String, Tensor>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(session: Session, host: TrainingHost<'a>, settings: &'a Settings) -> Self {
        let (before, last_weights) = (Work::default(), BTreeMap::new());
        Self { session, host, settings, before, running: None, best: None, last_weights }
    }

    /// What this attempt did so far.
    fn work(&self) -> Work {
        Work { elapsed_s: self.session.attempt_s(), ..self.host.trainer.work }
    }

    /// Everything that is needed to continue from here.
    fn state(&self) -> Result<State, Error> {
        let mut tensors = Groups::default();
        let host = self.host.state(&mut tensors)?;
        if let Some((_, weights)) = &self.best {
            tensors.put("best", weights.clone());
        }
        let facts = Facts {
            session: self.session.progress().clone(),
            running: self.running,
            best: self.best.as_ref().map(|(best, _)| *best),
            host,
            callbacks: self.session.callbacks().state(),
            work: self.before + self.work(),
        };
        Ok(State { facts, tensors })
    }

    /// Continues from a state.
    pub(crate) fn resume(&mut self, State { facts, tensors }: &State) -> Result<(), Error> {
        let place = (facts.session.update, facts.session.history.len());
        self.host.resume(place, &facts.host, tensors)?;
        self.session.resume(facts.session.clone(), facts.callbacks.clone(), facts.work.elapsed_s)?;
        self.before = facts.work;
        self.running = facts.running;
        self.best = facts.best.map(|best| (best, tensors.get("best")));
        Ok(())
    }

    /// Why a callback or the loop ended the run, if either did.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.session.stop_reason().map(|reason| match reason {
            StopReason::Stopped => Stop::Stopped,
            StopReason::Diverged => Stop::Diverged,
        })
    }

    /// Asks the keeper what it wants, and does it.
    pub(crate) fn ask(&mut self, keeper: &mut dyn Keeper) -> Result<Option<Stop>, Error> {
        let wish = keeper.wish(&Position {
            update: self.session.update(),
            epoch: self.session.epoch(),
            between_epochs: self.running.is_none(),
            work: self.work(),
        });
        let over = self.session.stop_reason().is_some() || self.session.epoch() == self.settings.epochs;
        let stop = match wish {
            Wish::GoOn => return Ok(None),
            Wish::Pause if over => return Ok(None),
            Wish::Save => None,
            Wish::Interrupt => Some(Stop::Interrupted),
            Wish::Pause => Some(Stop::Paused),
        };
        keeper.keep(self.state()?)?;
        Ok(stop)
    }

    /// Compares the epoch that was just evaluated with the best so far, and copies its weights where it is better.
    pub(crate) fn compare_with_best(&mut self, metrics: &EpochMetrics) -> Result<(), Error> {
        let index = self.host.evaluated();
        let value = metrics.get(&self.settings.select).flatten().and_then(finite);
        let Some(value) = value.filter(|_| validates(metrics)) else { return Ok(()) };
        if self.best.as_ref().is_none_or(|(best, _)| self.beats(value, best.value)) {
            self.best = Some((Best { index, value }, self.host.trainer.params().snapshot()?));
        }
        Ok(())
    }

    fn beats(&self, value: f64, best: f64) -> bool {
        let higher = EpochMetrics::higher_is_better(&self.settings.select) == Some(true);
        if higher { value > best } else { value < best }
    }

    /// Closes the run. The weights in force afterwards are those of the last update, those that a callback restored, or the
    /// average that took their place. A run that diverged ends as it is.
    pub(crate) fn end(&mut self, stop: Stop) -> Result<(), Error> {
        self.host.undo_restore()?;
        if stop == Stop::Diverged {
            self.session.diverge();
        }
        let host = &mut self.host;
        self.last_weights = host.trainer.params().snapshot()?;
        let measured = host.measured;
        (host.averaged, host.restored) = (false, false);
        self.session.end(host)?;
        if host.averaged || host.restored {
            self.last_weights = host.trainer.params().snapshot()?;
        } else {
            host.trainer.params().restore(&self.last_weights)?;
            host.measured = measured;
        }
        Ok(())
    }

    /// Evaluates the weights in force, on the validation split only where that was not done yet.
    pub(crate) fn last(&mut self, data: &Dataset) -> Result<Evaluation, Error> {
        let clock = Instant::now();
        let metrics =
            if let Some(metrics) = self.host.measured.and_then(|index| self.session.history().get(index)) {
                metrics.recorded()
            } else {
                let scores = self.host.trainer.evaluate(&data.validation)?;
                let now = EpochMetrics {
                    epoch: self.session.epoch(),
                    lr: finite(self.session.last_lr()),
                    ..EpochMetrics::default()
                };
                validated(&now, &scores).recorded()
            };
        let last = Evaluation { averaged: self.host.averaged, ..self.evaluation(metrics, data)? };
        self.host.trainer.work.eval_s += clock.elapsed().as_secs_f64();
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
            Some((best, weights)) if self.session.history()[best.index].recorded() == last.metrics => {
                (last.clone(), weights)
            }
            Some((best, weights)) => {
                self.host.trainer.params().restore(&weights)?;
                (self.evaluation(self.session.history()[best.index].recorded(), data)?, weights)
            }
            None => (last.clone(), self.host.trainer.params().snapshot()?),
        };
        self.host.trainer.work.eval_s += clock.elapsed().as_secs_f64();
        Ok(self.fitted(stop, last, best, weights))
    }

    pub(crate) fn fitted(
        self,
        stop: Stop,
        last: Evaluation,
        best: Evaluation,
        weights: BTreeMap<String, Tensor>,
    ) -> Fitted {
        let (work, parameters) = (self.work(), self.host.trainer.params().count());
        let timing = (self.before + work).timing();
        let (made, per_epoch) = (self.session.update(), self.session.horizon().updates_per_epoch);
        let updates = Updates { made, per_epoch };
        let Self { session, last_weights, host, .. } = self;
        let history = session.history().iter().map(EpochMetrics::recorded).collect();
        let decisions = session.decisions().to_vec();
        let kept = host.into_saved();
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
        let (train, test) =
            (self.host.trainer.evaluate(&data.train)?, self.host.trainer.evaluate(&data.test)?);
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
