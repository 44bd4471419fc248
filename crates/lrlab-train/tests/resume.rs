//! A run that is interrupted between any two updates and continues from its serialised state has the bits of an
//! undisturbed run, with every update rule, every callback and every kind of network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use lrlab_callbacks::{
    AverageEvery, Averaging, Callbacks, Checkpoint, CheckpointConfig, DivergenceConfig, DivergenceGuard,
    EarlyStopping, EarlyStoppingConfig, OnDivergence, RangeTest, RangeTestConfig, SaveEvery, ShamControl,
    SnapshotEnsemble, ValidationLossMonitor, WeightAveraging,
};
use lrlab_data::{
    AugmentConfig, DataConfig, Dataset, Kind, Source, SyntheticPictures, SyntheticReviews, TokenConfig,
};
use lrlab_kernels::{Params, Precision};
use lrlab_models::{
    Activation, ConvInit, Linear, LinearConfig, Lstm, LstmConfig, Model, NormPlacement, PictureSizes,
    Pooling, Positions, ResNet, ResNetConfig, Shortcut, Stem, TextSizes, Transformer, TransformerConfig,
};
use lrlab_optim::{AdamConfig, OptimizerConfig, SgdConfig};
use lrlab_runs::{Decision, DecisionKind};
use lrlab_schedulers::{ControllerSpec, Plateau, ScheduleSpec, Span, ThresholdMode};
use lrlab_train::{
    CheckpointAction, CheckpointPolicy, Error, Fit, Fitted, Position, Settings, State, Stop, fit_from,
};

type Build<'a> = dyn Fn(&Dataset) -> Box<dyn Model> + 'a;

/// A run that can be built repeatedly.
struct Case<'a> {
    name: String,
    data: &'a Dataset,
    settings: Settings,
    schedule: &'a str,
    optimizer: OptimizerConfig,
    model: &'a Build<'a>,
    callbacks: &'a dyn Fn() -> Callbacks,
}

/// Interrupts at the `place`-th call, from 0, and keeps the serialised state.
struct At {
    place: usize,
    asked: usize,
    kept: Option<(Vec<u8>, Vec<u8>)>,
}

impl At {
    fn new(place: usize) -> Self {
        Self { place, asked: 0, kept: None }
    }
}

impl CheckpointPolicy for At {
    fn check(&mut self, _: &Position) -> CheckpointAction {
        self.asked += 1;
        if self.asked > self.place { CheckpointAction::Interrupt } else { CheckpointAction::Continue }
    }

    fn save(&mut self, state: State) -> Result<(), Error> {
        self.kept = Some(state.write()?);
        Ok(())
    }
}

impl Case<'_> {
    fn run(&self, from: Option<&State>, policy: &mut At) -> Fitted {
        let horizon = Fit::horizon(&self.settings, self.data.train.len());
        let model = (self.model)(self.data);
        let parts = Fit {
            optimizer: lrlab_optim::build(&self.optimizer, model.params()).unwrap(),
            model,
            schedule: ScheduleSpec::parse(self.schedule).unwrap().build(&horizon).unwrap(),
            driver: self.optimizer.driver(&horizon).unwrap(),
            callbacks: (self.callbacks)(),
            data: self.data,
            settings: &self.settings,
            device: &Device::Cpu,
        };
        fit_from(parts, from, policy, &mut |_| {}).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Runs without interruption and compares with one interruption at each place and with interruptions everywhere.
    fn holds(&self) -> Fitted {
        let mut never = At::new(usize::MAX);
        let whole = self.run(None, &mut never);
        for at in 0..never.asked {
            let mut policy = At::new(at);
            let begun = self.run(None, &mut policy);
            assert_eq!(begun.stop, Stop::Interrupted, "{}", self.name);
            let (metadata, tensors) = policy.kept.unwrap();
            let state = State::read(&metadata, &tensors).unwrap();
            let resumed = self.run(Some(&state), &mut At::new(usize::MAX));
            self.same(&whole, &resumed, &format!("interrupted at place {at}"));
        }
        self.same(&whole, &self.everywhere(), "interrupted everywhere");
        whole
    }

    fn everywhere(&self) -> Fitted {
        let mut state: Option<State> = None;
        loop {
            // A continued run calls the policy once before its first update.
            let mut policy = At::new(usize::from(state.is_some()));
            let fitted = self.run(state.as_ref(), &mut policy);
            let Some((metadata, tensors)) = policy.kept else { return fitted };
            state = Some(State::read(&metadata, &tensors).unwrap());
        }
    }

    fn same(&self, a: &Fitted, b: &Fitted, what: &str) {
        let what = format!("{}, {what}", self.name);
        assert_eq!(a.stop, b.stop, "{what}");
        assert_eq!(a.history, b.history, "{what}");
        assert_eq!(a.decisions, b.decisions, "{what}");
        assert_eq!(a.last, b.last, "{what}");
        assert_eq!(a.best, b.best, "{what}");
        assert_eq!(bits(&a.weights), bits(&b.weights), "{what}");
        assert_eq!(bits(&a.last_weights), bits(&b.last_weights), "{what}");
        assert!(a.kept.keys().eq(b.kept.keys()), "{what}");
        for (tag, weights) in &a.kept {
            assert_eq!(bits(weights), bits(&b.kept[tag]), "{what}: {tag}");
        }
        assert_eq!(a.timing.updates_executed, b.timing.updates_executed, "{what}");
    }
}

fn bits(weights: &BTreeMap<String, Tensor>) -> Vec<(&str, Vec<u32>)> {
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    weights
        .iter()
        .map(|(name, tensor)| (name.as_str(), flat(tensor).iter().map(|x| x.to_bits()).collect()))
        .collect()
}

fn cache() -> std::path::PathBuf {
    std::env::temp_dir().join("lrlab-train-tests")
}

fn pictures() -> Dataset {
    let pictures = SyntheticPictures { train: 100, test: 20, size: 8, ..SyntheticPictures::default() };
    lrlab_data::load(&DataConfig::new(Source::SyntheticPictures(pictures), cache())).unwrap()
}

fn linear(data: &Dataset) -> Box<dyn Model> {
    let config = LinearConfig { inputs: 3 * 8 * 8, classes: data.classes };
    Box::new(Linear::new(&config, 0, Params::new(Device::Cpu, DType::F32)).unwrap())
}

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

/// A monitor that sees no improvement after the first epoch.
fn monitor(rewind: bool) -> ValidationLossMonitor {
    let plateau = Plateau {
        factor: 0.5,
        patience: 0,
        threshold: 1e6,
        threshold_mode: ThresholdMode::Abs,
        rewind,
        ..Plateau::default()
    };
    ValidationLossMonitor::new(ControllerSpec::from(plateau).build().unwrap(), "val_loss").unwrap()
}

/// Tries several rates after each epoch, and rewinds.
fn search() -> ValidationLossMonitor {
    let search = ControllerSpec::parse("auto_lrs = { updates = 2, trials = 2 }").unwrap();
    ValidationLossMonitor::new(search.build().unwrap(), "val_loss").unwrap()
}

fn stopping(min_delta: f64, restore_best: bool) -> EarlyStopping {
    let config =
        EarlyStoppingConfig { patience: 2, min_delta, restore_best, ..EarlyStoppingConfig::default() };
    EarlyStopping::new(config).unwrap()
}

/// A guard that treats any loss above the first update's as divergence.
fn guard() -> DivergenceGuard {
    let action = OnDivergence::Rewind { factor: 0.5, limit: 20 };
    let config = DivergenceConfig { explosion: Some(1.0 + 1e-9), patience: 1, action };
    DivergenceGuard::new(config).unwrap()
}

fn keeps(last: SaveEvery) -> Checkpoint {
    let config = CheckpointConfig { top_k: 2, last: Some(last), ..CheckpointConfig::default() };
    Checkpoint::new(config).unwrap()
}

/// Another run's decisions: a cut in the middle of an epoch and one at its end.
fn sham() -> ShamControl {
    let cut = |update, epoch, gain| Decision {
        update,
        epoch,
        source: "other".to_owned(),
        kind: DecisionKind::Cut,
        lr_before: None,
        lr_after: None,
        gain,
        metric: "val_loss".to_owned(),
        value: None,
        reason: "enough".to_owned(),
    };
    ShamControl::new(&[cut(2, 0, 0.5), cut(8, 2, 0.25)])
}

fn range_test() -> RangeTest {
    let config = RangeTestConfig { min_lr: 1e-4, max_lr: 0.1, updates: 7, ..RangeTestConfig::default() };
    RangeTest::new(config).unwrap()
}

type Make = fn() -> Callbacks;

/// The callbacks, each with the kind of decision that its run must have.
const WATCHED: [(&str, Make, Option<DecisionKind>); 15] = [
    ("nothing", Callbacks::default, None),
    ("monitor", || Callbacks::default().with(monitor(false)), Some(DecisionKind::Cut)),
    ("monitor that rewinds", || Callbacks::default().with(monitor(true)), Some(DecisionKind::Rewind)),
    ("monitor that tries out rates", || Callbacks::default().with(search()), None),
    ("early stopping", || Callbacks::default().with(stopping(1e6, false)), Some(DecisionKind::Stop)),
    (
        "early stopping that restores",
        || Callbacks::default().with(stopping(1e6, true)),
        Some(DecisionKind::Stop),
    ),
    ("ema", || Callbacks::default().with(WeightAveraging::ema(0.8).unwrap()), None),
    ("swa", || Callbacks::default().with(WeightAveraging::swa(Span::Epochs(1.0)).unwrap()), None),
    ("lawa", || Callbacks::default().with(WeightAveraging::lawa(2).unwrap()), None),
    (
        "average over cycles",
        || {
            let every = WeightAveraging::new(Averaging::Uniform, AverageEvery::Cycle, Span::Updates(0));
            Callbacks::default().with(every.unwrap())
        },
        None,
    ),
    ("snapshots", || Callbacks::default().with(SnapshotEnsemble::new().keep(2)), None),
    ("guard that rewinds", || Callbacks::default().with(guard()), Some(DecisionKind::Rewind)),
    ("sham control", || Callbacks::default().with(sham()), Some(DecisionKind::Cut)),
    ("range test", || Callbacks::default().with(range_test()), Some(DecisionKind::Stop)),
    (
        "everything",
        || {
            Callbacks::default()
                .with(monitor(true))
                .with(stopping(0.0, true))
                .with(guard())
                .with(WeightAveraging::ema(0.8).unwrap())
                .with(keeps(SaveEvery::Updates(3)))
                .with(SnapshotEnsemble::new())
        },
        Some(DecisionKind::Rewind),
    ),
];

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

/// With the best epochs kept, a monitor, a guard and an interruption, each set of weights has the metrics of its epoch.
#[test]
fn kept_weights_have_the_recorded_metrics() {
    let data = pictures();
    let settings = Settings { epochs: 6, batch_size: 24, eval_batch_size: 80, ..Settings::new(0.15) };
    let rewinds: [(&str, Make); 3] = [
        ("bold driver", || {
            let driver = ControllerSpec::parse("bold_driver = { up = 1.5, mode = \"min\" }").unwrap();
            Callbacks::default()
                .with(ValidationLossMonitor::new(driver.build().unwrap(), "val_loss").unwrap())
                .with(keeps(SaveEvery::Epochs(1)))
        }),
        ("plateau", || Callbacks::default().with(monitor(true)).with(keeps(SaveEvery::Epochs(1)))),
        ("guard", || {
            Callbacks::default().with(keeps(SaveEvery::Epochs(1))).with(monitor(true)).with(guard())
        }),
    ];
    for (name, callbacks) in rewinds {
        let case = Case {
            name: name.to_owned(),
            data: &data,
            settings: settings.clone(),
            schedule: "static",
            optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
            model: &linear,
            callbacks: &callbacks,
        };
        let fitted = case.holds();
        assert!(fitted.decisions.iter().any(|d| d.kind == DecisionKind::Rewind), "{name}");
        let model = linear(&data);
        let top: Vec<_> = fitted.kept.iter().filter(|(tag, _)| tag.starts_with("epoch-")).collect();
        assert_eq!(top.len(), 2, "{name}");
        for (tag, weights) in top {
            let epoch: usize = tag["epoch-".len()..].parse().unwrap();
            model.params().restore(weights).unwrap();
            let scores =
                lrlab_train::evaluate(&*model, &data.validation, data.classes, 80, &Device::Cpu).unwrap();
            assert_eq!(Some(scores.loss), fitted.history[epoch - 1].val_loss, "{name}: {tag}");
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

/// A NaN loss ends a run, also one that was interrupted just before.
#[test]
fn divergence() {
    let data = pictures();
    let case = Case {
        name: "divergence".to_owned(),
        data: &data,
        settings: Settings { epochs: 9, batch_size: 24, ..Settings::new(1e38) },
        schedule: "static = {}",
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        model: &linear,
        callbacks: &Callbacks::default,
    };
    assert_eq!(case.holds().stop, Stop::Diverged);
}

/// Running statistics, windows of batches, augmented pictures.
#[test]
fn resnet() {
    let data = pictures();
    let network = |data: &Dataset| -> Box<dyn Model> {
        let (stem, shortcut) = (Stem::Cifar, Shortcut::B);
        let config = ResNetConfig { depth: 8, stem, shortcut, init: ConvInit::default(), width: 0.25 };
        let sizes = PictureSizes { channels: 3, classes: data.classes };
        Box::new(ResNet::new(&config, sizes, 1, Params::new(Device::Cpu, DType::F32)).unwrap())
    };
    let augment = AugmentConfig { crop_padding: 1, flip: true, cutout: 2 };
    let case = Case {
        name: "resnet".to_owned(),
        data: &data,
        settings: Settings {
            epochs: 3,
            batch_size: 12,
            accumulate: 2,
            clip_norm: Some(1.0),
            label_smoothing: 0.1,
            augment,
            seed: 1,
            ..Settings::new(0.1)
        },
        schedule: "cosine = {}",
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        model: &network,
        callbacks: &|| Callbacks::default().with(monitor(true)).with(WeightAveraging::ema(0.9).unwrap()),
    };
    assert_eq!(case.holds().history.len(), 3);
}

fn params(precision: Precision) -> Params {
    Params::new(Device::Cpu, DType::F32).in_precision(precision)
}

/// Dropout, and shuffled batches, in both precisions.
#[test]
fn text() {
    let reviews = SyntheticReviews { train: 100, test: 20, seed: 0 };
    let mut config = DataConfig::new(Source::SyntheticReviews(reviews), cache());
    config.tokens = TokenConfig { vocabulary: 200, max_length: 12, ..TokenConfig::default() };
    let data = lrlab_data::load(&config).unwrap();
    let Kind::Tokens { vocabulary, max_length } = data.kind else { panic!("reviews are no text") };
    let classes = data.classes;
    let lstm = |precision: Precision| -> Box<dyn Model> {
        let config = LstmConfig {
            embedding: 8,
            hidden: 8,
            layers: 1,
            bidirectional: true,
            dropout: 0.3,
            pooling: Pooling::Mean,
            forget_bias: 1.0,
        };
        let sizes = TextSizes { vocabulary, max_length: 1, classes };
        Box::new(Lstm::new(&config, sizes, 2, params(precision)).unwrap())
    };
    let transformer = |precision: Precision| -> Box<dyn Model> {
        let config = TransformerConfig {
            width: 8,
            heads: 2,
            feed_forward: 16,
            layers: 1,
            dropout: 0.3,
            norm: NormPlacement::Post,
            positions: Positions::Learned,
            activation: Activation::Gelu,
            pooling: Pooling::Mean,
        };
        let sizes = TextSizes { vocabulary, max_length, classes };
        Box::new(Transformer::new(&config, sizes, 2, params(precision)).unwrap())
    };
    let (f32, bf16) = (Precision::F32, Precision::Bf16);
    let networks: [(&str, &Build<'_>); 4] = [
        ("lstm", &|_| lstm(f32)),
        ("transformer", &|_| transformer(f32)),
        ("lstm in bf16", &|_| lstm(bf16)),
        ("transformer in bf16", &|_| transformer(bf16)),
    ];
    for (name, model) in networks {
        let case = Case {
            name: name.to_owned(),
            data: &data,
            settings: Settings { epochs: 3, batch_size: 24, seed: 2, ..Settings::new(0.02) },
            schedule: "one_cycle = { max_lr = 0.05 }",
            optimizer: OptimizerConfig::Adam(AdamConfig::default()),
            model,
            callbacks: &|| {
                let stop = stopping(0.0, true);
                Callbacks::default().with(stop).with(WeightAveraging::swa(Span::Epochs(1.0)).unwrap())
            },
        };
        case.holds();
    }
}

/// A run does not pause after its last epoch but ends. A paused run returns its position.
#[test]
fn pauses_return_the_state_of_their_epoch() {
    struct Until(u64, Option<(u64, u64)>);
    impl CheckpointPolicy for Until {
        fn check(&mut self, at: &Position) -> CheckpointAction {
            if at.epoch >= self.0 { CheckpointAction::Pause } else { CheckpointAction::Continue }
        }
        fn save(&mut self, state: State) -> Result<(), Error> {
            self.1 = Some((state.update(), state.epoch()));
            Ok(())
        }
    }
    let data = pictures();
    let settings = Settings { epochs: 3, batch_size: 24, ..Settings::new(0.05) };
    let horizon = Fit::horizon(&settings, data.train.len());
    for (until, stop, kept) in
        [(1, Stop::Paused, Some((4, 1))), (2, Stop::Paused, Some((8, 2))), (3, Stop::Completed, None)]
    {
        let model = linear(&data);
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
        let mut policy = Until(until, None);
        let fitted = fit_from(parts, None, &mut policy, &mut |_| {}).unwrap();
        assert_eq!((fitted.stop, policy.1), (stop, kept), "until epoch {until}");
    }
}

#[test]
fn invalid_states_are_rejected() {
    let data = pictures();
    let case = Case {
        name: "refused".to_owned(),
        data: &data,
        settings: Settings { epochs: 2, batch_size: 24, ..Settings::new(0.05) },
        schedule: "static = {}",
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        model: &linear,
        callbacks: &Callbacks::default,
    };
    let mut policy = At::new(2);
    case.run(None, &mut policy);
    let (metadata, tensors) = policy.kept.unwrap();
    assert!(State::read(&metadata, &tensors).is_ok());
    for (metadata, tensors, words) in [
        (&metadata[1..], &tensors[..], "the state of the run cannot be read: "),
        (
            &metadata,
            &tensors[..tensors.len() - 1],
            "tensor operation: incomplete metadata, file not fully covered",
        ),
        (b"{}", &tensors, "the state of the run cannot be read: missing field"),
    ] {
        let error = State::read(metadata, tensors).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
