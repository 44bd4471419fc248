//! Every callback with every update rule.

use lrlab_optim::{AdamConfig, OptimizerConfig, SgdConfig};
use lrlab_schedulers::ScheduleSpec;
use lrlab_train::Settings;

use crate::callbacks::WATCHED;
use crate::{Case, linear, pictures};

fn optimizers() -> [(&'static str, OptimizerConfig); 7] {
    let sgd = SgdConfig { momentum: 0.9, weight_decay: 1e-3, ..SgdConfig::default() };
    let falls = Some(ScheduleSpec::parse("cosine = {}").unwrap());
    let adam = AdamConfig { weight_decay: 1e-2, ..AdamConfig::default() };
    [
        ("plain sgd", OptimizerConfig::Sgd(SgdConfig { momentum: 0.0, ..sgd.clone() })),
        ("momentum", OptimizerConfig::Sgd(sgd.clone())),
        ("nesterov", OptimizerConfig::Sgd(SgdConfig { nesterov: true, ..sgd.clone() })),
        (
            "sgd by schedules",
            OptimizerConfig::Sgd(SgdConfig {
                momentum_schedule: falls.clone(),
                weight_decay_schedule: falls.clone(),
                ..sgd
            }),
        ),
        (
            "adamw by schedules",
            OptimizerConfig::AdamW(AdamConfig {
                beta1_schedule: falls.clone(),
                beta2_schedule: ScheduleSpec::parse(
                    "linear = { start_factor = 1.0, end_factor = 0.99, total_iters = '100%' }",
                )
                .ok(),
                weight_decay_schedule: falls,
                ..adam.clone()
            }),
        ),
        ("adam", OptimizerConfig::Adam(adam.clone())),
        ("adamw", OptimizerConfig::AdamW(adam)),
    ]
}

fn every_callback_with(name: &str) {
    let (rule, optimizer) = optimizers().into_iter().find(|(rule, _)| *rule == name).unwrap();
    let data = pictures();
    // A rate at which the loss sometimes rises; the schedule restarts in the middle of an epoch.
    let lr = if rule.starts_with("adam") { 0.05 } else { 0.15 };
    let settings = Settings { epochs: 4, batch_size: 24, eval_batch_size: 80, ..Settings::new(lr) };
    for (watched, callbacks, seen) in WATCHED {
        let case = Case {
            name: format!("{rule}, {watched}"),
            data: &data,
            settings: settings.clone(),
            schedule: "cosine_warm_restarts = { t_0 = \"6 updates\" }",
            optimizer: optimizer.clone(),
            model: &linear,
            callbacks: &callbacks,
        };
        let whole = case.holds();
        if let Some(kind) = seen {
            assert!(whole.decisions.iter().any(|d| d.kind == kind), "{}: {:?}", case.name, whole.decisions);
        }
    }
}

#[test]
fn plain_sgd() {
    every_callback_with("plain sgd");
}

#[test]
fn momentum() {
    every_callback_with("momentum");
}

#[test]
fn nesterov() {
    every_callback_with("nesterov");
}

#[test]
fn adam() {
    every_callback_with("adam");
}

#[test]
fn adamw() {
    every_callback_with("adamw");
}
