//! The training loop on small synthetic data: when changes take effect, and the state at the end.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

mod rewinds;

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use lrlab_callbacks::{
    Action, Callback, Callbacks, Context, DivergenceConfig, DivergenceGuard, EarlyStopping,
    EarlyStoppingConfig, Error as CallbackError, Hook, OnDivergence, Phase,
};
use lrlab_data::{DataConfig, Dataset, Source, SyntheticPictures};
use lrlab_kernels::{Params, Role};
use lrlab_models::{
    ConvInit, Input, Linear, LinearConfig, Mode, Model, PictureSizes, ResNet, ResNetConfig, Shortcut, Stem,
};
use lrlab_optim::{OptimizerConfig, SgdConfig};
use lrlab_runs::{DecisionKind, EpochMetrics, Event};
use lrlab_schedulers::ScheduleSpec;
use lrlab_train::{Fit, Fitted, Settings, Stop, evaluate, fit};

fn data() -> Dataset {
    let pictures = SyntheticPictures { train: 100, test: 40, ..SyntheticPictures::default() };
    let cache = std::env::temp_dir().join("lrlab-train-tests");
    lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), cache)).unwrap()
}

fn linear(data: &Dataset) -> Box<dyn Model> {
    let config = LinearConfig { inputs: 3 * 16 * 16, classes: data.classes };
    Box::new(Linear::new(&config, 0, Params::new(Device::Cpu, DType::F32)).unwrap())
}

/// The parts of a run with plain SGD on the CPU.
fn parts<'a>(
    data: &'a Dataset,
    model: Box<dyn Model>,
    settings: &'a Settings,
    schedule: &str,
    callbacks: Callbacks,
) -> Fit<'a> {
    let horizon = Fit::horizon(settings, data.train.len());
    Fit {
        optimizer: lrlab_optim::build(&OptimizerConfig::Sgd(SgdConfig::default()), model.params()).unwrap(),
        model,
        schedule: ScheduleSpec::parse(schedule).unwrap().build(&horizon).unwrap(),
        driver: lrlab_schedulers::Driver::default(),
        callbacks,
        data,
        settings,
        device: &Device::Cpu,
    }
}

/// Trains and returns the result with all events.
fn train_with(
    data: &Dataset,
    model: Box<dyn Model>,
    settings: &Settings,
    schedule: &str,
    callbacks: Callbacks,
    interrupt: &AtomicBool,
) -> (Fitted, Vec<Event>) {
    let parts = parts(data, model, settings, schedule, callbacks);
    let mut events = Vec::new();
    let fitted = fit(parts, interrupt, &mut |event| events.push(event.clone())).unwrap();
    (fitted, events)
}

fn train(settings: &Settings, schedule: &str, callbacks: Callbacks) -> (Fitted, Vec<Event>) {
    let data = data();
    train_with(&data, linear(&data), settings, schedule, callbacks, &AtomicBool::new(false))
}

fn rates(events: &[Event]) -> Vec<f64> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Progress { lr, .. } => Some(*lr),
            _ => None,
        })
        .collect()
}

/// A run of T updates uses the times 0 … T − 1, so the end value is not used. The last, partial batch is an update.
#[test]
fn the_schedule_is_evaluated_once_per_update() {
    let settings = Settings { epochs: 3, batch_size: 24, ..Settings::new(0.01) };
    let (fitted, events) = train(&settings, "cosine = {}", Callbacks::default());
    // 80 training examples: 4 batches, the last of 8.
    let expected: Vec<f64> =
        (0..12).map(|t| 0.01 * (1.0 + (std::f64::consts::PI * t as f64 / 12.0).cos()) / 2.0).collect();
    let seen = rates(&events);
    assert_eq!(seen.len(), 12);
    for (seen, expected) in seen.iter().zip(&expected) {
        assert!((seen - expected).abs() < 1e-15, "{seen} is not {expected}");
    }
    assert_eq!(fitted.stop, Stop::Completed);
    assert_eq!(fitted.timing.updates_executed, 12);
    assert_eq!(fitted.history.iter().map(|m| m.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((fitted.history[1].lr_first, fitted.history[1].lr), (Some(seen[4]), Some(seen[7])));
}

/// The run does not depend on the number of batches made ahead; the time waited for them is part of its time.
#[test]
fn prefetching_does_not_change_the_bits() {
    let settings = Settings { epochs: 2, batch_size: 24, accumulate: 2, ..Settings::new(0.01) };
    let run =
        |prefetch| train(&Settings { prefetch, ..settings.clone() }, "static = {}", Callbacks::default()).0;
    let here = run(0);
    for prefetch in [1, 2, 7] {
        let ahead = run(prefetch);
        assert_eq!(here.history, ahead.history, "{prefetch} ahead");
        assert_eq!((&here.last, &here.best), (&ahead.last, &ahead.best), "{prefetch} ahead");
        let share = ahead.timing.input_share.unwrap();
        assert!(ahead.timing.input_s > 0.0 && share > 0.0 && share < 1.0, "{:?}", ahead.timing);
    }
}

/// The gradient of a window is the mean over its examples, so two batches of 16 are one of 32; 80 examples make
/// windows of 32, 32 and 16.
#[test]
fn accumulation_equals_a_larger_batch() {
    let whole = Settings { epochs: 2, batch_size: 32, ..Settings::new(0.01) };
    let halves = Settings { batch_size: 16, accumulate: 2, ..whole.clone() };
    let (whole, _) = train(&whole, "static = {}", Callbacks::default());
    let (halves, _) = train(&halves, "static = {}", Callbacks::default());
    assert_eq!(whole.timing.updates_executed, 6);
    assert_eq!(halves.timing.updates_executed, 6);
    for (a, b) in whole.history.iter().zip(&halves.history) {
        let (a, b) = (a.val_loss.unwrap(), b.val_loss.unwrap());
        assert!((a - b).abs() < 1e-4, "{a} is not {b}");
    }
}

#[test]
fn networks_learn_and_equal_seeds_give_equal_bits() {
    let data = data();
    let network = || -> Box<dyn Model> {
        let (stem, shortcut) = (Stem::Cifar, Shortcut::B);
        let config = ResNetConfig { depth: 8, stem, shortcut, init: ConvInit::default(), width: 0.5 };
        let sizes = PictureSizes { channels: 3, classes: data.classes };
        Box::new(ResNet::new(&config, sizes, 1, Params::new(Device::Cpu, DType::F32)).unwrap())
    };
    let settings = Settings { epochs: 6, seed: 1, ..Settings::new(0.05) };
    let never = AtomicBool::new(false);
    let (one, _) = train_with(&data, network(), &settings, "static = {}", Callbacks::default(), &never);
    let (two, _) = train_with(&data, network(), &settings, "static = {}", Callbacks::default(), &never);
    assert_eq!(one.history, two.history);
    assert_eq!((one.last.clone(), one.best.clone()), (two.last, two.best));
    let (first, last) = (one.history[0].train_loss.unwrap(), one.history[5].train_loss.unwrap());
    assert!(last < 0.9 * first, "training loss went from {first} to {last}");
    assert!(one.last.test_loss.is_some() && one.last.train_eval_accuracy.is_some());
    let best = one.history.iter().map(|m| m.val_accuracy.unwrap()).fold(0.0, f64::max);
    assert_eq!(one.best.metrics.val_accuracy, Some(best));
}

/// The returned weights are those of the best epoch.
#[test]
fn best_weights_have_the_recorded_metrics() {
    let data = data();
    let settings = Settings { epochs: 4, select: "val_loss".to_owned(), ..Settings::new(0.03) };
    let never = AtomicBool::new(false);
    let (fitted, _) =
        train_with(&data, linear(&data), &settings, "static = {}", Callbacks::default(), &never);
    let model = linear(&data);
    model.params().restore(&fitted.weights).unwrap();
    let scores = evaluate(&*model, &data.validation, data.classes, 7, &Device::Cpu).unwrap();
    let recorded = fitted.best.metrics.val_loss.unwrap();
    assert!((scores.loss - recorded).abs() < 1e-5, "{} is not {recorded}", scores.loss);
}

#[test]
fn divergence_is_an_outcome() {
    // A rate large enough for f32 to overflow to infinity, whose difference is NaN.
    let settings = Settings { epochs: 50, ..Settings::new(1e38) };
    let (fitted, _) = train(&settings, "static = {}", Callbacks::default());
    assert_eq!(fitted.stop, Stop::Diverged);
    assert!(fitted.history.len() < 50);
}

/// Logits plus the root of a weight that is 0: the loss is finite, and the gradient is not.
struct Steep(Linear);

impl Steep {
    fn new(data: &Dataset) -> Self {
        let mut params = Params::new(Device::Cpu, DType::F32);
        let zero = Tensor::zeros(data.classes, DType::F32, &Device::Cpu).unwrap();
        params.create("steep", &zero, Role::NoDecay).unwrap();
        let config = LinearConfig { inputs: 3 * 16 * 16, classes: data.classes };
        Self(Linear::new(&config, 0, params).unwrap())
    }
}

impl Model for Steep {
    fn forward(&self, input: &Input, mode: Mode) -> candle_core::Result<Tensor> {
        let Some(steep) = self.params().get("steep") else { candle_core::bail!("no weight called steep") };
        self.0.forward(input, mode)?.broadcast_add(&steep.var.sqrt()?)
    }

    fn params(&self) -> &Params {
        self.0.params()
    }
}

/// The loss is finite and the gradient is NaN: no weight changes, with or without clipping, and the run diverges at
/// once.
#[test]
fn nan_gradients_change_no_weight() {
    let data = data();
    let before = Steep::new(&data).params().snapshot().unwrap();
    let guard =
        |action| DivergenceGuard::new(DivergenceConfig { action, ..DivergenceConfig::default() }).unwrap();
    for clip_norm in [None, Some(1.0)] {
        let settings = Settings { epochs: 2, clip_norm, ..Settings::new(0.01) };
        for (callbacks, stop, updates) in [
            (Callbacks::default(), Stop::Diverged, 1),
            (Callbacks::default().with(guard(OnDivergence::Stop)), Stop::Diverged, 1),
            // The guard rewinds three times and ends the run at the fourth.
            (
                Callbacks::default().with(guard(OnDivergence::Rewind { factor: 0.5, limit: 3 })),
                Stop::Diverged,
                4,
            ),
        ] {
            let model = Box::new(Steep::new(&data));
            let (fitted, events) =
                train_with(&data, model, &settings, "static", callbacks, &AtomicBool::new(false));
            assert_eq!((fitted.stop, rates(&events).len()), (stop, updates));
            for (name, weights) in &before {
                let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(values(weights), values(&fitted.last_weights[name]), "{name}");
            }
            assert!(fitted.last.metrics.val_loss.is_some());
        }
    }
}

/// Early stopping with `restore_best` decides the final weights, whether it stopped the run or not.
#[test]
fn restored_weights_are_the_final_weights() {
    let data = data();
    for (patience, stop) in [(1, Stop::Stopped), (99, Stop::Completed)] {
        // With a rate far too high, the loss rises and falls.
        let settings = Settings { epochs: 8, select: "train_loss".to_owned(), ..Settings::new(0.5) };
        let config = EarlyStoppingConfig { patience, restore_best: true, ..EarlyStoppingConfig::default() };
        let callbacks = Callbacks::default().with(EarlyStopping::new(config).unwrap());
        let (fitted, _) =
            train_with(&data, linear(&data), &settings, "static", callbacks, &AtomicBool::new(false));
        assert_eq!(fitted.stop, stop);
        let losses = fitted.history.iter().map(|metrics| metrics.val_loss.unwrap()).enumerate();
        let (index, loss) = losses.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!(index + 1 < fitted.history.len(), "the last epoch is not the best one: {:?}", fitted.history);
        assert_eq!(fitted.last.metrics, fitted.history[index]);
        let decision = fitted.decisions.last().unwrap();
        assert_eq!((decision.kind, decision.source.as_str()), (DecisionKind::Rewind, "early_stopping"));
        let model = linear(&data);
        model.params().restore(&fitted.last_weights).unwrap();
        let scores = |split| evaluate(&*model, split, data.classes, 256, &Device::Cpu).unwrap();
        assert_eq!(scores(&data.validation).loss, loss);
        assert_eq!(Some(scores(&data.test).loss), fitted.last.test_loss);
    }
}

/// NaN logits give neither a loss nor an accuracy.
#[test]
fn nan_logits_have_no_accuracy() {
    let settings = Settings { epochs: 3, ..Settings::new(1e38) };
    let (fitted, _) = train(&settings, "static", Callbacks::default());
    assert_eq!(fitted.stop, Stop::Diverged);
    let last = &fitted.last;
    let EpochMetrics { val_loss, val_accuracy, val_f1, val_precision, val_recall, val_ece, .. } =
        last.metrics;
    assert_eq!([val_loss, val_accuracy, val_f1, val_precision, val_recall, val_ece], [None; 6]);
    assert_eq!([last.test_accuracy, last.train_eval_accuracy, last.test_f1, last.test_ece], [None; 4]);
}

#[test]
fn interrupts_end_the_run_after_an_update() {
    struct Raise<'a>(&'a AtomicBool);
    let interrupt = AtomicBool::new(false);
    let data = data();
    let settings = Settings { epochs: 5, ..Settings::new(0.01) };
    let parts = parts(&data, linear(&data), &settings, "static = {}", Callbacks::default());
    let raise = Raise(&interrupt);
    let fitted = fit(parts, &interrupt, &mut |event| {
        if matches!(event, Event::Progress { update: 4, .. }) {
            raise.0.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert_eq!(fitted.stop, Stop::Interrupted);
    assert_eq!(fitted.timing.updates_executed, 4);
}

/// Halves its gain after every epoch and counts its calls.
struct Halver {
    gain: f64,
}
impl Callback for Halver {
    fn name(&self) -> &'static str {
        "halver"
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, CallbackError> {
        if let (Phase::Control, Hook::EpochEnd(metrics)) = (phase, context.hook) {
            self.gain /= 2.0;
            let value = metrics.val_loss.unwrap_or(f64::NAN);
            let (metric, reason) = ("val_loss".to_owned(), format!("epoch {}", context.epoch));
            return Ok(vec![Action::SetGain { gain: self.gain, metric, value, reason }]);
        }
        Ok(Vec::new())
    }
}

/// A decision takes effect at the next update, and its record has the rates before and after.
#[test]
fn gains_multiply_the_schedule() {
    let settings = Settings { epochs: 3, batch_size: 40, lr_min: 0.003, ..Settings::new(0.01) };
    let callbacks = Callbacks::new(vec![Box::new(Halver { gain: 1.0 })]);
    let (fitted, events) = train(&settings, "static = {}", callbacks);
    assert_eq!(rates(&events), [0.01, 0.01, 0.005, 0.005, 0.003, 0.003]);
    let decision = &fitted.decisions[1];
    assert_eq!((decision.update, decision.epoch, decision.kind), (4, 2, DecisionKind::Cut));
    assert_eq!((decision.lr_before, decision.lr_after, decision.gain), (Some(0.005), Some(0.003), 0.25));
    assert_eq!(decision.reason, "epoch 2");
}

/// Takes a snapshot after the first epoch and restores it at the end.
struct Keeper;
impl Callback for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }
    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, CallbackError> {
        let tag = "kept".to_owned();
        Ok(match (phase, context.hook) {
            (Phase::Snapshot, Hook::EpochEnd(_)) if context.epoch == 1 => vec![Action::Save { tag }],
            (Phase::Control, Hook::EpochEnd(_)) if context.epoch == 2 => {
                vec![Action::Restore { tag, reason: "back to the first".to_owned() }]
            }
            (Phase::Control, Hook::EpochEnd(_)) if context.epoch == 3 => {
                vec![Action::Stop { metric: String::new(), value: 0.0, reason: "enough".to_owned() }]
            }
            _ => Vec::new(),
        })
    }
}

#[test]
fn callbacks_restore_weights_and_stop_the_run() {
    let settings = Settings { epochs: 9, batch_size: 80, ..Settings::new(0.01) };
    let (fitted, _) = train(&settings, "static = {}", Callbacks::new(vec![Box::new(Keeper)]));
    assert_eq!(fitted.stop, Stop::Stopped);
    assert_eq!(fitted.history.len(), 3);
    // One update per epoch on all examples: epoch 3 repeats epoch 2, up to the order of summation.
    let (second, third) = (fitted.history[1].val_loss.unwrap(), fitted.history[2].val_loss.unwrap());
    assert!((second - third).abs() < 1e-5, "{second} is not {third}");
    let kinds: Vec<_> = fitted.decisions.iter().map(|d| d.kind).collect();
    assert_eq!(kinds, [DecisionKind::Rewind, DecisionKind::Stop]);
}

/// Before the first update.
#[test]
fn an_empty_split_is_rejected() {
    let mut data = data();
    data.validation = lrlab_data::load(&DataConfig {
        validation: Some(lrlab_data::Validation::Examples(0)),
        ..DataConfig::new(
            Source::SyntheticPictures(SyntheticPictures {
                train: 20,
                test: 8,
                ..SyntheticPictures::default()
            }),
            std::env::temp_dir().join("lrlab-train-tests"),
        )
    })
    .unwrap()
    .validation;
    let settings = Settings::new(0.1);
    let parts = parts(&data, linear(&data), &settings, "static = {}", Callbacks::default());
    let mut events = 0;
    let error = fit(parts, &AtomicBool::new(false), &mut |_| events += 1).err().unwrap().to_string();
    assert_eq!((error.as_str(), events), ("validation is empty, expected at least one example", 0));
}

#[test]
fn invalid_settings_are_rejected() {
    for (settings, word) in [
        (Settings::new(0.0), "lr"),
        (Settings::new(f64::NAN), "lr"),
        (Settings { lr_max: Some(0.0), ..Settings::new(0.1) }, "lr_max"),
        (Settings { lr_max: Some(f64::NAN), ..Settings::new(0.1) }, "lr_max"),
        (Settings { lr_min: -0.1, ..Settings::new(0.1) }, "lr_min"),
        (Settings { lr_min: f64::INFINITY, ..Settings::new(0.1) }, "lr_min"),
        (Settings { epochs: 0, ..Settings::new(0.1) }, "epochs"),
        (Settings { batch_size: 0, ..Settings::new(0.1) }, "batch_size"),
        (Settings { accumulate: 0, ..Settings::new(0.1) }, "accumulate"),
        (Settings { select: "speed".to_owned(), ..Settings::new(0.1) }, "select"),
        (Settings { clip_norm: Some(0.0), ..Settings::new(0.1) }, "clip_norm"),
        (Settings { clip_norm: Some(-1.0), ..Settings::new(0.1) }, "clip_norm"),
        (Settings { clip_norm: Some(f64::NAN), ..Settings::new(0.1) }, "clip_norm"),
        (Settings { label_smoothing: 1.0, ..Settings::new(0.1) }, "label_smoothing"),
        (Settings { label_smoothing: -0.1, ..Settings::new(0.1) }, "label_smoothing"),
        (Settings { label_smoothing: f64::NAN, ..Settings::new(0.1) }, "label_smoothing"),
    ] {
        let data = data();
        let model = linear(&data);
        // A caller has the length of the run before `fit` checks the settings.
        assert!(Fit::horizon(&settings, data.train.len()).updates_per_epoch > 0);
        let horizon = Fit::horizon(&Settings::new(0.1), data.train.len());
        let parts = Fit {
            optimizer: lrlab_optim::build(&OptimizerConfig::Sgd(SgdConfig::default()), model.params())
                .unwrap(),
            model,
            schedule: ScheduleSpec::parse("static = {}").unwrap().build(&horizon).unwrap(),
            driver: lrlab_schedulers::Driver::default(),
            callbacks: Callbacks::default(),
            data: &data,
            settings: &settings,
            device: &Device::Cpu,
        };
        let error = fit(parts, &AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
        assert!(error.starts_with(word), "{error}");
    }
}
