//! Scheduled momentum, β and weight decay, compared with the formulas of PyTorch and timm.

#![cfg(feature = "host")]
#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "panics fail the test")]

mod common;

use std::f64::consts::PI;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Init, VarBuilder, VarMap};
use lrlab_callbacks::{Callbacks, CsvLogger, EpochMetrics, Session};
use lrlab_kernels::{Params, Role};
use lrlab_optim::{
    AdamConfig, Driver, Group, Groups, Hyper, Optimizer, OptimizerConfig, SgdConfig, VarMapHost, build,
};
use lrlab_schedulers::{Horizon, Schedule, ScheduleSpec};

const RUN: Horizon = Horizon { updates: 20, updates_per_epoch: 5 };

fn schedule(text: &str) -> Box<dyn Schedule> {
    ScheduleSpec::parse(text).unwrap().build(&RUN).unwrap()
}

/// Trains `loss = Σ w²` with two weights, `body` and `head`, and returns them after each update.
fn train(
    config: &OptimizerConfig,
    groups: &[(&str, Group)],
    driver: Driver,
    log: Option<&std::path::Path>,
) -> (Vec<[f64; 2]>, Vec<EpochMetrics>) {
    let map = VarMap::new();
    let vars = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let init = |name| vars.get_with_hints((1, 1), name, Init::Const(1.0)).unwrap();
    let (body, head) = (init("body"), init("head"));
    let mut host = VarMapHost::new(&map, |params| Groups::new(config, params, groups)).unwrap();
    let callbacks =
        log.map_or_else(Callbacks::default, |path| Callbacks::default().with(CsvLogger::new(path)));
    let mut session = Session::new(callbacks, schedule("static"), 0.1, RUN).with_driver(driver);
    session.begin(&mut host).unwrap();
    let mut seen = Vec::new();
    while !session.is_over() {
        session.begin_epoch(&mut host).unwrap();
        for _ in session.epoch_updates() {
            let loss = (body.sqr().unwrap() + head.sqr().unwrap()).unwrap().sum_all().unwrap();
            host.update(&mut session, &loss).unwrap();
            let value = |w: &Tensor| f64::from(w.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]);
            seen.push([value(&body), value(&head)]);
        }
        session.end_epoch(EpochMetrics::default(), &mut host).unwrap();
    }
    let history = session.history().to_vec();
    session.end(&mut host).unwrap();
    (seen, history)
}

fn close(ours: f64, expected: f64, update: usize) {
    assert!((ours - expected).abs() < 2e-6, "after update {update}: {ours}, expected {expected}");
}

/// The momentum of `OneCycleLR` mirrors its rate: from `max_momentum` to `base_momentum` within the rise, and back.
#[test]
fn sgd_with_the_momentum_of_one_cycle() {
    let momentum = "piecewise_linear = { knots = [{ at = '0%', factor = 1.0 }, { at = '30%', factor = 0.85 }, \
                    { at = '100%', factor = 1.0 }], interpolate = 'cosine' }";
    let driver = Driver::default().drive("", Hyper::Momentum, 0.95, schedule(momentum));
    let (ours, history) = train(&OptimizerConfig::Sgd(SgdConfig::default()), &[], driver, None);
    let (rise, total) = (6.0, 20.0);
    let anneal = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * ((PI * share).cos() + 1.0);
    let at = |t: f64| {
        let (high, low) = (0.95, 0.95 * 0.85);
        if t <= rise { anneal(high, low, t / rise) } else { anneal(low, high, (t - rise) / (total - rise)) }
    };
    let (mut w, mut buffer) = (1.0, 0.0);
    for (update, ours) in ours.iter().enumerate() {
        let grad = 2.0 * w;
        buffer = if update == 0 { grad } else { at(update as f64) * buffer + grad };
        w -= 0.1 * buffer;
        close(ours[0], w, update);
    }
    for (epoch, metrics) in history.iter().enumerate() {
        let last = (epoch * 5 + 4) as f64;
        assert!((metrics.hyperparameters["momentum"] - at(last)).abs() < 1e-12);
    }
}

/// The reference is the rule of torch with β₁ and λ of the step: `betas` as in `OneCycleLR` and `CyclicLR`, and λ by the cosine of
/// timm and DINO, `end + (start − end) · (1 + cos(π t / T)) / 2`. The λ of the head is constant.
#[test]
fn adamw_with_cosine_weight_decay() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.csv");
    let driver = Driver::default()
        .drive("", Hyper::WeightDecay, 0.4, schedule("cosine = { eta_min = 0.04 }"))
        .drive(
            "",
            Hyper::Momentum,
            0.9,
            schedule("linear = { start_factor = 1.0, end_factor = 0.5, total_iters = '100%' }"),
        )
        .drive(
            "head",
            Hyper::Beta2,
            0.999,
            schedule("linear = { start_factor = 1.0, end_factor = 0.9, total_iters = '100%' }"),
        );
    let head = Group { weight_decay: Some(0.2), ..Group::default() };
    let config = OptimizerConfig::AdamW(AdamConfig::adamw());
    let (ours, history) = train(&config, &[("head", head)], driver, Some(&log));
    let share = |update: usize| update as f64 / 20.0;
    let decay = |update: usize| 0.04 + (0.4 - 0.04) * (1.0 + (PI * share(update)).cos()) / 2.0;
    let beta1 = |update: usize| 0.9 * (1.0 - 0.5 * share(update));
    let beta2 = |update: usize| 0.999 * (1.0 - 0.1 * share(update));
    for place in 0..2 {
        let (mut w, mut m, mut v) = (1.0, 0.0, 0.0);
        for (update, ours) in ours.iter().enumerate() {
            let (lambda, beta2) = if place == 0 { (decay(update), 0.999) } else { (0.2, beta2(update)) };
            let (beta1, step) = (beta1(update), update as i32 + 1);
            let grad: f64 = 2.0 * w;
            w *= 1.0 - 0.1 * lambda;
            m = beta1 * m + (1.0 - beta1) * grad;
            v = beta2 * v + (1.0 - beta2) * grad * grad;
            let root = (v / (1.0 - beta2.powi(step))).sqrt() + 1e-8;
            w -= 0.1 * (m / (1.0 - beta1.powi(step))) / root;
            close(ours[place], w, update);
        }
    }
    let last = &history[3].hyperparameters;
    assert_eq!(last.keys().collect::<Vec<_>>(), ["head/beta2", "momentum", "weight_decay"]);
    assert!((last["weight_decay"] - decay(19)).abs() < 1e-12);
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.lines().next().unwrap().ends_with(",head/beta2,momentum,weight_decay"), "{text}");
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn setting_an_unsupported_constant_is_an_error() -> Result<()> {
    let mut params = Params::new(Device::Cpu, DType::F32);
    params.create("w", &Tensor::ones((1, 1), DType::F32, &Device::Cpu)?, Role::Weight)?;
    let sgd = |momentum| OptimizerConfig::Sgd(SgdConfig { momentum, ..SgdConfig::default() });
    let adam = OptimizerConfig::Adam(AdamConfig::default());
    let candle: candle_nn::SGD = candle_nn::Optimizer::new(Vec::new(), 0.1)?;
    let mut rules: [(&str, Box<dyn Optimizer>); 5] = [
        ("plain", build(&sgd(0.0), &params)?),
        ("sgd", build(&sgd(0.9), &params)?),
        ("adam", build(&adam, &params)?),
        ("groups", Box::new(Groups::new(&adam, &params, &[("w", Group::default())])?)),
        ("candle", Box::new(candle)),
    ];
    let cases = [
        (
            "plain",
            "",
            Hyper::Momentum,
            0.9,
            "momentum cannot be set to 0.9: this SGD was created without momentum",
        ),
        ("sgd", "", Hyper::Beta2, 0.9, "SGD has no beta2: it has momentum and weight_decay"),
        ("sgd", "", Hyper::Momentum, 1.5, "momentum is 1.5, expected 0 or more and below 1"),
        ("sgd", "head", Hyper::Momentum, 0.5, "there is no group \"head\": this rule has no groups"),
        ("adam", "", Hyper::Lr, 0.1, "Adam has no lr: it has beta1 (momentum), beta2 and weight_decay"),
        ("adam", "", Hyper::WeightDecay, f64::NAN, "weight decay is NaN, expected 0 … "),
        ("groups", "body", Hyper::Beta1, 0.5, "there is no group \"body\"; the groups are [\"w\"]"),
        ("candle", "", Hyper::Momentum, 0.5, "this optimizer cannot set momentum of the group \"\" to 0.5"),
    ];
    for (rule, group, hyper, value, expected) in cases {
        let optimizer = &mut rules.iter_mut().find(|(name, _)| *name == rule).unwrap().1;
        let error = optimizer.set(group, &hyper, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
    Ok(())
}

/// Constants that a rule is created with or set to are those that its steps accept.
#[test]
fn constants_that_no_step_accepts_are_errors() -> Result<()> {
    let params = || common::params(&[("w", &[2], &[1.0, -1.0])]);
    let step = |rule: &mut dyn Optimizer, params: &Params| -> Result<()> {
        rule.step(0.1, &common::grads(params, &[("w", vec![1.0, 0.0])])?)?;
        assert!(common::values(params, "w")?.iter().all(|w| w.is_finite()));
        Ok(())
    };
    let adam = |change: &dyn Fn(&mut AdamConfig)| {
        let mut config = AdamConfig::default();
        change(&mut config);
        OptimizerConfig::Adam(config)
    };
    let (last, tiny) = (1.0_f64.next_down(), f64::MIN_POSITIVE);
    for value in [-0.1, 0.0, tiny, 1e-30, 0.5, last, 1.0, 2.0, f64::INFINITY, f64::NAN] {
        let factor = (0.0..1.0).contains(&value);
        for (name, config, valid) in [
            ("momentum", OptimizerConfig::Sgd(SgdConfig { momentum: value, ..SgdConfig::default() }), factor),
            ("beta1", adam(&|c| c.beta1 = value), factor),
            ("beta2", adam(&|c| c.beta2 = value), factor),
            ("eps", adam(&|c| c.eps = value), value > tiny && value.is_finite()),
            ("weight decay", adam(&|c| c.weight_decay = value), value >= 0.0 && value.is_finite()),
        ] {
            let params = params()?;
            match build(&config, &params) {
                Ok(mut rule) => {
                    assert!(valid, "{name} {value}");
                    step(&mut *rule, &params).unwrap();
                }
                Err(error) => {
                    assert!(!valid && error.to_string().contains(&format!("{name} is {value}")), "{error}");
                }
            }
        }
        for hyper in [Hyper::Momentum, Hyper::Beta1, Hyper::Beta2] {
            let params = params()?;
            let mut rule = build(&OptimizerConfig::Adam(AdamConfig::default()), &params)?;
            assert_eq!(rule.set("", &hyper, value).is_ok(), factor, "{hyper} {value}");
            step(&mut *rule, &params)?;
        }
    }
    Ok(())
}
