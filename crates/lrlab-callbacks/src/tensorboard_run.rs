//! Finished runs for TensorBoard: one file each, with hyperparameters and the figures of the whole run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use lrlab_runs::EpochMetrics;
use serde_json::Value;

use crate::tensorboard::write_epoch;
use crate::{Error, tfevents};

/// A finished run as TensorBoard shows it: curves by epoch as [`TensorBoardLogger`](crate::TensorBoardLogger) tags them,
/// a point for each figure of the whole run, and a row of the tab HParams.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorBoardRun<'a> {
    /// What the run was made with, by name: numbers, texts and switches; anything else is shown as JSON.
    pub hparams: &'a [(String, Value)],
    /// Its epochs.
    pub history: &'a [EpochMetrics],
    /// Updates of an epoch; the step of a point is the number of updates made.
    pub updates_per_epoch: u64,
    /// Figures of the whole run by their tags, such as `best/test_accuracy`.
    pub figures: &'a [(String, f64)],
    /// Whether it made all of its updates or was stopped by rule, and did not diverge.
    pub success: bool,
    /// When it began and ended, in seconds since the Unix epoch; its points lie evenly between.
    pub clock: (f64, f64),
}

impl TensorBoardRun<'_> {
    /// Writes the run's one file into `folder`, whose path below the root is the run's name in TensorBoard. Equal runs
    /// give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder or the file cannot be written, or the file is there.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let (begin, end) = self.clock;
        write_file(folder, begin, |out| {
            // Each run is a row of its own.
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            tfevents::write_session_start(out, begin, &name, self.hparams)?;
            let mut step = 0;
            for (i, metrics) in self.history.iter().enumerate() {
                let at = begin + (end - begin) * (i + 1) as f64 / self.history.len() as f64;
                step = metrics.epoch * self.updates_per_epoch;
                write_epoch(out, at, step, metrics)?;
            }
            let figures: Vec<_> = self.figures.iter().map(|(tag, value)| (tag.as_str(), *value)).collect();
            tfevents::write_scalars(out, end, step, &figures)?;
            tfevents::write_session_end(out, end, self.success)
        })
    }
}

/// Writes into `root` what the tab HParams shows of all runs: the names of the hyperparameters, with a value each, and the
/// tags of the figures that it compares.
///
/// # Errors
/// [`Error::Io`] where the folder or the file cannot be written, or the file is there.
pub fn write_tensorboard_experiment(
    root: &Path,
    hparams: &[(String, Value)],
    figures: &[String],
) -> Result<(), Error> {
    write_file(root, 0.0, |out| tfevents::write_hparams_experiment(out, 0.0, hparams, figures))
}

fn write_file(
    folder: &Path,
    begin: f64,
    content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let path = folder.join(format!("events.out.tfevents.{:010}.lrlab.000000", begin as u64));
    let write = || {
        let mut out = BufWriter::new(File::create_new(&path)?);
        tfevents::write_version(&mut out, begin)?;
        content(&mut out)?;
        out.flush()
    };
    write().map_err(|e| Error::io(&path, e))
}
