//! Whole networks on the kernels, in f32, against the same networks on candle's own operators, in f64: logits, the
//! gradient of every parameter, and the running statistics after a step in training mode.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};
use lrlab_kernels::{Params, Precision, Role, cross_entropy};
use lrlab_models::{Activation, Input, Mode, Model, NormPlacement, Pooling, Positions, Shortcut, Stem};

type Build<'a> = &'a dyn Fn(Params) -> Result<Box<dyn Model>>;

/// All results of a training step, by name.
fn step(build: Build<'_>, input: &Input, params: Params) -> Result<BTreeMap<String, Vec<f64>>> {
    let dtype = params.dtype();
    let model = build(params)?;
    let input = match input {
        Input::Pictures(x) => Input::Pictures(x.to_dtype(dtype)?),
        tokens @ Input::Tokens { .. } => tokens.clone(),
    };
    let logits = model.forward(&input, Mode::Train { seed: 3, batch: 5 })?;
    let (rows, classes) = logits.dims2()?;
    let labels: Vec<u32> = (0..rows).map(|i| (i % classes) as u32).collect();
    let loss = cross_entropy(&logits, &Tensor::from_vec(labels, rows, logits.device())?, 0.1)?;
    let grads = loss.backward()?;
    let host = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let mut found = BTreeMap::from([("logits".to_owned(), host(&logits)?)]);
    for (name, param) in model.params().iter() {
        let value = match param.role {
            Role::Buffer => host(&param.var)?,
            Role::Weight | Role::NoDecay => host(grads.get(&param.var).expect("a gradient"))?,
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// `tolerance` is relative to the largest value of each tensor, with a floor for tensors that are zero up to rounding.
fn check(what: &str, build: Build<'_>, input: &Input, tolerance: f64) -> Result<()> {
    let (found, expected) =
        (step(build, input, common::params())?, step(build, input, common::params_of(DType::F64))?);
    let floor = expected.values().flatten().fold(0.0_f64, |m, v| m.max(v.abs())) * 1e-3;
    for (name, expected) in &expected {
        let scale = expected.iter().fold(floor, |m, v| m.max(v.abs()));
        for (i, (f, e)) in found[name].iter().zip(expected).enumerate() {
            let near = (f - e).abs() <= tolerance * scale;
            assert!(near, "{what}: {name}[{i}] is {f} on the kernels, {e} on candle's operators");
        }
    }
    Ok(())
}

#[test]
fn residual_networks() -> Result<()> {
    // Rounding errors grow with the depth, and with fewer values per norm. If a value before a ReLU is zero up
    // to rounding, its sign differs between f32 and f64, and gradients differ by several per cent, with candle's
    // operators too. With these sizes there is no such value.
    for (depth, stem, shortcut, width, size) in [
        (8, Stem::Cifar, Shortcut::B, 1.0, 9),
        (8, Stem::Cifar, Shortcut::A, 0.5, 8),
        (20, Stem::Cifar, Shortcut::B, 0.25, 16),
        (18, Stem::ImageNet, Shortcut::B, 0.25, 33),
        (50, Stem::Cifar, Shortcut::B, 0.125, 9),
    ] {
        let build = |params| common::resnet_of(params, depth, stem, shortcut, width);
        check(&format!("ResNet-{depth}"), &build, &common::pictures(size)?, 3e-3)?;
    }
    Ok(())
}

#[test]
fn lstms() -> Result<()> {
    for (bidirectional, pooling) in
        [(false, Pooling::Last), (true, Pooling::Last), (true, Pooling::Mean), (false, Pooling::Max)]
    {
        let build = |params| common::lstm_of(params, bidirectional, pooling, 0.2);
        check(&format!("LSTM, {bidirectional}, {pooling:?}"), &build, &common::tokens(6)?, 1e-4)?;
    }
    Ok(())
}

#[test]
fn transformers() -> Result<()> {
    for (norm, positions, activation, pooling) in [
        (NormPlacement::Post, Positions::Learned, Activation::Relu, Pooling::Mean),
        (NormPlacement::Pre, Positions::Sinusoidal, Activation::Gelu, Pooling::Max),
        (NormPlacement::Post, Positions::Sinusoidal, Activation::Gelu, Pooling::Last),
    ] {
        let build = |params| common::transformer_of(params, norm, positions, activation, pooling, 0.2);
        check(&format!("Transformer, {norm:?}, {activation:?}"), &build, &common::tokens(6)?, 1e-4)?;
    }
    Ok(())
}

/// Operands of products have eight significant bits: each result is off by about a hundredth of the tensor's length, and
/// those that `affected` accepts are not exact.
fn check_bf16(what: &str, build: Build<'_>, input: &Input, affected: impl Fn(&str) -> bool) -> Result<()> {
    let expected = step(build, input, common::params_of(DType::F64))?;
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let floor = 1e-3 * expected.values().map(|v| length(&mut v.iter().copied())).fold(0.0, f64::max);
    for dtype in [DType::F32, DType::F64] {
        let found = step(build, input, common::params_of(dtype).in_precision(Precision::Bf16))?;
        for (name, expected) in &expected {
            let size = length(&mut expected.iter().copied()).max(floor);
            let off = length(&mut found[name].iter().zip(expected).map(|(f, e)| f - e)) / size;
            assert!(off < 0.05, "{what}, {dtype:?}: {name} is off by {off}");
            assert!(off > 1e-5 || !affected(name), "{what}, {dtype:?}: {name} is not in bf16");
        }
    }
    Ok(())
}

#[test]
fn networks_in_bf16() -> Result<()> {
    let weight = |name: &str| name.contains("weight");
    let lstm = |params| common::lstm_of(params, true, Pooling::Mean, 0.2);
    check_bf16("LSTM", &lstm, &common::tokens(6)?, weight)?;
    for (norm, activation) in
        [(NormPlacement::Post, Activation::Relu), (NormPlacement::Pre, Activation::Gelu)]
    {
        let build =
            |params| common::transformer_of(params, norm, Positions::Learned, activation, Pooling::Mean, 0.2);
        check_bf16(&format!("Transformer, {norm:?}"), &build, &common::tokens(6)?, weight)?;
    }
    // Convolutions on the CPU are f32: only the last layer and its gradients are rounded.
    let resnet = |params| common::resnet_of(params, 8, Stem::Cifar, Shortcut::B, 1.0);
    check_bf16("ResNet-8", &resnet, &common::pictures(9)?, |name| name == "fc.weight")
}

/// Runs all tests again in processes whose environment selects another level.
#[test]
fn other_levels_pass_all_tests() {
    if std::env::var_os("LRLAB_SIMD").is_some() {
        eprintln!("skipped: the environment selects a level already");
        return;
    }
    for level in ["avx2", "scalar"].into_iter().filter(|level| *level != lrlab_kernels::simd_level()) {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command
            .args(["--skip", "other_levels_pass_all_tests"])
            .env("LRLAB_SIMD", level)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !printed.contains(" 0 passed"), "{level}: {printed}");
    }
}
