//! The training loop of the example with a candle `VarMap` and an optimizer of candle-nn.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]

#[path = "../examples/var_map.rs"]
mod example;

use example::{Line, train};
use lrlab_callbacks::{
    AverageEvery, Averaging, Callbacks, DivergenceConfig, DivergenceGuard, EarlyStopping,
    EarlyStoppingConfig, OnDivergence, StopReason, ValidationLossMonitor, WeightAveraging,
};
use lrlab_runs::DecisionKind;
use lrlab_schedulers::{ControllerSpec, Span};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn assert_learned(line: &Line) -> candle_core::Result<()> {
    for (name, expected) in [("weight", 2.0), ("bias", 1.0)] {
        let value = line.value(name)?;
        assert!((value - expected).abs() < 1e-4, "{name} is {value}");
    }
    Ok(())
}

#[test]
fn the_example_runs() -> Outcome {
    example::main()
}

/// The rate is too high: the losses are 1.5, 4.6 and 16.2, and the third exceeds four times the first.
#[test]
fn a_custom_loop_recovers_from_divergence() -> Outcome {
    let action = OnDivergence::Rewind { factor: 0.1, limit: 3 };
    let guard = DivergenceGuard::new(DivergenceConfig { explosion: Some(4.0), patience: 1, action })?;
    let stopping = EarlyStoppingConfig { patience: 2, min_delta: 1e-12, ..EarlyStoppingConfig::default() };
    let callbacks = Callbacks::default()
        .with(guard)
        .with(EarlyStopping::new(stopping)?)
        .with(WeightAveraging::swa(Span::Epochs(8.0))?);
    let mut line = Line::new()?;
    let session = train(&mut line, callbacks, "static", 1.5)?;
    assert_eq!(session.gain(), 0.1);
    let kinds: Vec<_> = session.decisions().iter().map(|decision| decision.kind).collect();
    assert_eq!(kinds, [DecisionKind::Rewind, DecisionKind::Cut, DecisionKind::Stop]);
    assert_eq!(session.stop_reason(), Some(StopReason::Stopped));
    assert!(session.epoch() < 20, "stopped by early stopping at epoch {}", session.epoch());
    assert_learned(&line)?;
    Ok(())
}

/// Short trials find a better rate.
#[test]
fn trials_raise_a_rate_that_is_too_low() -> Outcome {
    let monitor = || -> Result<Callbacks, Box<dyn std::error::Error>> {
        let search =
            ControllerSpec::parse("auto_lrs = { updates = 5, trials = 5, max_gain = 1000 }")?.build()?;
        Ok(Callbacks::default().with(ValidationLossMonitor::new(search, "val_loss")?))
    };
    let mut without = Line::new()?;
    train(&mut without, Callbacks::default(), "static", 1e-3)?;
    assert!((without.value("weight")? - 2.0).abs() > 1.0, "the rate is too low");
    let mut line = Line::new()?;
    let session = train(&mut line, monitor()?, "static", 1e-3)?;
    assert!(session.gain() > 16.0, "{}", session.gain());
    let first = &session.decisions()[0];
    assert!(first.reason.starts_with("raise × 4: the best of 5 trials of 5 updates"), "{}", first.reason);
    assert_learned(&line)?;
    Ok(())
}

/// The reference values use the closed form of the bias after each epoch.
#[test]
fn averages_equal_the_means_of_the_weights() -> Outcome {
    let epochs = |callbacks: Callbacks| -> Result<f64, Box<dyn std::error::Error>> {
        let mut line = Line::new()?;
        train(&mut line, callbacks, "static", 0.01)?;
        Ok(line.value("bias")?)
    };
    // The distance of the bias from 1 shrinks by a factor of 0.98 per update.
    let bias = |epoch: u32| 1.0 - 0.98_f64.powi(10 * epoch as i32);
    let averaged =
        |rule| WeightAveraging::new(rule, AverageEvery::Length(Span::Epochs(1.0)), Span::Updates(0));
    let uniform = epochs(Callbacks::default().with(averaged(Averaging::Uniform)?))?;
    let mean = (1..=20).map(bias).sum::<f64>() / 20.0;
    assert!((uniform - mean).abs() < 1e-12, "{uniform} is not {mean}");
    let exponential = epochs(Callbacks::default().with(averaged(Averaging::Exponential { decay: 0.5 })?))?;
    let mean = (2..=20).fold(bias(1), |mean, epoch| 0.5 * mean + 0.5 * bias(epoch));
    assert!((exponential - mean).abs() < 1e-12, "{exponential} is not {mean}");
    let latest = epochs(Callbacks::default().with(averaged(Averaging::Latest { k: 3 })?))?;
    let mean = (18..=20).map(bias).sum::<f64>() / 3.0;
    assert!((latest - mean).abs() < 1e-12, "{latest} is not {mean}");
    Ok(())
}
