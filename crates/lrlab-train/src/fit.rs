//! The training loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{Callbacks, Session};
use lrlab_data::Dataset;
use lrlab_models::Model;
use lrlab_optim::Optimizer;
use lrlab_runs::{Evaluation, Event, finite};
use lrlab_schedulers::{Driver, Horizon, Schedule};

use crate::host::TrainingHost;
use crate::run::{Run, has_finite_val_loss};
use crate::running_metrics::RunningMetrics;
use crate::trainer::Trainer;
use crate::{CheckpointPolicy, Error, Fitted, Settings, State, Stop};

/// The parts of a run.
pub struct Fit<'a> {
    /// The network.
    pub model: Box<dyn Model>,
    /// The update rule over the network's parameters.
    pub optimizer: Box<dyn Optimizer>,
    /// The learning rate over time, built for the run's [`Horizon`] (see [`Fit::horizon`]).
    pub schedule: Box<dyn Schedule>,
    /// The schedules of constants of the update rule, in the group `""` (see [`Optimizer::set`]); may be empty.
    pub driver: Driver,
    /// The callbacks.
    pub callbacks: Callbacks,
    /// The data set.
    pub data: &'a Dataset,
    /// The settings of the loop.
    pub settings: &'a Settings,
    /// The device to train on, where the parameters already are.
    pub device: &'a Device,
}

impl Fit<'_> {
    /// Returns the length of a run with these settings on `examples` training examples.
    #[must_use]
    pub fn horizon(settings: &Settings, examples: usize) -> Horizon {
        settings.horizon(examples)
    }
}

/// Trains a model. The loop checks `interrupt` after every update; `report` receives every event as it happens.
///
/// On the CPU, training is a few per cent faster in a thread that called [`lrlab_kernels::compute_on_this_thread`].
///
/// # Errors
/// Returns an [`Error`] if training fails; callbacks see it first.
pub fn fit(parts: Fit<'_>, interrupt: &AtomicBool, report: &mut dyn FnMut(&Event)) -> Result<Fitted, Error> {
    fit_from(parts, None, &mut &*interrupt, report)
}

/// Trains a model, resuming from `state` if there is one: with the same parts, the result is bit-identical to that of a run
/// without interruption. The loop consults `policy` between updates; `report` receives every event as it happens.
///
/// # Errors
/// Returns an [`Error`] if training fails; callbacks see it first.
pub fn fit_from(
    parts: Fit<'_>,
    state: Option<&State>,
    policy: &mut dyn CheckpointPolicy,
    report: &mut dyn FnMut(&Event),
) -> Result<Fitted, Error> {
    parts.settings.check()?;
    for (split, name) in [(&parts.data.train, "train"), (&parts.data.validation, "validation")] {
        if split.is_empty() {
            return Err(Error::empty(name));
        }
    }
    let Fit { model, optimizer, schedule, driver, callbacks, data, settings, device } = parts;
    let horizon = Fit::horizon(settings, data.train.len());
    let session = Session::new(callbacks, schedule, settings.lr, horizon);
    let driver = Arc::new(driver);
    let session = session.clamp_lr(settings.lr_min, settings.lr_max).with_driver(Arc::clone(&driver));
    let trainer = Trainer::new(model, optimizer, driver, data, settings, device)?;
    let mut run = Run::new(session, TrainingHost::new(trainer, report), settings);
    if let Some(state) = state {
        run.resume(state)?;
    }

    match train_and_evaluate(&mut run, data, policy) {
        Ok(Ended { stop, last, best, weights }) => Ok(run.fitted(stop, last, best, weights)),
        Err(error) => {
            // Return the first error, even if a callback fails on it too.
            let _ = run.session.fail(&error.to_string(), &mut run.host);
            Err(error)
        }
    }
}

/// How a run ended, and its evaluations and best weights unless it was interrupted or paused.
struct Ended {
    stop: Stop,
    last: Evaluation,
    best: Evaluation,
    weights: BTreeMap<String, Tensor>,
}

fn train_and_evaluate(
    run: &mut Run<'_>,
    data: &Dataset,
    policy: &mut dyn CheckpointPolicy,
) -> Result<Ended, Error> {
    let stop = train(run, data, policy)?;
    if matches!(stop, Stop::Interrupted | Stop::Paused) {
        let (last, best, weights) = Default::default();
        return Ok(Ended { stop, last, best, weights });
    }
    run.end(stop)?;
    let last = run.last(data)?;
    let (best, weights) = run.best(&last, data)?;
    Ok(Ended { stop, last, best, weights })
}

/// The training algorithm.
fn train(run: &mut Run<'_>, data: &Dataset, policy: &mut dyn CheckpointPolicy) -> Result<Stop, Error> {
    let settings = run.settings;
    let (stop, resumed) = (run.stop(), run.session.update() > 0);
    let updates = run.session.horizon().updates;
    (run.host.report)(&Event::Started { updates, epochs: settings.epochs });
    run.session.begin(&mut run.host)?;
    if let Some(stop) = stop {
        return Ok(stop);
    }
    if resumed && let Some(stop) = run.checkpoint(policy)? {
        return Ok(stop);
    }
    for epoch in run.session.epoch()..settings.epochs {
        if run.running.is_none() {
            run.session.begin_epoch(&mut run.host)?;
        }
        let mut running = run.running.take().unwrap_or_else(|| RunningMetrics::new(run.session.lr()));
        let mut batches = run.host.trainer.batches(epoch, running.batches);
        let first = epoch * settings.batches_per_epoch(data.train.len());
        loop {
            let trainer = &mut run.host.trainer;
            let clock = Instant::now();
            let window = trainer.next_window(&mut batches)?;
            trainer.work.data_s += clock.elapsed().as_secs_f64();
            if window.is_empty() {
                break;
            }
            let lr = run.session.lr();
            let clock = Instant::now();
            let updated = trainer.step(&window, first + running.batches, lr)?;
            trainer.work.train_s += clock.elapsed().as_secs_f64();
            running.add(&updated, window.len());
            let update = trainer.update;
            (run.host.report)(&Event::Progress {
                update,
                loss: finite(updated.loss),
                lr,
                grad_norm: finite(updated.grad_norm),
                extra: BTreeMap::new(),
            });

            run.host.updated();
            run.session.end_update(updated.loss, Some(updated.grad_norm), &mut run.host)?;
            if !updated.finite() && !run.host.restored {
                return Ok(Stop::Diverged);
            }
            if let Some(stop) = run.stop() {
                return Ok(stop);
            }
            run.running = Some(running);
            if let Some(stop) = run.checkpoint(policy)? {
                return Ok(stop);
            }
        }
        let clock = Instant::now();
        let scores = run.host.trainer.evaluate(&data.validation)?;
        run.host.trainer.work.eval_s += clock.elapsed().as_secs_f64();
        run.running = None;
        let metrics = running.metrics(epoch + 1, run.session.last_lr(), &scores);
        run.compare_with_best(&metrics)?;
        (run.host.report)(&Event::Epoch { metrics: Box::new(metrics.recorded()) });
        let validated = has_finite_val_loss(&metrics);
        run.session.end_epoch(metrics, &mut run.host)?;
        // A rewind at the end of a run is undone, because no update follows it.
        if !validated && (!run.host.restored || run.session.is_over()) {
            run.session.diverge();
        }
        if let Some(stop) = run.checkpoint(policy)? {
            return Ok(stop);
        }
        if let Some(stop) = run.stop() {
            return Ok(stop);
        }
    }
    Ok(Stop::Completed)
}
