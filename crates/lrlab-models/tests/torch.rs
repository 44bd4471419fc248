//! Outputs, losses, gradients and running statistics against torch's on equal weights; the numbers come from
//! `golden/make.py`, in f64.
#![allow(clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod common;

use candle_core::{Device, Result, Tensor};
use lrlab_kernels::cross_entropy;
use lrlab_models::Mode;
use serde_json::Value;

const TRAIN: Mode = Mode::Train { seed: 0, batch: 0 };

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/models.json")).expect("JSON")
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn host(x: &Tensor) -> Result<Vec<f64>> {
    x.detach().to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()
}

/// The factor of a case's tolerance. In fifty layers of batch norm over as few values as here, torch's own f32 is 5e-5
/// (logits) and 2e-4 (gradients) from its f64, a hundred times as far as in the other networks.
fn slack(case: &str) -> f64 {
    if case.starts_with("resnet50") { 20.0 } else { 1.0 }
}

/// Asserts equality up to `tolerance` times the largest value.
fn close(what: &str, ours: &[f64], torch: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), torch.len(), "{what}");
    let largest = torch.iter().fold(1e-3_f64, |max, v| max.max(v.abs()));
    for (i, (ours, torch)) in ours.iter().zip(torch).enumerate() {
        assert!((ours - torch).abs() <= tolerance * largest, "{what}[{i}]: {ours}, torch {torch}");
    }
}

fn check(case: &str) -> Result<()> {
    let golden = golden();
    let expected = &golden[case];
    let model = common::by_name(case)?;
    let slack = slack(case);
    common::fill(model.params())?;
    let input = match case.split(' ').next() {
        Some("resnet50") => common::pictures(33)?,
        Some("resnet8" | "resnet18" | "linear") => common::pictures(9)?,
        _ => common::tokens(6)?,
    };
    let logits = model.forward(&input, TRAIN)?;
    close(&format!("{case}: logits"), &host(&logits)?, &floats(&expected["logits"]), 1e-5 * slack);

    let labels = Tensor::new(&[0_u32, 2, 1, 1], &Device::Cpu)?;
    for (smoothing, key) in [(0.0, "0"), (0.1, "0.1")] {
        let loss = host(&cross_entropy(&logits, &labels, smoothing)?)?;
        let torch = expected["loss"][key].as_f64().expect("a loss");
        close(&format!("{case}: loss with smoothing {smoothing}"), &loss, &[torch], 1e-5 * slack);
    }
    let grads = cross_entropy(&logits, &labels, 0.1)?.backward()?;
    gradients(case, &model.params().clone(), &grads, &expected["gradients"])?;

    let buffers = expected["buffers"].as_object().expect("an object");
    for (name, torch) in buffers {
        let ours = host(&model.params().get(name).expect("torch's buffer").var)?;
        close(&format!("{case}: {name}"), &ours, &floats(torch), 1e-5 * slack);
    }
    assert_eq!(model.params().iter().count() - model.params().trainable().count(), buffers.len(), "{case}");
    let logits = model.forward(&input, Mode::Eval)?;
    close(&format!("{case}: eval logits"), &host(&logits)?, &floats(&expected["eval logits"]), 1e-5 * slack);
    Ok(())
}

/// Names and shapes are torch's; sum, sum of squares and the product with a probe agree for every gradient.
fn gradients(
    case: &str,
    params: &lrlab_kernels::Params,
    grads: &candle_core::backprop::GradStore,
    expected: &Value,
) -> Result<()> {
    let expected = expected.as_object().expect("an object");
    let names: Vec<&str> = params.trainable().map(|(name, _)| name).collect();
    let mut torch_names: Vec<&str> = expected.keys().map(String::as_str).collect();
    torch_names.sort_unstable();
    assert_eq!(names, torch_names, "{case}");
    for (name, param) in params.trainable() {
        let what = format!("{case}: gradient of {name}");
        let (digest, shape) = expected[name].as_array().expect("an array").split_last().expect("a digest");
        let shape: Vec<usize> = shape.iter().map(|d| d.as_u64().expect("a size") as usize).collect();
        assert_eq!(param.var.dims(), shape, "{what}");
        let ours = host(grads.get(&param.var).unwrap_or_else(|| panic!("{what}: there is none")))?;
        let [sum, squares, probe] = floats(digest)[..] else { panic!("{what}: three numbers") };
        assert!(squares > 1e-12, "{what}: torch's is nothing, the case tests nothing");
        let bound = 5e-5 * slack(case) * squares.sqrt();
        let dot = |probe: &[f64]| ours.iter().zip(probe).map(|(a, b)| a * b).sum::<f64>();
        let got = [ours.iter().sum(), dot(&ours).sqrt(), dot(&common::wave("probe", ours.len()))];
        for (got, torch) in got.into_iter().zip([sum, squares.sqrt(), probe]) {
            assert!((got - torch).abs() <= bound, "{what}: {got}, torch {torch}, bound {bound}");
        }
    }
    Ok(())
}

#[test]
fn residual_networks() -> Result<()> {
    for case in ["resnet8 cifar A", "resnet8 cifar B", "resnet8 imagenet A", "resnet8 imagenet B"] {
        check(case)?;
    }
    check("resnet18 cifar A")?;
    check("resnet50 imagenet B")
}

#[test]
fn lstms() -> Result<()> {
    for direction in ["uni", "bi"] {
        for pooling in ["last", "mean", "max"] {
            check(&format!("lstm {direction} {pooling}"))?;
        }
    }
    Ok(())
}

#[test]
fn transformers() -> Result<()> {
    check("transformer post learned relu mean")?;
    check("transformer post learned gelu last")?;
    check("transformer pre sinusoidal gelu max")?;
    check("transformer pre learned relu mean")
}

#[test]
fn linear_baselines() -> Result<()> {
    check("bag")?;
    check("linear")
}

#[test]
fn every_golden_case_is_checked() {
    let golden = golden();
    let cases = golden.as_object().expect("an object");
    assert_eq!(cases.len(), 6 + 6 + 4 + 2);
}
