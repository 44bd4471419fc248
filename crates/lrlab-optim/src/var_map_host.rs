//! A [`Host`] for a candle `VarMap`.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::VarMap;
use lrlab_callbacks::{Averaging, Error, Host, Session};
use lrlab_kernels::Params;
use lrlab_schedulers::Observation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::snapshots::{SnapshotStore, Tensors};
use crate::{Optimizer, WeightAverage, clip_grad_norm};

type Recompute = Box<dyn FnMut() -> Result<()> + Send>;
type Loss = Box<dyn FnMut() -> Result<Tensor> + Send>;
type Observe = Box<dyn FnMut() -> Result<Observation> + Send>;

/// Carries out the actions of a [`Session`] on a `VarMap`: snapshots of weights and optimizer state in memory or on disk,
/// averages, trials, and checkpoints from which a killed run continues with the same bits.
///
/// `examples/mlp.rs` uses it with parameter groups, a controller, early stopping, and snapshots of the best three epochs on disk.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Init, VarBuilder, VarMap};
/// use lrlab_callbacks::{Callbacks, EpochMetrics, Session};
/// use lrlab_optim::{Adam, AdamConfig, VarMapHost};
/// use lrlab_schedulers::{Horizon, ScheduleSpec};
///
/// let map = VarMap::new();
/// let w = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu).get_with_hints(2, "w", Init::Const(1.0))?;
/// let mut host = VarMapHost::new(&map, |params| Adam::decoupled(AdamConfig::adamw(), params))?;
///
/// let run = Horizon { updates: 40, updates_per_epoch: 10 };
/// let mut session = Session::new(Callbacks::default(), ScheduleSpec::parse("static")?.build(&run)?, 0.1, run);
/// session.begin(&mut host)?;
/// while !session.is_over() {
///     session.begin_epoch(&mut host)?;
///     for _ in session.epoch_updates() {
///         host.update(&mut session, &w.sqr()?.sum_all()?)?;
///         if session.is_over() {
///             break; // A callback may stop the run within an epoch.
///         }
///     }
///     session.end_epoch(EpochMetrics::default(), &mut host)?;
/// }
/// session.end(&mut host)?;
/// assert!(w.sqr()?.sum_all()?.to_scalar::<f32>()? < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An optimizer that does not return its state does not compile:
///
/// ```compile_fail,E0277
/// # let map = candle_nn::VarMap::new();
/// use candle_nn::{AdamW, Optimizer, ParamsAdamW};
/// // error: `candle_nn::AdamW` does not return its state, so a run with it cannot be saved, rewound or resumed
/// lrlab_optim::VarMapHost::new(&map, |_| AdamW::new(map.all_vars(), ParamsAdamW::default()));
/// ```
pub struct VarMapHost {
    params: Params,
    optimizer: Box<dyn Optimizer>,
    clip: f64,
    snapshots: SnapshotStore,
    /// The average with its rule; empty after a rewind to a snapshot before the first average.
    average: Option<(Averaging, WeightAverage)>,
    /// The tags of snapshots since the last update. An average of their weights belongs to them too.
    current: BTreeSet<String>,
    recompute: Option<Recompute>,
    trial: Option<(Loss, Observe)>,
}

/// The content of a checkpoint apart from tensors.
#[derive(Serialize, Deserialize)]
struct SessionFile {
    session: Value,
    average: Option<Averaging>,
}

impl VarMapHost {
    /// Creates a host of the variables of `map`, with snapshots in memory. Build the network first.
    ///
    /// `optimizer` gets the variables with their names and roles (weight, bias, norm), as determined by
    /// [`Params::of_var_map`].
    ///
    /// # Errors
    /// Returns an error if the map is empty, its variables differ in device or type, or `optimizer` fails.
    pub fn new<O: Optimizer + 'static>(
        map: &VarMap,
        optimizer: impl FnOnce(&Params) -> Result<O>,
    ) -> Result<Self> {
        let params = Params::of_var_map(map)?;
        let optimizer = Box::new(optimizer(&params)?);
        let (snapshots, clip) = (SnapshotStore::Memory([].into()), f64::INFINITY);
        Ok(Self {
            params,
            optimizer,
            clip,
            snapshots,
            average: None,
            current: BTreeSet::new(),
            recompute: None,
            trial: None,
        })
    }

    /// Stores snapshots as `TAG.safetensors` in `folder`, which is created if missing, and checkpoints beside them
    /// ([`Session::checkpoint_every`]). Weights have their names, the optimizer state has the names `optimizer/NAME`,
    /// and an average `average/NAME`. A checkpoint contains the snapshots of its time, which a resume restores; other files of the
    /// folder stay as they are. Use one folder per run.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created.
    pub fn in_folder(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder)
            .map_err(|e| candle_core::Error::Msg(format!("{}: {e}", folder.display())))?;
        self.snapshots = SnapshotStore::Folder(folder.to_owned());
        Ok(self)
    }

    /// Sets the bound of the global gradient norm ([`clip_grad_norm`]). By default it is infinite, so that the norm is only measured.
    #[must_use]
    pub fn clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.clip = max_norm;
        self
    }

    /// Sets the function that recomputes the batch-norm statistics of averaged weights, usually by a forward pass over the
    /// training split in training mode.
    #[must_use]
    pub fn recompute_with(mut self, recompute: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        self.recompute = Some(Box::new(recompute));
        self
    }

    /// Sets the functions of a trial, for controllers that search: `loss` computes the training loss of the next update, and
    /// `observe` the validation loss after the trial. A trial varies the rate only: scheduled constants such as momentum keep
    /// their values of the last update.
    #[must_use]
    pub fn trial_with(
        mut self,
        loss: impl FnMut() -> Result<Tensor> + Send + 'static,
        observe: impl FnMut() -> Result<Observation> + Send + 'static,
    ) -> Self {
        self.trial = Some((Box::new(loss), Box::new(observe)));
        self
    }

    /// Returns the variables, sorted by name.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Makes one update: the backward pass of `loss` ([`lrlab_kernels::backward`]), clipping, a step at the rates of `session` with the constants that it
    /// drives ([`Session::with_driver`]), and [`Session::end_update`]. Returns the loss.
    ///
    /// # Errors
    /// Returns an error if a tensor operation or a callback fails, the schedule of a group does not exist in the session, or the
    /// optimizer does not have a scheduled hyperparameter.
    pub fn update(&mut self, session: &mut Session, loss: &Tensor) -> std::result::Result<f64, Error> {
        let rate = |name: Option<&str>| match name {
            None => Ok(session.lr()),
            Some(name) => match session.lr_of(name) {
                Some(lr) => Ok(lr),
                None => bail!("the session has no schedule {name:?}; add it with `Session::with_schedule`"),
            },
        };
        let mut set = Ok(());
        session.hypers(|group, hyper, value| {
            if set.is_ok() {
                set = self.optimizer.set(group, hyper, value);
            }
        });
        self.current.clear();
        let stepped = set.and_then(|()| self.step(loss, &rate));
        let (value, norm) = stepped.map_err(|error| failed("make an update", error))?;
        session.end_update(value, Some(norm), self)?;
        Ok(value)
    }

    /// The loss and the norm of its gradients.
    fn step(&mut self, loss: &Tensor, lr: &dyn Fn(Option<&str>) -> Result<f64>) -> Result<(f64, f64)> {
        if loss.elem_count() != 1 {
            bail!("the loss has the shape {:?}, expected one value", loss.shape());
        }
        let mut grads = lrlab_kernels::backward(loss)?;
        let norm = clip_grad_norm(&self.params, &mut grads, self.clip)?;
        self.optimizer.step_groups(lr, &grads)?;
        // Not every device has f64.
        let loss = loss.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.reshape(())?.to_scalar()?;
        Ok((loss, norm))
    }

    /// Returns the weights and the optimizer state.
    fn snapshot(&self) -> Result<Tensors> {
        let mut all = self.params.snapshot()?;
        all.extend(with_prefix("optimizer", self.optimizer.state()?));
        Ok(all)
    }

    /// Restores the output of [`VarMapHost::snapshot`].
    fn set(&mut self, snapshot: Tensors) -> Result<()> {
        let (optimizer, weights) = split("optimizer", snapshot);
        self.params.restore(&weights)?;
        self.optimizer.restore(&optimizer)
    }

    fn apply_averaging(&mut self, rule: Averaging) -> Result<()> {
        if rule == Averaging::Apply {
            return match &self.average {
                Some((_, average)) if average.seen() == 0 => Ok(()),
                Some((_, average)) => average.apply(&self.params),
                None => bail!("no weights were averaged yet"),
            };
        }
        let average = WeightAverage::by_rule(&mut self.average, rule)?;
        average.update(&self.params)?;
        let state = average.state()?;
        for tag in std::mem::take(&mut self.current) {
            let (_, mut snapshot) = split("average", self.snapshots.get(&tag)?);
            // A loop may change the weights without `update`.
            if self.has_weights(&snapshot)? {
                snapshot.extend(with_prefix("average", state.clone()));
                self.snapshots.save(&tag, snapshot)?;
                self.current.insert(tag);
            }
        }
        Ok(())
    }

    /// Returns whether the current weights are those of a snapshot.
    fn has_weights(&self, snapshot: &Tensors) -> Result<bool> {
        for (name, param) in self.params.iter() {
            let Some(kept) = snapshot.get(name) else { return Ok(false) };
            let kept = kept.to_device(param.var.device())?;
            let differ = param.var.as_detached_tensor().ne(&kept)?.to_dtype(DType::F32)?.sum_all()?;
            if differ.to_scalar::<f32>()? != 0.0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the weights, the optimizer state and the state of the average, if there is one.
    fn with_average(&self) -> Result<Tensors> {
        let mut all = self.snapshot()?;
        if let Some((_, average)) = &self.average {
            all.extend(with_prefix("average", average.state()?));
        }
        Ok(all)
    }

    /// Restores the weights and the optimizer state of a snapshot, and returns the state of its average.
    fn put_back(&mut self, tag: &str) -> Result<Tensors> {
        let (average, snapshot) = split("average", self.snapshots.get(tag)?);
        self.set(snapshot)?;
        self.current.clear();
        Ok(average)
    }

    fn rewind_to(&mut self, tag: &str) -> Result<()> {
        let state = self.put_back(tag)?;
        if let Some((rule, average)) = &mut self.average {
            *average = WeightAverage::of(*rule);
            if !state.is_empty() {
                average.restore(&state)?;
            }
        }
        Ok(())
    }

    fn store(&self, session: &Value) -> Result<()> {
        let run = self.with_average()?;
        let file =
            SessionFile { session: session.clone(), average: self.average.as_ref().map(|(rule, _)| *rule) };
        let file = serde_json::to_vec(&file).map_err(candle_core::Error::wrap)?;
        self.snapshots.checkpoint(session["count"]["update"].as_u64(), &run, &file)
    }

    fn load(&mut self) -> Result<Option<Value>> {
        let Some((run, file)) = self.snapshots.resume()? else { return Ok(None) };
        let SessionFile { session, average } =
            serde_json::from_slice(&file).map_err(candle_core::Error::wrap)?;
        let (averages, snapshot) = split("average", run);
        self.set(snapshot)?;
        if let Some(rule) = average {
            let mut average = WeightAverage::of(rule);
            average.restore(&averages)?;
            self.average = Some((rule, average));
        }
        Ok(Some(session))
    }

    fn run_trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation> {
        let Some((mut loss, mut observe)) = self.trial.take() else {
            bail!("the functions of a trial are not set; call `VarMapHost::trial_with`")
        };
        let before = self.snapshot()?;
        let observed = self.steps(lrs, &mut loss).and_then(|()| observe());
        self.trial = Some((loss, observe));
        self.set(before)?;
        observed
    }

    fn steps(&mut self, lrs: &mut dyn Iterator<Item = f64>, loss: &mut Loss) -> Result<()> {
        for lr in lrs {
            let rate = |name: Option<&str>| match name {
                None => Ok(lr),
                Some(name) => bail!("a trial has one rate, but a group has the schedule {name:?}"),
            };
            self.step(&loss()?, &rate)?;
        }
        Ok(())
    }
}

impl Host for VarMapHost {
    fn save(&mut self, tag: &str) -> std::result::Result<(), Error> {
        let saved = self.with_average().and_then(|snapshot| self.snapshots.save(tag, snapshot));
        self.current.insert(tag.to_owned());
        saved.map_err(|error| failed(&format!("save {tag:?}"), error))
    }

    fn restore(&mut self, tag: &str) -> std::result::Result<(), Error> {
        self.put_back(tag).map(drop).map_err(|error| failed(&format!("restore {tag:?}"), error))
    }

    fn rewind(&mut self, tag: &str) -> std::result::Result<(), Error> {
        self.rewind_to(tag).map_err(|error| failed(&format!("rewind to {tag:?}"), error))
    }

    fn discard(&mut self, tag: &str) -> std::result::Result<(), Error> {
        self.current.remove(tag);
        self.snapshots.discard(tag).map_err(|error| failed(&format!("discard {tag:?}"), error))
    }

    fn average(&mut self, rule: Averaging) -> std::result::Result<(), Error> {
        self.apply_averaging(rule).map_err(|error| failed("average the weights", error))
    }

    fn recompute_norm_statistics(&mut self) -> std::result::Result<(), Error> {
        let action = "recompute the batch-norm statistics";
        match &mut self.recompute {
            Some(recompute) => recompute().map_err(|error| failed(action, error)),
            None if self.params.iter().count() == self.params.trainable().count() => Ok(()),
            None => Err(failed(action, "the function for it is not set; call `VarMapHost::recompute_with`")),
        }
    }

    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> std::result::Result<Observation, Error> {
        self.run_trial(lrs).map_err(|error| failed("run a trial", error))
    }

    fn checkpoint(&mut self, session: &Value) -> std::result::Result<(), Error> {
        self.store(session).map_err(|error| failed("store a checkpoint", error))
    }

    fn resume(&mut self) -> std::result::Result<Option<Value>, Error> {
        self.load().map_err(|error| failed("resume from its checkpoint", error))
    }
}

/// Prepends `part/` to the names of tensors.
fn with_prefix(part: &str, tensors: Tensors) -> impl Iterator<Item = (String, Tensor)> {
    tensors.into_iter().map(move |(name, tensor)| (format!("{part}/{name}"), tensor))
}

/// Splits tensors into those of `part`, without the prefix, and the others.
fn split(part: &str, all: Tensors) -> (Tensors, Tensors) {
    let (mut own, mut others) = (Tensors::new(), Tensors::new());
    for (name, tensor) in all {
        match name.strip_prefix(part).and_then(|rest| rest.strip_prefix('/')) {
            Some(short) => own.insert(short.to_owned(), tensor),
            None => others.insert(name, tensor),
        };
    }
    (own, others)
}

fn failed(action: &str, error: impl std::fmt::Display) -> Error {
    Error::Host { action: action.to_owned(), message: error.to_string() }
}
