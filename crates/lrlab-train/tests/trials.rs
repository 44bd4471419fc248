//! Trials from a snapshot, the noise of the validation loss, and the range test: the trainer's part of the controllers.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device};
use lrlab_callbacks::{
    Action, Callback, Callbacks, Context, Error as CallbackError, Hook, Phase, RangeTest, RangeTestConfig,
    ValidationLossMonitor, WeightAveraging,
};
use lrlab_data::{DataConfig, Dataset, Source, SyntheticPictures};
use lrlab_kernels::Params;
use lrlab_models::{ConvInit, Model, PictureSizes, ResNet, ResNetConfig, Shortcut, Stem};
use lrlab_optim::{OptimizerConfig, SgdConfig};
use lrlab_runs::DecisionKind;
use lrlab_schedulers::{Controlled, Controller, ControllerSpec, Decision, Observation, ScheduleSpec};
use lrlab_train::{Fit, Fitted, Settings, fit, predictions, sweep};

fn data() -> Dataset {
    let pictures = SyntheticPictures { train: 100, test: 40, ..SyntheticPictures::default() };
    let cache = std::env::temp_dir().join("lrlab-train-tests");
    lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), cache)).unwrap()
}

/// A network with batch norm, whose statistics a trial must not change.
fn network(data: &Dataset) -> Box<dyn Model> {
    let (stem, shortcut) = (Stem::Cifar, Shortcut::B);
    let config = ResNetConfig { depth: 8, stem, shortcut, init: ConvInit::default(), width: 0.25 };
    let sizes = PictureSizes { channels: 3, classes: data.classes };
    Box::new(ResNet::new(&config, sizes, 1, Params::new(Device::Cpu, DType::F32)).unwrap())
}

fn parts<'a>(data: &'a Dataset, settings: &'a Settings, callbacks: Callbacks) -> Fit<'a> {
    let model = network(data);
    let sgd = SgdConfig { momentum: 0.9, ..SgdConfig::default() };
    Fit {
        optimizer: lrlab_optim::build(&OptimizerConfig::Sgd(sgd), model.params()).unwrap(),
        model,
        schedule: ScheduleSpec::parse("static")
            .unwrap()
            .build(&Fit::horizon(settings, data.train.len()))
            .unwrap(),
        driver: lrlab_schedulers::Driver::default(),
        callbacks,
        data,
        settings,
        device: &Device::Cpu,
    }
}

fn train(data: &Dataset, settings: &Settings, callbacks: Callbacks) -> Fitted {
    fit(parts(data, settings, callbacks), &AtomicBool::new(false), &mut |_| {}).unwrap()
}

/// Asks for four trials after every epoch and in the middle of the second; the fourth-last outcome ends the run.
#[derive(Default)]
struct Tries {
    seen: Vec<Observation>,
}

impl Callback for Tries {
    fn name(&self) -> &'static str {
        "tries"
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, CallbackError> {
        let asks = match context.hook {
            Hook::EpochEnd(_) => true,
            Hook::UpdateEnd { .. } => context.update == 6,
            _ => false,
        };
        let factors: &[f64] = if asks && phase == Phase::Control { &[0.0, 1.0, 3.0, 1e30] } else { &[] };
        Ok(factors.iter().map(|&factor| Action::Try { factor, updates: 3 }).collect())
    }
    fn tried(&mut self, seen: &Observation) -> Result<Vec<Action>, CallbackError> {
        self.seen.push(*seen);
        Ok(match self.seen.len() {
            9 => vec![Action::Stop {
                metric: "val_loss".to_owned(),
                value: seen.value,
                reason: format!("{seen:?}"),
            }],
            _ => Vec::new(),
        })
    }
}

/// Weights, statistics, momentum, order and augmentation after a trial are those before it, to the bit.
#[test]
fn trials_do_not_change_the_run() {
    let data = data();
    let settings = Settings { epochs: 2, batch_size: 24, ..Settings::new(0.05) };
    let without = train(&data, &settings, Callbacks::default());
    let with = train(&data, &settings, Callbacks::default().with(Tries::default()));
    assert_eq!(with.history, without.history);
    assert_eq!((&with.last, &with.best), (&without.last, &without.best));
    assert!(with.timing.updates_executed > without.timing.updates_executed, "trials are work too");
    let [stop] = &with.decisions[..] else { unreachable!("{:?}", with.decisions) };
    assert_eq!((stop.kind, stop.update, stop.epoch), (DecisionKind::Stop, 8, 2));
    assert!(stop.value.is_some() && stop.reason.contains("stderr: Some("), "{}", stop.reason);
}

/// From a rate far too low the search raises the rate, and a second run has the same bits.
#[test]
fn auto_lrs_raises_a_low_rate() {
    let data = data();
    let settings = Settings { epochs: 4, ..Settings::new(1e-4) };
    let search = || {
        ControllerSpec::parse("auto_lrs = { updates = 6, trials = 5, max_gain = 1000 }")
            .unwrap()
            .build()
            .unwrap()
    };
    let monitor = Callbacks::default().with(ValidationLossMonitor::new(search(), "val_loss").unwrap());
    let (low, found) = (train(&data, &settings, Callbacks::default()), train(&data, &settings, monitor));
    // Three searches: one after the last epoch would have no effect.
    let raised: Vec<_> = found.decisions.iter().filter(|d| d.kind == DecisionKind::Raise).collect();
    assert!((2..=3).contains(&raised.len()), "{:?}", found.decisions);
    assert!(
        raised[0].reason.starts_with("raise × 4: the best of 5 trials of 6 updates (× 1.000: "),
        "{}",
        raised[0].reason
    );
    let last = |fitted: &Fitted| fitted.history[3].train_loss.unwrap();
    assert!(last(&found) < last(&low), "{} is not below {}", last(&found), last(&low));
    let again = Callbacks::default().with(ValidationLossMonitor::new(search(), "val_loss").unwrap());
    let again = train(&data, &settings, again);
    assert_eq!((again.history, again.decisions), (found.history, found.decisions));
}

/// Stops and reports its observation.
#[derive(Debug)]
struct Echo;
impl Controller for Echo {
    type State = ();
    fn init(&self) {}
    fn observe(&self, (): &mut (), seen: &Observation) -> Decision {
        Decision::Stop { reason: format!("{:?}", seen.stderr) }
    }
}

/// Controllers get the validation loss with the standard error of its mean over the examples.
#[test]
fn controllers_get_the_standard_error_of_the_loss() {
    let data = data();
    let settings = Settings { epochs: 3, ..Settings::new(0.05) };
    let monitor = ValidationLossMonitor::new(Box::new(Controlled::new(Echo)), "val_loss").unwrap();
    let fitted = train(&data, &settings, Callbacks::default().with(monitor));
    assert_eq!(fitted.history.len(), 1);
    let model = network(&data);
    model.params().restore(&fitted.last_weights).unwrap();
    let losses: Vec<f64> =
        predictions(&*model, &data.validation, 256, &Device::Cpu).unwrap().iter().map(|o| o.loss).collect();
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let seen = fitted.history[0].val_loss_stderr.unwrap();
    assert!((seen - (variance / n).sqrt()).abs() < 1e-9 * seen, "{seen} is not {}", (variance / n).sqrt());
    assert_eq!(fitted.decisions[0].reason, format!("{:?}", Some(seen)));
}

/// The test tries rates a constant factor apart, suggests one at which the loss falls, and ends where the loss
/// explodes.
#[test]
fn the_range_test_suggests_a_rate() {
    let data = data();
    let settings = Settings { batch_size: 16, ..Settings::new(1.0) };
    let config = RangeTestConfig { min_lr: 1e-6, max_lr: 1e3, updates: 60, smoothing: 0.8, divergence: 3.0 };
    let test = RangeTest::new(config.clone()).unwrap();
    let mut seen = Vec::new();
    let parts = parts(&data, &settings, Callbacks::default());
    let found = sweep(parts, test, &|| false, &mut |lr, loss| seen.push((lr, loss))).unwrap();
    for (i, (lr, _)) in seen.iter().enumerate() {
        let expected = 1e-6 * 1e9_f64.powf(i as f64 / 59.0);
        assert!((lr / expected - 1.0).abs() < 1e-9, "update {i}: {lr}, not {expected}");
    }
    assert!(found.points().len() < 60, "a rate of 1000 explodes");
    let lr = found.suggestion().unwrap().lr;
    assert!((1e-5..10.0).contains(&lr), "{lr}");
}

/// After an average replaces the weights, batch norm's statistics are those of the training split: with one batch of
/// the whole split, the loss in evaluation equals the loss in training mode, which the old running statistics do not
/// give.
#[test]
fn averages_recompute_batch_norm() {
    let data = data();
    let settings = Settings { batch_size: 80, ..Settings::new(1e-12) };
    let average = Callbacks::default().with(WeightAveraging::lawa(1).unwrap());
    let (with, without) = (train(&data, &settings, average), train(&data, &settings, Callbacks::default()));
    let trained = with.history[0].train_loss.unwrap();
    let apart = |fitted: &Fitted| (fitted.last.train_eval_loss.unwrap() - trained).abs();
    assert!(apart(&with) < 1e-3 * trained, "{:?} is not {trained}", with.last.train_eval_loss);
    assert!(apart(&without) > 1e-2 * trained, "{:?} is near {trained} anyway", without.last.train_eval_loss);
}
