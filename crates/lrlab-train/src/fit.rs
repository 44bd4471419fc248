//! The training loop.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Device;
use lrlab_callbacks::{Callbacks, Moment};
use lrlab_data::Dataset;
use lrlab_models::Model;
use lrlab_optim::Optimizer;
use lrlab_runs::{Evaluation, Event, finite};
use lrlab_schedulers::{Horizon, Schedule};

use crate::run::{Run, validates};
use crate::running::Running;
use crate::trainer::Trainer;
use crate::{Error, Fitted, Keeper, Rate, Settings, State, Stop};

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

/// Trains. `interrupt` is looked at after every update; `report` hears every event as it happens.
///
/// # Errors
/// See [`Error`]; callbacks hear of it before it is returned.
pub fn fit(parts: Fit<'_>, interrupt: &AtomicBool, report: &mut dyn FnMut(&Event)) -> Result<Fitted, Error> {
    fit_from(parts, None, &mut &*interrupt, report)
}

/// Trains, from where `state` was taken if there is one: with the same parts the run ends with the bits that it would
/// have had without the interruption. `keeper` is asked between updates whether to keep the state; `report` hears every
/// event as it happens.
///
/// # Errors
/// See [`Error`]; callbacks hear of it before it is returned.
pub fn fit_from(
    parts: Fit<'_>,
    state: Option<&State>,
    keeper: &mut dyn Keeper,
    report: &mut dyn FnMut(&Event),
) -> Result<Fitted, Error> {
    parts.settings.check()?;
    let Fit { model, optimizer, schedule, mut callbacks, data, settings, device } = parts;
    let horizon = Fit::horizon(settings, data.train.len());
    let rate = Rate::new(schedule, horizon, settings.lr, settings.lr_min, settings.lr_max);
    let trainer = Trainer::new(model, optimizer, rate, data, settings, device)?;
    let mut run = Run::new(trainer, settings, horizon);
    if let Some(state) = state {
        run.go_on(state, &mut callbacks)?;
    }

    let stop = match train(&mut run, &mut callbacks, data, keeper, report) {
        Ok(stop) => stop,
        Err(error) => {
            let text = error.to_string();
            // The first error is the one to tell; a callback that fails on it has nothing to add.
            let _ = run.tell(&mut callbacks, Moment::Failed { error: &text }, report);
            return Err(error);
        }
    };
    if matches!(stop, Stop::Interrupted | Stop::Paused) {
        return Ok(run.fitted(stop, Evaluation::default(), Evaluation::default(), BTreeMap::new()));
    }
    run.undo_rewind()?;
    run.end(stop, &mut callbacks, report)?;
    let last = run.last(data)?;
    run.finish(stop, last, data)
}

/// The algorithm.
fn train(
    run: &mut Run<'_>,
    callbacks: &mut Callbacks,
    data: &Dataset,
    keeper: &mut dyn Keeper,
    report: &mut dyn FnMut(&Event),
) -> Result<Stop, Error> {
    let settings = run.settings;
    let (over, goes_on) = (run.stop, run.trainer.update > 0);
    report(&Event::Started { updates: run.horizon.updates, epochs: settings.epochs });
    run.tell(callbacks, Moment::FitStart, report)?;
    if let Some(stop) = over {
        return Ok(stop);
    }
    if goes_on && let Some(stop) = run.ask(keeper, callbacks)? {
        return Ok(stop);
    }
    for epoch in run.epoch..settings.epochs {
        if run.seen.is_none() {
            run.tell(callbacks, Moment::EpochStart, report)?;
        }
        let mut seen = match run.seen.take() {
            Some(seen) => seen,
            None => Running::new(run.trainer.rate().at(run.trainer.update)),
        };
        let mut batches = run.trainer.batches(epoch, seen.batches);
        let first = epoch * settings.batches_per_epoch(data.train.len());
        loop {
            let clock = Instant::now();
            let window = run.trainer.next_window(&mut batches)?;
            run.work.data_s += clock.elapsed().as_secs_f64();
            if window.is_empty() {
                break;
            }
            let lr = run.trainer.rate().at(run.trainer.update);
            let clock = Instant::now();
            let updated = run.trainer.step(&window, first + seen.batches, lr)?;
            run.work.train_s += clock.elapsed().as_secs_f64();
            run.work.examples += updated.outcomes.len() as u64;
            run.lr = lr;
            seen.add(&updated, window.len());
            report(&Event::Progress { update: run.trainer.update, loss: finite(updated.loss), lr });

            run.measured = None;
            run.rewound = false;
            run.undone = None;
            let grad_norm = Some(updated.grad_norm);
            run.tell(callbacks, Moment::Update { loss: updated.loss, grad_norm }, report)?;
            if !updated.finite() && !run.rewound {
                return Ok(Stop::Diverged);
            }
            if let Some(stop) = run.stop {
                return Ok(stop);
            }
            run.seen = Some(seen);
            if let Some(stop) = run.ask(keeper, callbacks)? {
                return Ok(stop);
            }
        }
        let clock = Instant::now();
        let scores = run.trainer.evaluate(&data.validation)?;
        run.work.eval_s += clock.elapsed().as_secs_f64();
        run.epoch = epoch + 1;
        run.seen = None;
        let metrics = seen.metrics(run.epoch, run.lr, &scores);
        run.remember(&metrics)?;
        report(&Event::Epoch { metrics: Box::new(metrics.recorded()) });
        run.rewound = false;
        run.tell(callbacks, Moment::Epoch(&metrics), report)?;
        if !validates(&metrics) && !run.rewound {
            run.stop = Some(Stop::Diverged);
        }
        if let Some(stop) = run.ask(keeper, callbacks)? {
            return Ok(stop);
        }
        if let Some(stop) = run.stop {
            return Ok(stop);
        }
    }
    Ok(Stop::Completed)
}
