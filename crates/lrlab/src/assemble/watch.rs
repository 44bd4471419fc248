//! What watches a run.

use std::path::Path;

use anyhow::Context;
use lrlab_callbacks::{
    AtRestart, AverageEvery, Averaging, Callback, Callbacks, Checkpoint, CheckpointConfig, CsvLogger,
    DivergenceConfig, DivergenceGuard, EarlyStopping, EarlyStoppingConfig, GainPolicy, JsonlLogger,
    OnDivergence, TensorBoardLogger, ValidationLossMonitor, WeightAveraging,
};
use lrlab_schedulers::{Horizon, Span};
use lrlab_spec::{self as spec, AveragingSpec, DivergenceSpec, EarlyStoppingSpec, MonitorSpec, RunSpec};

/// What watches the run as specified, and the loggers, which write into `folder`.
///
/// # Errors
/// Bad configuration, or a logger's file cannot be opened.
pub(crate) fn callbacks(run: &RunSpec, horizon: &Horizon, folder: &Path) -> anyhow::Result<Callbacks> {
    let mut list: Vec<Box<dyn Callback>> = Vec::new();
    if let Some(guard) = &run.divergence {
        list.push(Box::new(DivergenceGuard::new(divergence(guard))?));
    }
    if let Some(spec) = &run.monitor {
        list.push(Box::new(monitor(spec)?));
    }
    if let Some(stopping) = &run.early_stopping {
        list.push(Box::new(EarlyStopping::new(early_stopping(stopping))?));
    }
    if let Some(spec) = &run.averaging {
        list.push(Box::new(averaging(spec, horizon)?));
    }
    if run.keep_top > 0 {
        let metric = run.select.clone();
        let top = CheckpointConfig { metric, best: false, top_k: run.keep_top, last: None, on_error: false };
        list.push(Box::new(Checkpoint::new(top)?));
    }
    list.push(Box::new(JsonlLogger::new(folder.join("events.jsonl"))));
    list.push(Box::new(CsvLogger::new(folder.join("metrics.csv"))));
    list.push(Box::new(TensorBoardLogger::new(folder.join("tensorboard"))));
    Ok(Callbacks::new(list))
}

/// Whether this is the tag of one of the best epochs that [`RunSpec::keep_top`] keeps.
pub(crate) fn is_top(tag: &str) -> bool {
    tag.strip_prefix("epoch-").is_some_and(|epoch| epoch.bytes().all(|byte| byte.is_ascii_digit()))
}

fn monitor(monitor: &MonitorSpec) -> anyhow::Result<ValidationLossMonitor> {
    let controller = monitor.controller.build().context("monitor")?;
    let policy = match monitor.at_restart {
        spec::GainAtRestart::Keep => GainPolicy::Keep,
        spec::GainAtRestart::Reset => GainPolicy::ResetAtRestart,
    };
    Ok(ValidationLossMonitor::new(controller, &monitor.metric)?.at_restart(policy))
}

fn early_stopping(stopping: &EarlyStoppingSpec) -> EarlyStoppingConfig {
    EarlyStoppingConfig {
        metric: stopping.metric.clone(),
        patience: stopping.patience,
        min_delta: stopping.min_delta,
        baseline: stopping.baseline,
        start_epoch: stopping.start_epoch,
        restore_best: stopping.restore_best,
        at_restart: match stopping.at_restart {
            spec::PatienceAtRestart::Ignore => AtRestart::Ignore,
            spec::PatienceAtRestart::BeginAnew => AtRestart::BeginAnew,
            spec::PatienceAtRestart::CountCycles => AtRestart::CountCycles,
        },
    }
}

fn divergence(guard: &DivergenceSpec) -> DivergenceConfig {
    let action = match &guard.action {
        spec::OnDivergence::Diverge => OnDivergence::Diverge,
        spec::OnDivergence::Stop => OnDivergence::Stop,
        spec::OnDivergence::Rewind(r) => OnDivergence::Rewind { factor: r.factor, limit: r.limit },
        spec::OnDivergence::Cut(c) => OnDivergence::Cut { factor: c.factor, limit: c.limit },
    };
    DivergenceConfig { explosion: guard.explosion, patience: guard.patience, action }
}

fn averaging(
    averaging: &AveragingSpec,
    horizon: &Horizon,
) -> Result<WeightAveraging, lrlab_callbacks::Error> {
    let rule = match averaging {
        AveragingSpec::Ema(ema) => Averaging::Exponential { decay: ema.decay },
        AveragingSpec::Swa(_) => Averaging::Uniform,
        AveragingSpec::Lawa(lawa) => Averaging::Latest { k: lawa.k },
    };
    let (every, start) = averaging.times();
    let every = match every {
        spec::AverageEvery::Cycle(_) => AverageEvery::Cycle,
        // Whole epochs: after control has seen the epoch's figures.
        spec::AverageEvery::Length(Span::Epochs(n)) if n.fract() == 0.0 => AverageEvery::Epochs(n as u64),
        spec::AverageEvery::Length(length) => AverageEvery::Updates(length.resolve_updates(horizon)),
    };
    WeightAveraging::new(rule, every, start)
}
