//! Rewinds of the guard and the monitor: after updates that spoil the weights, and together with averages.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use candle_core::Tensor;
use lrlab_callbacks::{
    Callbacks, DivergenceConfig, DivergenceGuard, EarlyStopping, EarlyStoppingConfig, OnDivergence,
    ValidationLossMonitor, WeightAveraging,
};
use lrlab_kernels::Params;
use lrlab_models::{Input, Mode, Model};
use lrlab_runs::DecisionKind;
use lrlab_schedulers::{ControllerSpec, Span};
use lrlab_train::{Settings, Stop};

use super::{data, linear, rates, train_with};

/// One update spoils the weights, which only later evaluations show.
struct Spoiled {
    model: Box<dyn Model>,
    /// The batch of that update.
    batch: u64,
    /// The weights after that update; with any others the network works.
    weights: std::sync::Mutex<Option<Vec<f32>>>,
}

impl Spoiled {
    fn values(&self) -> candle_core::Result<Vec<f32>> {
        let weight = &self.model.params().iter().next().unwrap().1.var;
        weight.flatten_all()?.to_vec1()
    }
}

impl Model for Spoiled {
    fn forward(&self, input: &Input, mode: Mode) -> candle_core::Result<Tensor> {
        let logits = self.model.forward(input, mode)?;
        let mut weights = self.weights.lock().unwrap();
        match mode {
            Mode::Train { batch, .. } => {
                if batch == self.batch {
                    *weights = Some(Vec::new());
                }
                Ok(logits)
            }
            Mode::Eval => {
                let now = self.values()?;
                if weights.as_ref().is_some_and(|weights| weights.is_empty() || *weights == now) {
                    *weights = Some(now);
                    return logits * f64::NAN;
                }
                Ok(logits)
            }
        }
    }

    fn params(&self) -> &Params {
        self.model.params()
    }
}

/// If the update that ends an epoch spoils the weights, the guard rewinds too, except at the end of the run.
#[test]
fn the_guard_rewinds_after_a_nan_validation_loss() {
    let data = data();
    let guard = |action| {
        let config = DivergenceConfig { action, ..DivergenceConfig::default() };
        Callbacks::default().with(DivergenceGuard::new(config).unwrap())
    };
    let settings = Settings { epochs: 3, batch_size: 20, ..Settings::new(0.01) };
    let rewind = OnDivergence::Rewind { factor: 0.5, limit: 3 };
    for (batch, action, stop, epochs) in [
        (7, rewind, Stop::Completed, 3),
        (7, OnDivergence::Diverge, Stop::Diverged, 2),
        (11, rewind, Stop::Diverged, 3),
    ] {
        let model = Box::new(Spoiled { model: linear(&data), batch, weights: None.into() });
        let interrupt = AtomicBool::new(false);
        let (fitted, events) = train_with(&data, model, &settings, "static", guard(action), &interrupt);
        assert_eq!((fitted.stop, fitted.history.len()), (stop, epochs), "{batch} {action:?}");
        let kinds: Vec<_> = fitted.decisions.iter().map(|d| (d.update, d.epoch, d.kind)).collect();
        if stop == Stop::Completed {
            assert_eq!(kinds, [(8, 2, DecisionKind::Rewind), (8, 2, DecisionKind::Cut)]);
            assert_eq!(rates(&events)[8..], [0.005; 4]);
            assert!(fitted.last.metrics.val_loss.is_some());
        } else {
            assert_eq!(kinds, []);
        }
    }
}

/// One update makes the weights NaN.
struct Poisoned {
    model: Box<dyn Model>,
    /// The batch of that update.
    batch: u64,
}

impl Model for Poisoned {
    fn forward(&self, input: &Input, mode: Mode) -> candle_core::Result<Tensor> {
        let logits = self.model.forward(input, mode)?;
        if matches!(mode, Mode::Train { batch, .. } if batch == self.batch) {
            for (_, param) in self.params().iter() {
                param.var.set(&(param.var.as_detached_tensor() * f64::NAN)?)?;
            }
        }
        Ok(logits)
    }

    fn params(&self) -> &Params {
        self.model.params()
    }
}

/// The loss of the next update, or the validation loss, shows what an update did to the weights, after the average has them.
#[test]
fn a_rewind_restores_the_average_of_its_time() {
    let data = data();
    let action = OnDivergence::Rewind { factor: 0.5, limit: 1 };
    let guard = || DivergenceGuard::new(DivergenceConfig { action, ..DivergenceConfig::default() }).unwrap();
    let average = || WeightAveraging::ema(0.9).unwrap();
    let settings = Settings { epochs: 3, batch_size: 20, ..Settings::new(0.01) };
    for batch in [1, 5, 7] {
        for callbacks in [
            Callbacks::default().with(guard()).with(average()),
            Callbacks::default().with(average()).with(guard()),
        ] {
            let model = Box::new(Poisoned { model: linear(&data), batch });
            let (fitted, _) =
                train_with(&data, model, &settings, "static", callbacks, &AtomicBool::new(false));
            assert_eq!((fitted.stop, fitted.decisions[0].kind), (Stop::Completed, DecisionKind::Rewind));
            for (name, weights) in &fitted.last_weights {
                let values = weights.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert!(values.iter().all(|value| value.is_finite()), "{batch} {name}: {values:?}");
            }
            assert!(fitted.last.metrics.val_loss.is_some(), "{batch}");
        }
    }
}

/// A snapshot has the average with the sample of its own weights, in any order of the callbacks.
#[test]
fn a_rewind_keeps_the_sample_of_the_epoch_that_it_restores() {
    let data = data();
    let action = OnDivergence::Rewind { factor: 0.5, limit: 1 };
    let guard = || DivergenceGuard::new(DivergenceConfig { action, ..DivergenceConfig::default() }).unwrap();
    let average = || WeightAveraging::swa(Span::Updates(0)).unwrap();
    let settings = Settings { epochs: 3, batch_size: 20, ..Settings::new(0.01) };
    let weights = |callbacks| {
        let model = Box::new(Poisoned { model: linear(&data), batch: 5 });
        let (fitted, _) = train_with(&data, model, &settings, "static", callbacks, &AtomicBool::new(false));
        assert_eq!((fitted.stop, fitted.decisions[0].kind), (Stop::Completed, DecisionKind::Rewind));
        values_of(&fitted.last_weights)
    };
    let first = weights(Callbacks::default().with(guard()).with(average()));
    let second = weights(Callbacks::default().with(average()).with(guard()));
    assert_eq!(first, second);
}

/// Training does not continue after a rewind at the end of the last epoch, so that it leaves weights and average as they are.
#[test]
fn a_rewind_after_the_last_epoch_changes_nothing() {
    let data = data();
    let settings = Settings { epochs: 3, batch_size: 20, ..Settings::new(0.01) };
    for average in [WeightAveraging::swa(Span::Updates(0)), WeightAveraging::ema(0.9)] {
        let average = average.unwrap();
        let text = "plateau = { patience = 1, threshold = 0.99, rewind = true }";
        let controller = ControllerSpec::parse(text).unwrap().build().unwrap();
        let monitor = ValidationLossMonitor::new(controller, "val_loss").unwrap();
        let both = Callbacks::default().with(monitor).with(average.clone());
        let [alone, both] = [Callbacks::default().with(average), both].map(|callbacks| {
            train_with(&data, linear(&data), &settings, "static", callbacks, &AtomicBool::new(false)).0
        });
        let rewinds = both.decisions.iter().filter(|d| d.kind == DecisionKind::Rewind);
        assert_eq!(rewinds.map(|d| d.epoch).collect::<Vec<_>>(), [3]);
        assert_eq!(values_of(&both.last_weights), values_of(&alone.last_weights));
    }
}

/// If the last update spoils the weights, the run has diverged, whatever a monitor does after it. So has a run that stops in
/// the epoch in which a monitor rewinds.
#[test]
fn a_rewind_at_the_end_does_not_hide_divergence() {
    let data = data();
    let settings = Settings { epochs: 3, batch_size: 20, ..Settings::new(0.01) };
    let monitor = |text: &str| {
        let controller = ControllerSpec::parse(text).unwrap().build().unwrap();
        Callbacks::default().with(ValidationLossMonitor::new(controller, "val_loss").unwrap())
    };
    let rewinding = ["bold_driver = {}", "plateau = { on_nan = \"rewind\" }"];
    let early = || EarlyStopping::new(EarlyStoppingConfig { patience: 0, ..EarlyStoppingConfig::default() });
    let end = |batch, callbacks| {
        let model = Box::new(Poisoned { model: linear(&data), batch });
        let (fitted, _) = train_with(&data, model, &settings, "static", callbacks, &AtomicBool::new(false));
        assert!(fitted.decisions.iter().any(|d| d.kind == DecisionKind::Rewind));
        (fitted.stop, fitted.last.metrics.val_loss.is_some())
    };
    for text in rewinding {
        assert_eq!(end(11, monitor(text)), (Stop::Diverged, false), "{text}");
        assert_eq!(end(7, monitor(text)), (Stop::Completed, true), "{text}");
        assert_eq!(end(7, monitor(text).with(early().unwrap())), (Stop::Diverged, false), "{text}");
        for average in [WeightAveraging::swa(Span::Updates(0)), WeightAveraging::ema(0.9)] {
            assert_eq!(end(11, monitor(text).with(average.unwrap())), (Stop::Diverged, false), "{text}");
        }
    }
}

fn values_of(weights: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<f32>> {
    weights
        .iter()
        .map(|(name, value)| (name.clone(), value.flatten_all().unwrap().to_vec1().unwrap()))
        .collect()
}
