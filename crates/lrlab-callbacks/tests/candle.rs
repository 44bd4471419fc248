//! A training loop of one's own on a candle `VarMap`, with candle's own optimizer: what a user needs to write.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, Optimizer, SGD, VarBuilder, VarMap};
use lrlab_callbacks::{
    Action, Averaging, Callbacks, Context, DivergenceConfig, DivergenceGuard, EarlyStopping,
    EarlyStoppingConfig, Error, Host, Moment, OnDivergence, Phase, WeightAveraging,
};
use lrlab_runs::{EpochMetrics, finite};
use lrlab_schedulers::{Observation, Span};

type Tensors = BTreeMap<String, Tensor>;

/// A model's variables by name, what is kept of them, and their average.
struct Weights {
    vars: BTreeMap<String, Var>,
    kept: BTreeMap<String, Tensors>,
    average: Option<(f64, Tensors)>,
}

impl Weights {
    fn new(map: &VarMap) -> Self {
        let vars = map.data().lock().unwrap().clone().into_iter().collect();
        Self { vars, kept: BTreeMap::new(), average: None }
    }

    fn copy(&self) -> candle_core::Result<Tensors> {
        self.vars.iter().map(|(name, var)| Ok((name.clone(), var.copy()?))).collect()
    }

    fn put(&self, tensors: &Tensors) -> candle_core::Result<()> {
        self.vars.iter().try_for_each(|(name, var)| var.set(&tensors[name]))
    }

    /// The running mean with these weights in it.
    fn mean(&mut self) -> candle_core::Result<()> {
        let now = self.copy()?;
        let (n, old) = self.average.take().unwrap_or((0.0, now.clone()));
        let n = n + 1.0;
        let move_by = |name: &String, old: &Tensor| old + ((&now[name] - old)? / n)?;
        let mean = old.iter().map(|(name, old)| Ok((name.clone(), move_by(name, old)?)));
        self.average = Some((n, mean.collect::<candle_core::Result<_>>()?));
        Ok(())
    }
}

fn failed(action: &str, message: impl ToString) -> Error {
    Error::Host { action: action.to_owned(), message: message.to_string() }
}

impl Host for Weights {
    fn save(&mut self, tag: &str) -> Result<(), Error> {
        let copy = self.copy().map_err(|e| failed("save", e))?;
        self.kept.insert(tag.to_owned(), copy);
        Ok(())
    }

    fn restore(&mut self, tag: &str) -> Result<(), Error> {
        let kept = self.kept.get(tag).ok_or_else(|| failed("restore", "nothing is kept"))?;
        self.put(kept).map_err(|e| failed("restore", e))
    }

    fn discard(&mut self, tag: &str) -> Result<(), Error> {
        self.kept.remove(tag);
        Ok(())
    }

    fn average(&mut self, rule: Averaging) -> Result<(), Error> {
        match (rule, &self.average) {
            (Averaging::Uniform, _) => self.mean().map_err(|e| failed("average", e)),
            (Averaging::Apply, Some((_, mean))) => self.put(mean).map_err(|e| failed("average", e)),
            _ => Err(failed("average", "only the mean is supported here")),
        }
    }

    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        Ok(()) // no batch norm
    }

    fn trial(&mut self, _gain: f64, _updates: u64) -> Result<Observation, Error> {
        Err(failed("try out a rate", "not supported here"))
    }
}

const EPOCHS: u64 = 20;
const UPDATES_PER_EPOCH: u64 = 10;
const LR: f64 = 1.5;

/// What the loop knows beside the weights.
struct Run {
    callbacks: Callbacks,
    weights: Weights,
    update: u64,
    epoch: u64,
    gain: f64,
    over: bool,
    asked: Vec<String>,
}

impl Run {
    fn tell(&mut self, moment: Moment<'_>) -> Result<(), Error> {
        for phase in Phase::ALL {
            let context = Context {
                moment,
                update: self.update,
                epoch: self.epoch,
                updates: EPOCHS * UPDATES_PER_EPOCH,
                updates_per_epoch: UPDATES_PER_EPOCH,
                epochs: EPOCHS,
                lr: LR * self.gain,
                schedule_lr: LR,
                gain: self.gain,
                marks: &[],
                elapsed_s: 0.0,
                history: &[],
                decisions: &[],
            };
            for (source, action) in self.callbacks.run(phase, &context)? {
                if !action.carry_out(&mut self.weights)? {
                    match &action {
                        Action::SetGain { gain, .. } => self.gain = *gain,
                        _ => self.over = true,
                    }
                }
                self.asked.push(format!("{source} {action:?}"));
            }
        }
        Ok(())
    }
}

/// `y = 2x + 1` by least squares at a rate at which it diverges: curvatures are 1 and 2, so a rate above 1 does.
#[test]
fn a_loop_of_ones_own_recovers_from_divergence() -> Result<(), Box<dyn std::error::Error>> {
    let map = VarMap::new();
    let vars = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
    let weight = vars.get_with_hints(1, "weight", Init::Const(0.0))?;
    let bias = vars.get_with_hints(1, "bias", Init::Const(0.0))?;
    let x = Tensor::new(&[-1.0f64, -0.5, 0.0, 0.5, 1.0], &Device::Cpu)?;
    let y = ((&x * 2.0)? + 1.0)?;
    let loss_of = || -> candle_core::Result<Tensor> {
        x.broadcast_mul(&weight)?.broadcast_add(&bias)?.sub(&y)?.sqr()?.mean_all()
    };

    let weights = Weights::new(&map);
    let mut optimizer = SGD::new(weights.vars.values().cloned().collect(), LR)?;
    let action = OnDivergence::Rewind { factor: 0.1, limit: 3 };
    let guard = DivergenceGuard::new(DivergenceConfig { explosion: Some(4.0), patience: 1, action })?;
    let stopping = EarlyStoppingConfig { patience: 2, min_delta: 1e-12, ..EarlyStoppingConfig::default() };
    let callbacks = Callbacks::default()
        .with(guard)
        .with(EarlyStopping::new(stopping)?)
        .with(WeightAveraging::swa(Span::Epochs(8.0))?);
    let mut run = Run { callbacks, weights, update: 0, epoch: 0, gain: 1.0, over: false, asked: Vec::new() };

    run.tell(Moment::FitStart)?;
    while run.epoch < EPOCHS && !run.over {
        run.tell(Moment::EpochStart)?;
        for _ in 0..UPDATES_PER_EPOCH {
            optimizer.set_learning_rate(LR * run.gain);
            let loss = loss_of()?;
            optimizer.backward_step(&loss)?;
            run.update += 1;
            run.tell(Moment::Update { loss: loss.to_scalar()?, grad_norm: None })?;
        }
        run.epoch += 1;
        let val_loss = finite(loss_of()?.to_scalar()?);
        run.tell(Moment::Epoch(&EpochMetrics { epoch: run.epoch, val_loss, ..EpochMetrics::default() }))?;
    }
    run.tell(Moment::FitEnd)?;

    // Losses 1.5, 4.6, 16.2: the third is more than four times the first.
    assert_eq!(run.gain, 0.1);
    assert_eq!(run.asked.iter().filter(|asked| asked.contains("Restore")).count(), 1, "{:?}", run.asked);
    assert!(run.over && run.epoch < EPOCHS, "stopped by early stopping at epoch {}", run.epoch);
    assert!(run.asked.last().is_some_and(|asked| asked.contains("RecomputeNormStatistics")));
    let found = run.weights.copy()?;
    for (name, expected) in [("weight", 2.0), ("bias", 1.0)] {
        let value: f64 = found[name].get(0)?.to_scalar()?;
        assert!((value - expected).abs() < 1e-4, "{name} is {value}");
    }
    Ok(())
}
