//! Checks a user-written loop on a `VarMap`: its steps, and that it continues from its checkpoint.

use std::path::Path;

use anyhow::anyhow;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer as _, VarMap};
use lrlab_callbacks::{Callbacks, EpochMetrics, SaveEvery, Session, WeightAveraging};
use lrlab_kernels::{Params, Precision, cross_entropy, gelu, linear};
use lrlab_optim::{
    AdamConfig, CandleOptimizer, Driver, Group, Groups, Hyper, OptimizerConfig, SgdConfig, VarMapHost,
};
use lrlab_random::{Purpose, Stream};
use lrlab_schedulers::{Horizon, ScheduleSpec};

use super::context::CheckContext;
use super::verdict::{Measure, Verdict};

const RUN: Horizon = Horizon { updates: 24, updates_per_epoch: 8 };
const BATCH: usize = 16;
const INPUTS: usize = 20;
const HIDDEN: usize = 33;
const CLASSES: usize = 5;
/// The number of updates between two checkpoints.
const CHECKPOINT: u64 = 3;
/// The update after which the run is stopped, within an epoch and between two checkpoints.
const STOP: u64 = 13;
/// The bound of the difference to the CPU's weights, relative to their length.
const BOUND: f64 = 1e-3;

/// The weights by name, in f32.
type Weights = Vec<(String, Vec<f32>)>;

/// Trains on the device in full, stopped and continued, and on the CPU, and compares the weights.
pub(super) fn continues(context: &CheckContext) -> anyhow::Result<Verdict> {
    let within = |name: &str| context.folder.join("own-loop").join(name);
    let train = |device: &Device, name: &str, stop| train(device, &within(name), stop);
    let whole = train(&context.device, "whole", None)?.ok_or_else(|| anyhow!("it stopped"))?;
    if train(&context.device, "stopped", Some(STOP))?.is_some() {
        return Ok(Verdict::failed("it did not stop"));
    }
    let continued = train(&context.device, "stopped", None)?.ok_or_else(|| anyhow!("it stopped again"))?;
    if let Some(name) = different(&whole, &continued) {
        return Ok(Verdict::failed(format!("{name} differs after it continued at update {STOP}")));
    }
    let on_cpu = train(&Device::Cpu, "cpu", None)?.ok_or_else(|| anyhow!("it stopped"))?;
    let adam = [&context.device, &Device::Cpu].map(with_candles_interface);
    let [adam, adam_on_cpu] = adam;
    let measures = [("SGD", whole, on_cpu), ("AdamW", adam?, adam_on_cpu?)].map(|(rule, found, expected)| {
        let of = format!("weights under {rule} against the CPU's");
        Measure { error: distance(&found, &expected), bound: BOUND, of }
    });
    let [first, second] = measures;
    let worst = if second.worse_than(&first) { second } else { first };
    Ok(Verdict::measured(worst, &format!("stopped at update {STOP} and continued, the same bits")))
}

/// Trains until the end, from the checkpoint in `folder` if there is one. Returns nothing if it is stopped before.
fn train(device: &Device, folder: &Path, stop: Option<u64>) -> anyhow::Result<Option<Weights>> {
    let net = Network::new(device)?;
    let build = |text: &str| -> anyhow::Result<_> { Ok(ScheduleSpec::parse(text)?.build(&RUN)?) };
    let head = Group { lr_scale: 0.5, weight_decay: Some(0.0), ..Group::default() };
    let sgd = OptimizerConfig::Sgd(SgdConfig { weight_decay: 0.01, ..SgdConfig::default() });
    let optimizer = |params: &Params| Groups::new(&sgd, params, &[("head.*", head)]);
    let mut host = VarMapHost::new(&net.map, optimizer)?.in_folder(folder)?.clip_grad_norm(1.0);
    let driver = Driver::default()
        .drive("", Hyper::Momentum, 0.9, build("exponential = { gamma = 0.9 }")?)
        .drive("", Hyper::WeightDecay, 0.01, build("cosine = {}")?);
    let callbacks = Callbacks::default().with(WeightAveraging::ema(0.9)?);
    let session = Session::new(callbacks, build("cosine = {}")?, 0.1, RUN).with_driver(driver);
    let mut session = session.checkpoint_every(SaveEvery::Updates(CHECKPOINT))?;
    session.begin(&mut host)?;
    while !session.is_over() {
        session.begin_epoch(&mut host)?;
        for update in session.epoch_updates() {
            if stop == Some(update) {
                return Ok(None);
            }
            host.update(&mut session, &net.loss(update as usize)?)?;
        }
        session.end_epoch(EpochMetrics::default(), &mut host)?;
    }
    session.end(&mut host)?;
    Ok(Some(net.weights()?))
}

/// Trains with an optimizer behind candle's interface.
fn with_candles_interface(device: &Device) -> anyhow::Result<Weights> {
    let net = Network::new(device)?;
    let adamw = OptimizerConfig::AdamW(AdamConfig { eps: 1e-3, ..AdamConfig::adamw() });
    let mut optimizer = CandleOptimizer::of_params(&Params::of_var_map(&net.map)?, &adamw, 0.01)?;
    for update in 0..RUN.updates {
        optimizer.backward_step(&net.loss(update as usize)?)?;
    }
    net.weights()
}

/// A network of two linear maps, and its data.
struct Network {
    map: VarMap,
    pictures: Tensor,
    labels: Tensor,
}

impl Network {
    fn new(device: &Device) -> anyhow::Result<Self> {
        let examples = BATCH * RUN.updates_per_epoch as usize;
        let values = |name: &str, shape: &[usize], deviation: f64| -> candle_core::Result<Tensor> {
            let stream = Stream::new(0, Purpose::Synthetic, name);
            let count = shape.iter().product::<usize>() as u64;
            let values = (0..count).map(|i| (deviation * stream.normal(i)) as f32).collect();
            Tensor::from_vec(values, shape, device)
        };
        let map = VarMap::new();
        let add = |name: &str, shape: &[usize], deviation: f64| -> anyhow::Result<()> {
            let var = Var::from_tensor(&values(name, shape, deviation)?)?;
            map.data().lock().map_err(|_| anyhow!("a thread panicked"))?.insert(name.to_owned(), var);
            Ok(())
        };
        add("body.weight", &[HIDDEN, INPUTS], 0.2)?;
        add("body.bias", &[HIDDEN], 0.1)?;
        add("head.weight", &[CLASSES, HIDDEN], 0.2)?;
        add("head.bias", &[CLASSES], 0.1)?;
        let stream = Stream::new(0, Purpose::Synthetic, "labels");
        let labels = (0..examples as u64).map(|i| stream.below(i, CLASSES as u64) as u32).collect();
        Ok(Self {
            map,
            pictures: values("x", &[examples, INPUTS], 1.0)?,
            labels: Tensor::from_vec(labels, examples, device)?,
        })
    }

    /// The loss of the batch of an update.
    fn loss(&self, update: usize) -> anyhow::Result<Tensor> {
        let first = update % RUN.updates_per_epoch as usize * BATCH;
        let map = self.map.data().lock().map_err(|_| anyhow!("a thread panicked"))?;
        let map = |x: &Tensor, name: &str| {
            let [weight, bias] = ["weight", "bias"].map(|part| &map[&format!("{name}.{part}")]);
            linear(x, weight, Some(bias), Precision::F32)
        };
        let logits = map(&gelu(&map(&self.pictures.narrow(0, first, BATCH)?, "body")?)?, "head")?;
        Ok(cross_entropy(&logits, &self.labels.narrow(0, first, BATCH)?, 0.0)?)
    }

    fn weights(&self) -> anyhow::Result<Weights> {
        let params = Params::of_var_map(&self.map)?;
        let values = |(name, param): (&str, &lrlab_kernels::Param)| {
            let values = param.var.as_detached_tensor().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            Ok((name.to_owned(), values.flatten_all()?.to_vec1()?))
        };
        params.iter().map(values).collect()
    }
}

/// Returns the first name whose values differ in a bit.
fn different<'a>(a: &'a Weights, b: &Weights) -> Option<&'a str> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let differ = a.iter().zip(b).find(|((_, a), (_, b))| bits(a) != bits(b));
    differ.map(|((name, _), _)| name.as_str())
}

/// Returns ‖found − expected‖ / ‖expected‖.
fn distance(found: &Weights, expected: &Weights) -> f64 {
    let flat =
        |of: &Weights| of.iter().flat_map(|(_, values)| values).map(|v| f64::from(*v)).collect::<Vec<_>>();
    super::compare::distance(&flat(found), &flat(expected))
}
