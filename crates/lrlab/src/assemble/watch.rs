//! The callbacks of a run.

use std::path::Path;

use anyhow::Context;
use lrlab_callbacks::{
    Callback, Callbacks, Checkpoint, CheckpointConfig, CsvLogger, CsvUpdateLogger, DivergenceGuard,
    EarlyStopping, JsonlLogger, TensorBoardLogger, ValidationLossMonitor, WeightAveraging,
};
use lrlab_spec::{MonitorSpec, RunSpec};

/// Creates the callbacks of a specification, and the loggers, which write to `folder`.
///
/// # Errors
/// Returns an error if a configuration is invalid.
pub(crate) fn callbacks(run: &RunSpec, folder: &Path) -> anyhow::Result<Callbacks> {
    let mut list: Vec<Box<dyn Callback>> = Vec::new();
    if let Some(guard) = &run.divergence {
        list.push(Box::new(DivergenceGuard::new(guard.clone())?));
    }
    if let Some(spec) = &run.monitor {
        list.push(Box::new(monitor(spec)?));
    }
    if let Some(stopping) = &run.early_stopping {
        list.push(Box::new(EarlyStopping::new(stopping.clone())?));
    }
    if let Some(averaging) = &run.averaging {
        list.push(Box::new(WeightAveraging::of(averaging)?));
    }
    if run.keep_top > 0 {
        let metric = run.select.clone();
        let top = CheckpointConfig { metric, best: false, top_k: run.keep_top, last: None, on_error: false };
        list.push(Box::new(Checkpoint::new(top)?));
    }
    let events = JsonlLogger::new(folder.join("events.jsonl")).progress_every(run.log_every);
    list.push(Box::new(events));
    list.push(Box::new(CsvLogger::new(folder.join("metrics.csv"))));
    list.push(Box::new(CsvUpdateLogger::new(folder.join("updates.csv"), run.log_every)));
    let board = TensorBoardLogger::new(folder.join("tensorboard"));
    list.push(Box::new(board.updates_every(run.log_every.max(1))));
    Ok(Callbacks::new(list))
}

/// Returns whether a tag is one of the best epochs of [`RunSpec::keep_top`].
pub(crate) fn is_top(tag: &str) -> bool {
    tag.strip_prefix("epoch-").is_some_and(|epoch| epoch.bytes().all(|byte| byte.is_ascii_digit()))
}

fn monitor(monitor: &MonitorSpec) -> anyhow::Result<ValidationLossMonitor> {
    let controller = monitor.controller.build().context("monitor")?;
    Ok(ValidationLossMonitor::new(controller, &monitor.metric)?.at_restart(monitor.at_restart))
}
