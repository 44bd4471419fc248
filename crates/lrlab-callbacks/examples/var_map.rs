//! Callbacks in a custom training loop with a candle `VarMap` and an optimizer of candle-nn.
//!
//!     cargo run --release -p lrlab-callbacks --example var_map
//!
//! `Line` is the model and the `Host`; `train` is the loop.

use std::collections::{BTreeMap, VecDeque};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, Optimizer, SGD, VarBuilder, VarMap};
use lrlab_callbacks::{
    Averaging, Callbacks, DivergenceConfig, DivergenceGuard, EarlyStopping, EarlyStoppingConfig, Error, Host,
    OnDivergence, Session, ValidationLossMonitor, WeightAveraging,
};
use lrlab_runs::{EpochMetrics, finite};
use lrlab_schedulers::{ControllerSpec, Horizon, Observation, ScheduleSpec, Span};

type Tensors = BTreeMap<String, Tensor>;

/// A fit of `y = 2x + 1` by least squares.
pub(crate) struct Line {
    /// The variables sorted by name, because a `VarMap` has no fixed order.
    vars: BTreeMap<String, Var>,
    x: Tensor,
    y: Tensor,
    optimizer: SGD,
    kept: BTreeMap<String, Tensors>,
    /// The number of averaged weights, and their average.
    average: Option<(f64, Tensors)>,
    latest: VecDeque<Tensors>,
}

impl Line {
    pub(crate) fn new() -> candle_core::Result<Self> {
        let map = VarMap::new();
        let builder = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
        builder.get_with_hints(1, "weight", Init::Const(0.0))?;
        builder.get_with_hints(1, "bias", Init::Const(0.0))?;
        let vars: BTreeMap<String, Var> = match map.data().lock() {
            Ok(data) => data.clone().into_iter().collect(),
            Err(_) => candle_core::bail!("another thread panicked while it held the variables"),
        };
        let x = Tensor::new(&[-1.0f64, -0.5, 0.0, 0.5, 1.0], &Device::Cpu)?;
        let y = ((&x * 2.0)? + 1.0)?;
        let optimizer = SGD::new(vars.values().cloned().collect(), 0.0)?;
        let (kept, average, latest) = (BTreeMap::new(), None, VecDeque::new());
        Ok(Self { vars, x, y, optimizer, kept, average, latest })
    }

    pub(crate) fn value(&self, name: &str) -> candle_core::Result<f64> {
        self.vars[name].get(0)?.to_scalar()
    }

    fn loss(&self) -> candle_core::Result<Tensor> {
        let (weight, bias) = (&*self.vars["weight"], &*self.vars["bias"]);
        self.x.broadcast_mul(weight)?.broadcast_add(bias)?.sub(&self.y)?.sqr()?.mean_all()
    }

    /// Makes an update and returns the loss before it.
    fn step(&mut self, lr: f64) -> candle_core::Result<f64> {
        let loss = self.loss()?;
        self.optimizer.set_learning_rate(lr);
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }

    fn copy(&self) -> candle_core::Result<Tensors> {
        self.vars.iter().map(|(name, var)| Ok((name.clone(), var.copy()?))).collect()
    }

    fn set(&self, tensors: &Tensors) -> candle_core::Result<()> {
        self.vars.iter().try_for_each(|(name, var)| var.set(&tensors[name]))
    }

    /// Updates the average: `average ← average + share · (weights − average)`.
    fn mix(&mut self, share: impl Fn(f64) -> f64) -> candle_core::Result<()> {
        let now = self.copy()?;
        let (n, old) = self.average.take().unwrap_or((0.0, now.clone()));
        let towards = |name: &String, old: &Tensor| old + ((&now[name] - old)? * share(n + 1.0))?;
        let mixed = old.iter().map(|(name, old)| Ok((name.clone(), towards(name, old)?)));
        self.average = Some((n + 1.0, mixed.collect::<candle_core::Result<_>>()?));
        Ok(())
    }

    fn averaged(&mut self, rule: Averaging) -> candle_core::Result<()> {
        match rule {
            Averaging::Uniform => self.mix(|n| 1.0 / n),
            Averaging::Exponential { decay } => self.mix(|_| 1.0 - decay),
            Averaging::Latest { k } => {
                self.latest.push_front(self.copy()?);
                self.latest.truncate(k);
                let mean = |name: &String| {
                    let all: Vec<&Tensor> = self.latest.iter().map(|weights| &weights[name]).collect();
                    Ok((name.clone(), Tensor::stack(&all, 0)?.mean(0)?))
                };
                let mean = self.vars.keys().map(mean).collect::<candle_core::Result<_>>()?;
                self.average = Some((self.latest.len() as f64, mean));
                Ok(())
            }
            Averaging::Apply => match &self.average {
                Some((_, average)) => self.set(average),
                None => candle_core::bail!("no weights were averaged yet"),
            },
        }
    }

    /// Trains at the rates `lrs`, measures the loss, and restores the weights from a snapshot in memory.
    fn run_trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> candle_core::Result<f64> {
        let snapshot = self.copy()?;
        for lr in lrs {
            self.step(lr)?;
        }
        let loss = self.loss()?.to_scalar()?;
        self.set(&snapshot)?;
        Ok(loss)
    }
}

fn failed(action: &str, error: impl std::fmt::Display) -> Error {
    Error::Host { action: action.to_owned(), message: error.to_string() }
}

impl Host for Line {
    fn save(&mut self, tag: &str) -> Result<(), Error> {
        let copy = self.copy().map_err(|error| failed("save", error))?;
        self.kept.insert(tag.to_owned(), copy);
        Ok(())
    }

    fn restore(&mut self, tag: &str) -> Result<(), Error> {
        let kept = self.kept.get(tag).ok_or_else(|| failed("restore", "there is no snapshot"))?;
        self.set(kept).map_err(|error| failed("restore", error))
    }

    fn discard(&mut self, tag: &str) -> Result<(), Error> {
        self.kept.remove(tag);
        Ok(())
    }

    fn average(&mut self, rule: Averaging) -> Result<(), Error> {
        self.averaged(rule).map_err(|error| failed("average", error))
    }

    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        // A line has no batch norm. A network with batch norm resets its running statistics and makes a forward pass over the
        // training split in training mode.
        Ok(())
    }

    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        let value = self.run_trial(lrs).map_err(|error| failed("run a trial", error))?;
        Ok(Observation { value, stderr: None })
    }
}

/// Trains for at most 20 epochs of 10 updates. Returns the session with its decisions.
pub(crate) fn train(
    line: &mut Line,
    callbacks: Callbacks,
    schedule: &str,
    lr: f64,
) -> Result<Session, Box<dyn std::error::Error>> {
    let run = Horizon { updates: 200, updates_per_epoch: 10 };
    let mut session = Session::new(callbacks, ScheduleSpec::parse(schedule)?.build(&run)?, lr, run);
    session.begin(line)?;
    while !session.is_over() {
        session.begin_epoch(line)?;
        for _ in 0..run.updates_per_epoch {
            let loss = line.step(session.lr())?;
            session.end_update(loss, None, line)?;
        }
        let val_loss = finite(line.loss()?.to_scalar()?);
        session.end_epoch(EpochMetrics { val_loss, ..EpochMetrics::default() }, line)?;
    }
    session.end(line)?;
    Ok(session)
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The curvatures are 1 and 2, so a rate above 1 diverges. The guard rewinds and cuts; then the search adapts the rate.
    let action = OnDivergence::Rewind { factor: 0.1, limit: 3 };
    let search = ControllerSpec::parse("auto_lrs = { updates = 5, trials = 5 }")?.build()?;
    let stopping = EarlyStoppingConfig { patience: 2, min_delta: 1e-12, ..EarlyStoppingConfig::default() };
    let callbacks = Callbacks::default()
        .with(DivergenceGuard::new(DivergenceConfig { explosion: Some(4.0), patience: 1, action })?)
        .with(ValidationLossMonitor::new(search, "val_loss")?)
        .with(EarlyStopping::new(stopping)?)
        .with(WeightAveraging::swa(Span::Epochs(8.0))?);
    let mut line = Line::new()?;
    let session = train(&mut line, callbacks, "static", 1.5)?;
    for decision in session.decisions() {
        eprintln!("update {}: {}: {}", decision.update, decision.source, decision.reason);
    }
    eprintln!("y = {:.4} x + {:.4}", line.value("weight")?, line.value("bias")?);
    Ok(())
}
