//! The parts that change while training, and the [`Host`] that carries out what callbacks ask for.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, backprop::GradStore};
use lrlab_callbacks::{Averaging, Host};
use lrlab_data::{Augment, Batch, BatchPlan, Dataset, Order, Split};
use lrlab_kernels::{Params, Role, backward, cross_entropy};
use lrlab_models::{Mode, Model};
use lrlab_optim::{Optimizer, WeightAverage, accumulate, clip_grad_norm};
use lrlab_schedulers::Observation;

use crate::evaluate::{input, outcomes_of, read, scores};
use crate::pass::{DeviceData, Pass};
use crate::running::Updated;
use crate::state::{Facts, Groups};
use crate::{Error, Rate, Scores, Settings};

/// Weights and optimizer at one moment.
#[derive(Debug, Clone)]
struct Kept {
    params: BTreeMap<String, Tensor>,
    optimizer: BTreeMap<String, Tensor>,
}

/// Model, optimizer, data and what is kept of them.
pub struct Trainer<'a> {
    pub(crate) model: Box<dyn Model>,
    optimizer: Box<dyn Optimizer>,
    data: &'a Dataset,
    settings: &'a Settings,
    device: &'a Device,
    /// The data, where the device holds it.
    pub(crate) there: Option<DeviceData<'a>>,
    rate: Rate,
    /// Updates made, which is the index of the next.
    pub(crate) update: u64,
    /// Updates executed, trials included.
    pub(crate) executed: u64,
    /// Seconds waited for batches, in training and evaluation.
    pub(crate) input_s: f64,
    kept: BTreeMap<String, Kept>,
    average: Option<(Averaging, WeightAverage)>,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(
        model: Box<dyn Model>,
        optimizer: Box<dyn Optimizer>,
        rate: Rate,
        data: &'a Dataset,
        settings: &'a Settings,
        device: &'a Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            there: DeviceData::where_it_fits(data, device)?,
            model,
            optimizer,
            data,
            settings,
            device,
            rate,
            update: 0,
            executed: 0,
            input_s: 0.0,
            kept: BTreeMap::new(),
            average: None,
        })
    }

    pub(crate) fn rate(&self) -> &Rate {
        &self.rate
    }

    pub(crate) fn set_gain(&mut self, source: &str, gain: f64) {
        self.rate.set_gain(source, gain);
    }

    pub(crate) fn params(&self) -> &Params {
        self.model.params()
    }

    /// The training batches of one epoch from the one with index `first` on, shuffled and augmented by seed and epoch.
    pub(crate) fn batches(&self, epoch: u64, first: u64) -> Pass {
        let Settings { seed, batch_size, .. } = *self.settings;
        let augment = self.settings.augment.map(|a| Augment { seed, epoch, ..a });
        let plan = BatchPlan {
            batch_size,
            order: Order::Shuffled { seed, epoch },
            augment,
            first_batch: first as usize,
        };
        self.pass(&self.data.train, plan)
    }

    fn pass(&self, split: &Split, plan: BatchPlan) -> Pass {
        Pass::new(self.there.as_ref(), split, plan, self.settings.prefetch)
    }

    /// The next update's batches, fewer at the end of the epoch.
    pub(crate) fn next_window(&mut self, batches: &mut Pass) -> Result<Vec<Batch>, Error> {
        let before = batches.waited();
        let window = batches.by_ref().take(self.settings.accumulate).collect();
        self.input_s += batches.waited().saturating_sub(before).as_secs_f64();
        window
    }

    /// One update at rate `lr` on a window of batches: the gradient is the mean over the window's examples.
    /// Weights are left alone where the loss or the gradient is not finite.
    pub(crate) fn step(&mut self, window: &[Batch], first_batch: u64, lr: f64) -> Result<Updated, Error> {
        let examples: usize = window.iter().map(|batch| batch.indices.len()).sum();
        let mut outcomes = Vec::with_capacity(examples);
        let mut grads: Option<GradStore> = None;
        for (batch, index) in window.iter().zip(first_batch..) {
            let mode = Mode::Train { seed: self.settings.seed, batch: index };
            let logits = self.model.forward(&input(&batch.features, self.device)?, mode)?;
            let labels = batch.labels.to_device(self.device)?;
            let loss = cross_entropy(&logits, &labels, self.settings.label_smoothing)?;
            let share = batch.indices.len() as f64 / examples as f64;
            accumulate(self.model.params(), &mut grads, backward(&loss)?, share)?;
            // Reading waits for a GPU, so everything is asked of it before.
            outcomes.extend(read(&logits, &batch.labels)?);
        }
        let loss = outcomes.iter().map(|o| o.loss).sum::<f64>() / examples as f64;
        let mut grad_norm = f64::NAN;
        if let (Some(mut grads), true) = (grads, loss.is_finite()) {
            let bound = self.settings.clip_norm.unwrap_or(f64::INFINITY);
            grad_norm = clip_grad_norm(self.model.params(), &mut grads, bound)?;
            if grad_norm.is_finite() {
                self.optimizer.step(lr, &grads)?;
            }
        }
        self.update += 1;
        self.executed += 1;
        Ok(Updated { outcomes, loss, grad_norm })
    }

    /// Figures of a split under the weights in force.
    pub(crate) fn evaluate(&mut self, split: &Split) -> Result<Scores, Error> {
        let plan = BatchPlan::new(self.settings.eval_batch_size, Order::Sequential);
        let mut batches = self.pass(split, plan);
        let outcomes = outcomes_of(&*self.model, &mut batches, split.len(), self.device);
        self.input_s += batches.waited().as_secs_f64();
        scores(&outcomes?, self.data.classes)
    }

    fn keep(&self) -> candle_core::Result<Kept> {
        Ok(Kept { params: self.model.params().snapshot()?, optimizer: self.optimizer.state()? })
    }

    fn go_back(&mut self, kept: &Kept) -> candle_core::Result<()> {
        self.model.params().restore(&kept.params)?;
        self.optimizer.restore(&kept.optimizer)
    }

    /// Trains from here on the first batches of the next epoch and looks at the validation split. Where a loss or a
    /// gradient is not finite, NaN is what was seen.
    fn try_out(&mut self, gain: f64, updates: u64) -> Result<Observation, Error> {
        let (first, per_epoch) = (self.update, self.rate.horizon().updates_per_epoch.max(1));
        let accumulate = self.settings.accumulate as u64;
        'out: for epoch in first.div_ceil(per_epoch).. {
            let mut batches = self.batches(epoch, 0);
            let mut batch = epoch * self.settings.batches_per_epoch(self.data.train.len());
            loop {
                if self.update - first == updates {
                    break 'out;
                }
                let window = self.next_window(&mut batches)?;
                if window.is_empty() {
                    break;
                }
                let lr = self.rate.at_times(self.update, gain);
                let seen = self.step(&window, batch, lr)?;
                if !seen.finite() {
                    return Ok(Observation { value: f64::NAN, stderr: None });
                }
                batch += accumulate;
            }
        }
        let data = self.data;
        let scores = self.evaluate(&data.validation)?;
        Ok(Observation { value: scores.loss, stderr: Some(scores.loss_stderr) })
    }

    /// Batch-norm statistics of the whole training split under the weights in force: the mean of the batches'
    /// statistics, each read off with the running ones at zero.
    fn norm_statistics(&mut self) -> Result<(), Error> {
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
        self.input_s += batches.waited().as_secs_f64();
        for (sum, buffer) in sums.into_iter().zip(&buffers) {
            if let Some(sum) = sum {
                buffer.set(&(sum / examples)?)?;
            }
        }
        Ok(())
    }

    fn averaged(&mut self, rule: Averaging) -> candle_core::Result<()> {
        if rule == Averaging::Apply {
            return match &self.average {
                Some((_, average)) => average.apply(self.model.params()),
                None => candle_core::bail!("no weights were averaged yet"),
            };
        }
        let (_, average) = self.average.get_or_insert_with(|| (rule, new_average(rule)));
        average.update(self.model.params())
    }

    /// The rule of the average, if there is one.
    pub(crate) fn averaging(&self) -> Option<Averaging> {
        self.average.as_ref().map(|(rule, _)| *rule)
    }

    /// Puts everything that changes while training into `tensors`; gives the tags under which something is kept.
    pub(crate) fn kept(&self, tensors: &mut Groups) -> candle_core::Result<Vec<String>> {
        tensors.put("model", self.model.params().snapshot()?);
        tensors.put("optimizer", self.optimizer.state()?);
        if let Some((_, average)) = &self.average {
            tensors.put("average", average.state()?);
        }
        for (i, kept) in self.kept.values().enumerate() {
            tensors.put(format!("kept/{i}"), kept.params.clone());
            tensors.put(format!("kept-optimizer/{i}"), kept.optimizer.clone());
        }
        Ok(self.kept.keys().cloned().collect())
    }

    /// The weights that are kept, by tag.
    pub(crate) fn into_kept(self) -> BTreeMap<String, BTreeMap<String, Tensor>> {
        self.kept.into_iter().map(|(tag, kept)| (tag, kept.params)).collect()
    }

    /// Takes back what [`Trainer::kept`] gave.
    pub(crate) fn go_on(&mut self, facts: &Facts, tensors: &Groups) -> candle_core::Result<()> {
        self.model.params().restore(&tensors.get("model"))?;
        self.optimizer.restore(&tensors.get("optimizer"))?;
        self.average = match facts.average {
            None => None,
            Some(rule) => {
                let mut average = new_average(rule);
                average.restore(&tensors.get("average"))?;
                Some((rule, average))
            }
        };
        let kept = |(i, tag): (usize, &String)| {
            let params = tensors.get(&format!("kept/{i}"));
            (tag.clone(), Kept { params, optimizer: tensors.get(&format!("kept-optimizer/{i}")) })
        };
        self.kept = facts.kept.iter().enumerate().map(kept).collect();
        self.update = facts.update;
        for (source, gain) in &facts.gains {
            self.rate.set_gain(source, *gain);
        }
        Ok(())
    }
}

/// An empty average. [`Averaging::Apply`] is no rule and never comes here; its mean would be the plain one.
fn new_average(rule: Averaging) -> WeightAverage {
    match rule {
        Averaging::Exponential { decay } => WeightAverage::exponential(decay),
        Averaging::Latest { k } => WeightAverage::latest(k),
        Averaging::Uniform | Averaging::Apply => WeightAverage::uniform(),
    }
}

impl Host for Trainer<'_> {
    fn save(&mut self, tag: &str) -> Result<(), lrlab_callbacks::Error> {
        let kept = self.keep().map_err(|e| host(&format!("save {tag:?}"), &e))?;
        self.kept.insert(tag.to_owned(), kept);
        Ok(())
    }

    fn restore(&mut self, tag: &str) -> Result<(), lrlab_callbacks::Error> {
        let action = format!("restore {tag:?}");
        let kept = self.kept.remove(tag).ok_or_else(|| host(&action, &"nothing is kept under this tag"))?;
        let done = self.go_back(&kept);
        self.kept.insert(tag.to_owned(), kept);
        done.map_err(|e| host(&action, &e))
    }

    fn discard(&mut self, tag: &str) -> Result<(), lrlab_callbacks::Error> {
        self.kept.remove(tag);
        Ok(())
    }

    fn average(&mut self, rule: Averaging) -> Result<(), lrlab_callbacks::Error> {
        self.averaged(rule).map_err(|e| host("average weights", &e))
    }

    fn recompute_norm_statistics(&mut self) -> Result<(), lrlab_callbacks::Error> {
        self.norm_statistics().map_err(|e| host("recompute batch-norm statistics", &e))
    }

    fn trial(&mut self, gain: f64, updates: u64) -> Result<Observation, lrlab_callbacks::Error> {
        let action = "try out a rate";
        let (kept, update) = (self.keep().map_err(|e| host(action, &e))?, self.update);
        let seen = self.try_out(gain, updates);
        self.update = update;
        self.go_back(&kept).map_err(|e| host(action, &e))?;
        seen.map_err(|e| host(action, &e))
    }
}

fn host(action: &str, error: &dyn std::fmt::Display) -> lrlab_callbacks::Error {
    lrlab_callbacks::Error::Host { action: action.to_owned(), message: error.to_string() }
}
