//! Checks that threads can share a device.

use std::sync::Barrier;
use std::thread;

use anyhow::{Context, anyhow};
use candle_core::{DType, Device, Tensor, Var};
use lrlab_kernels::{
    ConvNet, ConvNorm, NormMode, Precision, SgdStep, Update, backward, cross_entropy, cross_entropy_each,
    linear, sgd_updates,
};

use super::context::CheckContext;
use super::side::Side;
use super::verdict::Verdict;

/// The number of threads, each with its own values and sizes.
const THREADS: u64 = 2;
/// The number of training steps, each followed by an evaluation.
const STEPS: u64 = 6;
/// Pictures per step.
const BATCH: usize = 16;
const CLASSES: usize = 10;

/// Trains and evaluates networks one after another and concurrently, and compares all bits.
pub(super) fn at_once(context: &CheckContext) -> anyhow::Result<Verdict> {
    let alone = (0..THREADS).map(|draw| train(&context.device, draw)).collect::<anyhow::Result<Vec<_>>>()?;
    let start = Barrier::new(THREADS as usize);
    let together = thread::scope(|scope| {
        let spawn = |draw| {
            let (device, start) = (context.device.clone(), &start);
            scope.spawn(move || {
                start.wait();
                train(&device, draw)
            })
        };
        let threads = (0..THREADS).map(spawn).collect::<Vec<_>>();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut count = 0;
    for (number, (alone, together)) in alone.iter().zip(&together).enumerate() {
        for ((name, alone), (_, together)) in alone.iter().zip(together) {
            let of = alone.len();
            let differ = alone.iter().zip(together).filter(|(a, b)| a != b).count();
            if differ > 0 || together.len() != of {
                let words = format!("{name} of thread {number}: {differ} of {of} values differ");
                return Ok(Verdict::failed(words));
            }
            count += of;
        }
    }
    Ok(Verdict::passed(format!("{THREADS} threads, all bits of {count} values")))
}

/// The bits of values under a name.
type Bits = (String, Vec<u64>);

/// Trains a small residual network with a linear map on random pictures. Returns the losses of every step, and the
/// parameters and statistics after the last step.
fn train(device: &Device, draw: u64) -> anyhow::Result<Vec<Bits>> {
    let side = Side::on(device, Precision::F32, draw);
    let width = 17 + 15 * draw as usize;
    let mut net = ConvNet::new();
    let first = unit(&side, "first", 3, width)?;
    let second = unit(&side, "second", width, width)?;
    let x = net.unit(net.input(), first.clone(), None, true);
    net.unit(x, second.clone(), Some(x), true);
    let weight = side.parameter("weight", &[CLASSES, width], 0.0, 0.2)?;
    let bias = side.parameter("bias", &[CLASSES], 0.0, 0.2)?;
    let logits = |x: &Tensor, mode| linear(&net.forward(x, mode)?, &weight, Some(&bias), Precision::F32);

    let mut learned = vec![("weight", &weight), ("bias", &bias)];
    for unit in [&first, &second] {
        learned.extend([("convolution", &unit.weight), ("scale", &unit.scale), ("shift", &unit.shift)]);
    }
    let (mut losses, mut evaluated) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        let x = side.data(&format!("pictures {step}"), &[BATCH, 3, 12, 11], 1.0)?;
        let labels = side.ids(&format!("labels {step}"), &[BATCH], CLASSES)?;
        let loss = cross_entropy(&logits(&x, NormMode::Train { momentum: 0.1 })?, &labels, 0.1)?;
        let grads = backward(&loss)?;
        let update = |(name, var): &(&str, &'_ Var)| -> anyhow::Result<Tensor> {
            Ok(grads.get(var).with_context(|| format!("there is no gradient of {name}"))?.clone())
        };
        let grads = learned.iter().map(update).collect::<anyhow::Result<Vec<_>>>()?;
        let updates = learned.iter().zip(&grads);
        let updates = updates.map(|((_, var), grad)| Update { var, grad, moments: &[], weight_decay: 0.0 });
        let rule = SgdStep { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0, first: step == 0 };
        sgd_updates(&updates.collect::<Vec<_>>(), rule)?;
        losses.push(u64::from(loss.to_scalar::<f32>()?.to_bits()));
        evaluated.extend(
            cross_entropy_each(&logits(&x, NormMode::Eval)?, &labels)?.iter().map(|loss| loss.to_bits()),
        );
    }
    let mut all = vec![("losses".to_owned(), losses), ("losses of evaluations".to_owned(), evaluated)];
    for (name, var) in learned.into_iter().chain([&first, &second].into_iter().flat_map(statistics)) {
        let values = var.as_detached_tensor().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let values = values.flatten_all()?.to_vec1::<f32>()?;
        all.push((name.to_owned(), values.iter().map(|value| u64::from(value.to_bits())).collect()));
    }
    Ok(all)
}

fn statistics(unit: &ConvNorm) -> [(&'static str, &Var); 2] {
    [("running mean", &unit.running_mean), ("running variance", &unit.running_var)]
}

fn unit(side: &Side, name: &str, inputs: usize, outputs: usize) -> candle_core::Result<ConvNorm> {
    let of = |what: &str| format!("{what} of the {name} unit");
    let deviation = 1.0 / (9.0 * inputs as f64).sqrt();
    Ok(ConvNorm {
        weight: side.parameter(&of("weight"), &[outputs, inputs, 3, 3], 0.0, deviation)?,
        stride: 1,
        padding: 1,
        scale: side.parameter(&of("scale"), &[outputs], 1.0, 0.2)?,
        shift: side.parameter(&of("shift"), &[outputs], 0.0, 0.2)?,
        running_mean: side.signed_state(&of("running mean"), &[outputs])?,
        running_var: side.state(&of("running variance"), &[outputs])?,
        eps: 1e-5,
    })
}
