//! The cost of a schedule and callbacks: an epoch of updates without training.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{
    Averaging, Callbacks, Checkpoint, CheckpointConfig, CsvLogger, DivergenceConfig, DivergenceGuard,
    EarlyStopping, EarlyStoppingConfig, Error, Host, JsonlLogger, RateRecorder, Session,
    ValidationLossMonitor,
};
use lrlab_runs::EpochMetrics;
use lrlab_schedulers::{ControllerSpec, Horizon, Observation, ScheduleSpec};

use super::workload::{Kind, Step, Workload};

/// The name of the workload. Its cost is reported as a fraction of a step of [`REFERENCE_STEP`].
pub(crate) const NAME: &str = "overhead";
/// The training step that the cost is compared with.
pub(crate) const REFERENCE_STEP: &str = "resnet20";
/// Updates of an epoch: CIFAR-10 in batches of 128.
const UPDATES: u64 = 352;

pub(super) fn overhead() -> Vec<Workload> {
    vec![Workload::new(Kind::Overhead, NAME, UPDATES as usize, Box::new(prepare))]
}

/// A warm-up, a cosine with restarts and the callbacks of a run: monitor, early stopping, checkpoints, guard, and three logs on
/// disk.
fn prepare(device: &Device) -> anyhow::Result<Step> {
    let folder = Folder::new()?;
    let run = Horizon { updates: 1_000_000 * UPDATES, updates_per_epoch: UPDATES };
    let schedule =
        "warmup = { over = '5 epochs', then = { cosine_warm_restarts = { t_0 = '10 epochs', t_mult = 2 } } }";
    let plateau = ControllerSpec::parse("plateau = { factor = 0.99, patience = 3 }")?.build()?;
    let stopping = EarlyStoppingConfig { patience: u64::MAX, ..EarlyStoppingConfig::default() };
    let guard = DivergenceConfig { explosion: Some(100.0), ..DivergenceConfig::default() };
    let callbacks = Callbacks::default()
        .with(ValidationLossMonitor::new(plateau, "val_loss")?)
        .with(EarlyStopping::new(stopping)?)
        .with(Checkpoint::new(CheckpointConfig::default())?)
        .with(DivergenceGuard::new(guard)?)
        .with(RateRecorder::new(folder.0.join("rates.csv")))
        .with(CsvLogger::new(folder.0.join("metrics.csv")))
        .with(JsonlLogger::new(folder.0.join("events.jsonl")).progress_every(100));
    let mut session = Session::new(callbacks, ScheduleSpec::parse(schedule)?.build(&run)?, 0.1, run);
    session.begin(&mut Nothing)?;
    let device = device.clone();
    Ok(Box::new(move || {
        let _kept = &folder;
        let rates = epoch(&mut session).map_err(candle_core::Error::wrap)?;
        Tensor::new(rates, &device)
    }))
}

/// Performs one epoch and returns the sum of its rates.
fn epoch(session: &mut Session) -> Result<f64, Error> {
    let mut sum = 0.0;
    session.begin_epoch(&mut Nothing)?;
    for _ in 0..UPDATES {
        sum += session.lr();
        session.end_update(1.0 + 1.0 / (1.0 + session.update() as f64), Some(1.0), &mut Nothing)?;
    }
    let metrics = EpochMetrics { train_loss: Some(1.0), val_loss: Some(1.0), ..EpochMetrics::default() };
    session.end_epoch(metrics, &mut Nothing)?;
    Ok(sum)
}

/// A host without weights, because saving them is not a cost of callbacks.
struct Nothing;

impl Host for Nothing {
    fn save(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn restore(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn discard(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    fn average(&mut self, _: Averaging) -> Result<(), Error> {
        Ok(())
    }
    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn trial(&mut self, _: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        Ok(Observation { value: 1.0, stderr: None })
    }
}

/// A folder that is removed after the measurement.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("lrlab-overhead-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover temporary folder is harmless.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
