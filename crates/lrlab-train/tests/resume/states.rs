//! What runs keep and save: the best weights, states at pauses, a diverged end, and states that cannot be read.

use candle_core::Device;
use lrlab_callbacks::{Callbacks, SaveEvery, ValidationLossMonitor};
use lrlab_optim::{OptimizerConfig, SgdConfig};
use lrlab_runs::DecisionKind;
use lrlab_schedulers::{ControllerSpec, ScheduleSpec};
use lrlab_train::{
    CheckpointAction, CheckpointPolicy, Error, Fit, Position, Settings, State, Stop, fit_from,
};

use crate::callbacks::{Make, guard, keeps, monitor};
use crate::{At, Case, linear, pictures};

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
