//! A run in progress: its session, its host, its best weights, and the evaluation at its end.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;
use lrlab_callbacks::{Session, StopReason};
use lrlab_data::Dataset;
use lrlab_runs::{EpochMetrics, Evaluation, Updates, Work, finite};

use crate::host::TrainingHost;
use crate::running_metrics::{RunningMetrics, validated};
use crate::state::{Best, Metadata, TensorGroups};
use crate::{CheckpointAction, CheckpointPolicy, Error, Fitted, Position, Settings, State, Stop};

/// A run in progress.
pub(crate) struct Run<'a> {
    pub(crate) session: Session,
    pub(crate) host: TrainingHost<'a>,
    pub(crate) settings: &'a Settings,
    /// The work of earlier attempts.
    earlier_work: Work,
    /// The metrics of the current epoch, between two of its updates.
    pub(crate) running: Option<RunningMetrics>,
    /// The best epoch up to now and its weights.
    best: Option<(Best, BTreeMap<String, Tensor>)>,
    last_weights: BTreeMap<String, Tensor>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(session: Session, host: TrainingHost<'a>, settings: &'a Settings) -> Self {
        let (earlier_work, last_weights) = (Work::default(), BTreeMap::new());
        Self { session, host, settings, earlier_work, running: None, best: None, last_weights }
    }

    /// Returns the work of this attempt up to now.
    fn work(&self) -> Work {
        Work { elapsed_s: self.session.attempt_s(), ..self.host.trainer.work }
    }

    /// Returns the state from which the run can resume.
    fn state(&self) -> Result<State, Error> {
        let mut tensors = TensorGroups::default();
        let host = self.host.state(&mut tensors)?;
        if let Some((_, weights)) = &self.best {
            tensors.put("best", weights.clone());
        }
        let metadata = Metadata {
            session: self.session.progress().clone(),
            running: self.running,
            best: self.best.as_ref().map(|(best, _)| *best),
            host,
            callbacks: self.session.callbacks().state(),
            work: self.earlier_work + self.work(),
        };
        Ok(State { metadata, tensors })
    }

    /// Restores a state.
    pub(crate) fn resume(&mut self, State { metadata, tensors }: &State) -> Result<(), Error> {
        let place = (metadata.session.update, metadata.session.history.len());
        self.host.resume(place, &metadata.host, tensors)?;
        self.session.resume(metadata.session.clone(), metadata.callbacks.clone(), metadata.work.elapsed_s)?;
        self.earlier_work = metadata.work;
        self.running = metadata.running;
        self.best = metadata.best.map(|best| (best, tensors.get("best")));
        Ok(())
    }

    /// Returns why a callback or the loop ended the run, if either did.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.session.stop_reason().map(|reason| match reason {
            StopReason::Stopped => Stop::Stopped,
            StopReason::Diverged => Stop::Diverged,
        })
    }

    /// Consults the policy and carries out the requested action.
    pub(crate) fn checkpoint(&mut self, policy: &mut dyn CheckpointPolicy) -> Result<Option<Stop>, Error> {
        let action = policy.check(&Position {
            update: self.session.update(),
            epoch: self.session.epoch(),
            between_epochs: self.running.is_none(),
            work: self.work(),
        });
        let complete = self.session.stop_reason().is_some() || self.session.epoch() == self.settings.epochs;
        let stop = match action {
            CheckpointAction::Continue => return Ok(None),
            CheckpointAction::Pause if complete => return Ok(None),
            CheckpointAction::Save => None,
            CheckpointAction::Interrupt => Some(Stop::Interrupted),
            CheckpointAction::Pause => Some(Stop::Paused),
        };
        policy.save(self.state()?)?;
        Ok(stop)
    }

    /// Compares the metrics of the current epoch with the best ones, and copies the weights if they are better.
    pub(crate) fn compare_with_best(&mut self, metrics: &EpochMetrics) -> Result<(), Error> {
        let index = self.host.evaluated();
        let value = metrics.get(&self.settings.select).flatten().and_then(finite);
        let Some(value) = value.filter(|_| has_finite_val_loss(metrics)) else { return Ok(()) };
        if self.best.as_ref().is_none_or(|(best, _)| self.is_better(value, best.value)) {
            self.best = Some((Best { index, value }, self.host.trainer.params().snapshot()?));
        }
        Ok(())
    }

    fn is_better(&self, value: f64, best: f64) -> bool {
        let higher = EpochMetrics::higher_is_better(&self.settings.select) == Some(true);
        if higher { value > best } else { value < best }
    }

    /// Ends the session. The weights afterwards are those of the last update, those that a callback restored, or the average
    /// that replaced them. A diverged run keeps its weights.
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

    /// Evaluates the current weights, on the validation split only if that was not done before.
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

    /// Evaluates the best weights, and returns both: those of the best epoch, or the average if it is better. Only this method
    /// and [`last`](Self::last) read the test split.
    pub(crate) fn best(
        &mut self,
        last: &Evaluation,
        data: &Dataset,
    ) -> Result<(Evaluation, BTreeMap<String, Tensor>), Error> {
        let clock = Instant::now();
        let value = last.metrics.get(&self.settings.select).flatten().filter(|_| last.averaged);
        let (best, weights) = match self.best.take() {
            Some((best, _)) if value.is_some_and(|value| self.is_better(value, best.value)) => {
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
        Ok((best, weights))
    }

    pub(crate) fn fitted(
        self,
        stop: Stop,
        last: Evaluation,
        best: Evaluation,
        weights: BTreeMap<String, Tensor>,
    ) -> Fitted {
        let (work, parameters) = (self.work(), self.host.trainer.params().count());
        let timing = (self.earlier_work + work).timing();
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

/// Returns whether the validation loss of an epoch is finite.
pub(crate) fn has_finite_val_loss(metrics: &EpochMetrics) -> bool {
    metrics.val_loss.is_some_and(f64::is_finite)
}
