//! The training loop.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{Callbacks, Moment};
use lrlab_data::Dataset;
use lrlab_models::Model;
use lrlab_optim::Optimizer;
use lrlab_runs::{Decision, EpochMetrics, Evaluation, Event, Timing, Updates, Work, finite};
use lrlab_schedulers::{Horizon, Schedule};
use serde::{Deserialize, Serialize};

use crate::run::{Run, validates};
use crate::running::Running;
use crate::trainer::Trainer;
use crate::{Error, Keeper, Rate, Settings, State};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Every update was made.
    Completed,
    /// A callback asked for it.
    Stopped,
    /// The loss or the gradient left the finite numbers, or a callback said so.
    Diverged,
    /// It was asked to from outside, now. Nothing was evaluated at the end.
    Interrupted,
    /// It was asked to from outside, at this epoch. Nothing was evaluated at the end.
    Paused,
}

/// What training gives.
#[derive(Debug)]
pub struct Fitted {
    /// Why it ended.
    pub stop: Stop,
    /// Updates made, each counted once, and those of an epoch.
    pub updates: Updates,
    /// One entry per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// After the last update. Where a callback put the best epoch's weights back at the end, that epoch; where an average
    /// along the run took the weights' place, the average.
    pub last: Evaluation,
    /// The best epoch by `settings.select`, ties to the earliest, or the average where that is better.
    pub best: Evaluation,
    /// What callbacks decided.
    pub decisions: Vec<Decision>,
    /// Clocks of all attempts on the way here; `started` and `finished` are left to the caller.
    pub timing: Timing,
    /// What this attempt did.
    pub work: Work,
    /// The best epoch's weights and buffers by name.
    pub weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that `last` speaks of.
    pub last_weights: BTreeMap<String, Tensor>,
    /// The weights and buffers that callbacks keep, by tag.
    pub kept: BTreeMap<String, BTreeMap<String, Tensor>>,
    /// Trained elements of the model.
    pub parameters: usize,
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
