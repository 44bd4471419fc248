//! The parts that change during training, with the operations on them: update, evaluation, trial.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor, backprop::GradStore};
use lrlab_data::{Batch, BatchPlan, Dataset, Order, Split};
use lrlab_kernels::{Params, Role, backward, cross_entropy};
use lrlab_models::{Mode, Model};
use lrlab_optim::{Optimizer, accumulate, clip_grad_norm};
use lrlab_runs::Work;
use lrlab_schedulers::{Driver, Observation};

use crate::batch_source::{BatchSource, DeviceData};
use crate::evaluate::{input, predictions_from, read, scores};
use crate::running_metrics::UpdateStats;
use crate::{Error, Scores, Settings};

/// Copies of weights and optimizer state.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) params: BTreeMap<String, Tensor>,
    pub(crate) optimizer: BTreeMap<String, Tensor>,
}

/// Model, optimizer and data.
pub(crate) struct Trainer<'a> {
    model: Box<dyn Model>,
    optimizer: Box<dyn Optimizer>,
    /// Sets the scheduled constants of `optimizer` before each update.
    driver: Arc<Driver>,
    data: &'a Dataset,
    settings: &'a Settings,
    device: &'a Device,
    /// The data set in the memory of the device, if it fits.
    pub(crate) device_data: Option<DeviceData<'a>>,
    /// The number of completed updates, which is the index of the next.
    pub(crate) update: u64,
    /// The work of this attempt, without `elapsed_s`.
    pub(crate) work: Work,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(
        model: Box<dyn Model>,
        optimizer: Box<dyn Optimizer>,
        driver: Arc<Driver>,
        data: &'a Dataset,
        settings: &'a Settings,
        device: &'a Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            device_data: DeviceData::upload_if_it_fits(data, device)?,
            model,
            optimizer,
            driver,
            data,
            settings,
            device,
            update: 0,
            work: Work::default(),
        })
    }

    pub(crate) fn params(&self) -> &Params {
        self.model.params()
    }

    /// Returns the training batches of one epoch from index `first` on, shuffled and augmented by seed and epoch.
    pub(crate) fn batches(&self, epoch: u64, first: u64) -> BatchSource {
        let Settings { seed, batch_size, augment, .. } = *self.settings;
        let plan = BatchPlan {
            batch_size,
            order: Order::Shuffled { seed, epoch },
            augment,
            first_batch: first as usize,
        };
        self.pass(&self.data.train, plan)
    }

    fn pass(&self, split: &Split, plan: BatchPlan) -> BatchSource {
        BatchSource::new(self.device_data.as_ref(), split, plan, self.settings.prefetch)
    }

    /// Returns the batches of the next update, fewer at the end of the epoch.
    pub(crate) fn next_window(&mut self, batches: &mut BatchSource) -> Result<Vec<Batch>, Error> {
        let before = batches.waited();
        let window = batches.by_ref().take(self.settings.accumulate).collect();
        self.work.input_s += batches.waited().saturating_sub(before).as_secs_f64();
        window
    }

    /// Performs one update at rate `lr` on a window of batches. The gradient is the mean over the examples of the window. The
    /// weights stay unchanged if the loss or the gradient is not finite.
    pub(crate) fn step(&mut self, window: &[Batch], first_batch: u64, lr: f64) -> Result<UpdateStats, Error> {
        let examples: usize = window.iter().map(|batch| batch.indices.len()).sum();
        let mut predictions = Vec::with_capacity(examples);
        let mut grads: Option<GradStore> = None;
        for (batch, index) in window.iter().zip(first_batch..) {
            let mode = Mode::Train { seed: self.settings.seed, batch: index };
            let logits = self.model.forward(&input(&batch.features, self.device)?, mode)?;
            let labels = batch.labels.to_device(self.device)?;
            let loss = cross_entropy(&logits, &labels, self.settings.label_smoothing)?;
            let share = batch.indices.len() as f64 / examples as f64;
            accumulate(self.model.params(), &mut grads, backward(&loss)?, share)?;
            // Reading synchronises with a GPU, so queue the whole step first.
            predictions.extend(read(&logits, &batch.labels)?);
        }
        let loss = predictions.iter().map(|o| o.loss).sum::<f64>() / examples as f64;
        let mut grad_norm = f64::NAN;
        if let (Some(mut grads), true) = (grads, loss.is_finite()) {
            let bound = self.settings.clip_norm.unwrap_or(f64::INFINITY);
            grad_norm = clip_grad_norm(self.model.params(), &mut grads, bound)?;
            if grad_norm.is_finite() {
                self.set_constants()?;
                self.optimizer.step(lr, &grads)?;
            }
        }
        self.update += 1;
        self.work.updates += 1;
        self.work.examples += examples as u64;
        Ok(UpdateStats { predictions, loss, grad_norm })
    }

    /// Sets the constants of the optimizer that follow a schedule to their values for this update.
    fn set_constants(&mut self) -> candle_core::Result<()> {
        let run = self.settings.horizon(self.data.train.len());
        let mut set = Ok(());
        self.driver.apply(run.at(self.update), |group, hyper, value| {
            if set.is_ok() {
                set = self.optimizer.set(group, hyper, value);
            }
        });
        set
    }

    /// Evaluates the current weights on a split.
    pub(crate) fn evaluate(&mut self, split: &Split) -> Result<Scores, Error> {
        let plan = BatchPlan::new(self.settings.eval_batch_size, Order::Sequential);
        let mut batches = self.pass(split, plan);
        let predictions = predictions_from(&*self.model, &mut batches, split.len(), self.device);
        self.work.input_s += batches.waited().as_secs_f64();
        scores(&predictions?, self.data.classes)
    }

    pub(crate) fn snapshot(&self) -> candle_core::Result<Snapshot> {
        Ok(Snapshot { params: self.params().snapshot()?, optimizer: self.optimizer.state()? })
    }

    pub(crate) fn restore(&mut self, snapshot: &Snapshot) -> candle_core::Result<()> {
        self.params().restore(&snapshot.params)?;
        self.optimizer.restore(&snapshot.optimizer)
    }

    /// Performs one update at each rate, observes the validation loss, and restores the state.
    pub(crate) fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        let (clock, evaluated) = (Instant::now(), self.work.eval_s);
        let (snapshot, update) = (self.snapshot()?, self.update);
        let observation = self.run_trial(lrs);
        self.update = update;
        self.restore(&snapshot)?;
        self.work.train_s += clock.elapsed().as_secs_f64() - (self.work.eval_s - evaluated);
        observation
    }

    /// Trains on the first batches of the next epoch and evaluates the validation split. The observation is NaN if a loss or
    /// a gradient is not finite.
    fn run_trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        let mut lrs = lrs.peekable();
        let per_epoch = self.settings.updates_per_epoch(self.data.train.len()).max(1);
        let accumulate = self.settings.accumulate as u64;
        'epochs: for epoch in self.update.div_ceil(per_epoch).. {
            let mut batches = self.batches(epoch, 0);
            let mut batch = epoch * self.settings.batches_per_epoch(self.data.train.len());
            while lrs.peek().is_some() {
                let window = self.next_window(&mut batches)?;
                if window.is_empty() {
                    continue 'epochs;
                }
                let Some(lr) = lrs.next() else { break };
                if !self.step(&window, batch, lr)?.finite() {
                    return Ok(Observation { value: f64::NAN, stderr: None });
                }
                batch += accumulate;
            }
            break;
        }
        let (data, clock) = (self.data, Instant::now());
        let scores = self.evaluate(&data.validation)?;
        self.work.eval_s += clock.elapsed().as_secs_f64();
        Ok(Observation { value: scores.loss, stderr: Some(scores.loss_stderr) })
    }

    /// Recomputes the batch-norm statistics on the whole training split under the current weights: the mean of the statistics
    /// of the batches, each measured with the running statistics set to zero.
    pub(crate) fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        let buffers: Vec<_> = self
            .params()
            .iter()
            .filter(|(_, param)| param.role == Role::Buffer)
            .map(|(_, param)| param.var.clone())
            .collect();
        if buffers.is_empty() {
            return Ok(());
        }
        let plan = BatchPlan::new(self.settings.batch_size, Order::Sequential);
        let mut batches = self.pass(&self.data.train, plan);
        let mut sums: Vec<Option<Tensor>> = vec![None; buffers.len()];
        let (mut examples, seed) = (0.0, self.settings.seed);
        for batch in &mut batches {
            let batch = batch?;
            for buffer in &buffers {
                buffer.set(&buffer.zeros_like()?)?;
            }
            let mode = Mode::Train { seed, batch: self.update };
            self.model.forward(&input(&batch.features, self.device)?, mode)?;
            let weight = batch.indices.len() as f64;
            for (sum, buffer) in sums.iter_mut().zip(&buffers) {
                let seen = (buffer.as_tensor() * (weight / lrlab_models::NORM_MOMENTUM))?;
                *sum = Some(match sum.take() {
                    None => seen,
                    Some(sum) => (sum + seen)?,
                });
            }
            examples += weight;
        }
        self.work.input_s += batches.waited().as_secs_f64();
        for (sum, buffer) in sums.into_iter().zip(&buffers) {
            if let Some(sum) = sum {
                buffer.set(&(sum / examples)?)?;
            }
        }
        Ok(())
    }
}
