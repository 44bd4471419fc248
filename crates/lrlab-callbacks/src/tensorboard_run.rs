//! Event files of finished runs, with hyperparameters and summary values.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use lrlab_runs::EpochMetrics;
use serde_json::Value;

use crate::tensorboard::write_epoch;
use crate::{Error, tfevents};

/// A finished run for TensorBoard: curves by epoch with the tags of [`TensorBoardLogger`](crate::TensorBoardLogger), a point
/// for each summary value, and a row of the HParams tab.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorBoardRun<'a> {
    /// The hyperparameters by name: numbers, strings and booleans; other values are shown as JSON.
    pub hparams: &'a [(String, Value)],
    /// The metrics of the epochs.
    pub history: &'a [EpochMetrics],
    /// Updates per epoch. The step of a point is its epoch times this number: the number of completed updates.
    pub updates_per_epoch: u64,
    /// The summary values by tag, such as `best/test_accuracy`.
    pub figures: &'a [(String, f64)],
    /// Whether the run finished or a callback stopped it, without divergence.
    pub success: bool,
    /// The start and the end in seconds since the Unix epoch. The times of the points are evenly spaced between them.
    pub clock: (f64, f64),
}

impl TensorBoardRun<'_> {
    /// Writes the event file of the run to `folder`, whose path below the root is the name of the run in TensorBoard. Equal runs
    /// give equal bytes.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if the folder or the file cannot be written, or the file exists.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let (begin, end) = self.clock;
        write_file(folder, begin, |out| {
            // Runs with one group name share a row of the HParams tab.
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

/// Writes the description of the HParams tab to `root`: the names of the hyperparameters, with an example value each, and the
/// tags of the summary values.
///
/// # Errors
/// Returns [`Error::Io`] if the folder or the file cannot be written, or the file exists.
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
