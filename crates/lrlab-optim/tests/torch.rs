//! Comparison of every update rule with `torch.optim`, step by step. `golden/make.py` generates the numbers.
#![allow(clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod common;

use candle_core::Result;
use lrlab_kernels::Params;
use lrlab_optim::{AdamConfig, OptimizerConfig, SgdConfig, build, clip_grad_norm};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/optim.json")).expect("JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn initial(golden: &Value) -> Result<Params> {
    let initial = &golden["initial"];
    common::params(&[
        ("fc.weight", &[3, 4], &floats(&initial["fc.weight"])),
        ("fc.bias", &[3], &floats(&initial["fc.bias"])),
    ])
}

fn check(case: &str, config: &OptimizerConfig, clip: Option<f64>) -> Result<()> {
    let golden = golden();
    let params = initial(&golden)?;
    let mut optimizer = build(config, &params)?;
    let expected = &golden["cases"][case];
    for (step, gradients) in golden["gradients"].as_array().expect("an array").iter().enumerate() {
        let given: Vec<_> = ["fc.weight", "fc.bias"]
            .into_iter()
            .filter(|name| !gradients[name].is_null())
            .map(|name| (name, floats(&gradients[name])))
            .collect();
        let mut grads = common::grads(&params, &given)?;
        if let Some(clip) = clip {
            let norm = clip_grad_norm(&params, &mut grads, clip)?;
            let torch = expected["norms"][step].as_f64().expect("a norm");
            assert!((norm / torch - 1.0).abs() < 1e-6, "{case}, step {step}: norm {norm}, torch {torch}");
        }
        optimizer.step(golden["rates"][step].as_f64().expect("a rate"), &grads)?;
        for name in ["fc.weight", "fc.bias"] {
            let (ours, torch) = (common::values(&params, name)?, floats(&expected["trace"][step][name]));
            assert_eq!(ours.len(), torch.len());
            for (ours, torch) in ours.iter().zip(&torch) {
                let error = (ours - torch).abs();
                assert!(
                    error < 2e-6 * (1.0 + torch.abs()),
                    "{case}, step {step}, {name}: {ours}, torch {torch}"
                );
            }
        }
    }
    Ok(())
}

fn sgd(momentum: f64, nesterov: bool, weight_decay: f64, decay_all: bool) -> OptimizerConfig {
    OptimizerConfig::Sgd(SgdConfig { momentum, nesterov, weight_decay, decay_all, ..SgdConfig::default() })
}

#[test]
fn sgd_equals_torch() -> Result<()> {
    check("sgd", &sgd(0.0, false, 0.0, false), None)?;
    check("sgd momentum", &sgd(0.9, false, 0.0, false), None)?;
    check("sgd nesterov decay", &sgd(0.9, true, 5e-2, true), None)?;
    check("sgd decay", &sgd(0.0, false, 5e-2, true), None)?;
    check("sgd momentum decay groups", &sgd(0.9, false, 5e-2, false), None)
}

#[test]
fn adam_equals_torch() -> Result<()> {
    check("adam", &OptimizerConfig::Adam(AdamConfig::default()), None)?;
    let decay = AdamConfig {
        beta1: 0.8,
        beta2: 0.99,
        eps: 1e-6,
        weight_decay: 5e-2,
        decay_all: true,
        ..AdamConfig::default()
    };
    check("adam decay", &OptimizerConfig::Adam(decay), None)
}

#[test]
fn adamw_equals_torch() -> Result<()> {
    let config = |decay_all| {
        OptimizerConfig::AdamW(AdamConfig { weight_decay: 5e-2, decay_all, ..AdamConfig::default() })
    };
    check("adamw", &config(true), None)?;
    check("adamw groups", &config(false), None)
}

#[test]
fn clipping_equals_torch() -> Result<()> {
    check("sgd clipped", &sgd(0.9, false, 0.0, false), Some(3.0))
}
