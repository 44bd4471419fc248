//! A TensorBoard log.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lrlab_runs::EpochMetrics;

use crate::{Action, Callback, Context, Error, Hook, Phase, tfevents};

/// The part of a file's name that other programs have their machine's name in.
const OURS: &str = ".lrlab.";

/// Returns whether this logger wrote a file of this name: `events.out.tfevents.SECONDS.lrlab.NUMBER`.
fn is_ours(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let parts = name.strip_prefix("events.out.tfevents.").and_then(|rest| rest.split_once(OURS));
    parts.is_some_and(|(seconds, number)| digits(seconds) && digits(number))
}

/// Writes event files for `tensorboard --logdir`. The step is the number of completed updates.
///
/// Per epoch, it writes every measured metric: `train_loss` as `train/loss`, `val_loss` as `val/loss`, the others under their
/// names. Per update, it writes `update/loss`, `update/lr`, `update/gain`, if known `update/grad_norm`, and the metrics of
/// [`Session::log`](crate::Session::log) as `update/NAME`. Values are stored
/// as `f32`, including NaN and infinity. Each event is flushed.
///
/// Each start creates a new file, which tells readers to ignore later steps of earlier files, so that a resumed or restarted
/// run appears as one curve. A resumed run removes later steps and truncated records from the logger's earlier files; in an empty
/// folder it first writes [`Context::history`].
#[derive(Debug)]
pub struct TensorBoardLogger {
    folder: PathBuf,
    every: u64,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl TensorBoardLogger {
    /// Creates a logger. It opens a file at [`Hook::FitStart`].
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: 1, file: None }
    }

    /// Writes the scalars of an update every `updates` updates (default 1); 0 is never.
    #[must_use]
    pub fn updates_every(mut self, updates: u64) -> Self {
        self.every = updates;
        self
    }

    fn open(&mut self, context: &Context<'_>) -> Result<(), Error> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| Error::io(folder, e))?;
        let files = entries.iter().filter(|entry| entry.file_name().to_string_lossy().contains("tfevents"));
        let files: Vec<_> = files.collect();
        if context.update > 0 {
            let ours = files.iter().filter(|entry| is_ours(&entry.file_name().to_string_lossy()));
            ours.map(|entry| entry.path())
                .try_for_each(|path| truncate(&path, context).map_err(|e| Error::io(&path, e)))?;
        }
        let existing = files.len();
        // Readers process files in the order of their names: by seconds, then by the number of the file.
        let path = folder.join(format!("events.out.tfevents.{:010}{OURS}{existing:06}", wall_time() as u64));
        let file = File::create_new(&path).map_err(|e| Error::io(&path, e))?;
        self.file = Some((path, BufWriter::new(file)));
        self.write(|out| tfevents::write_version(out, wall_time()))?;
        if existing > 0 {
            let step = if context.update == 0 { 0 } else { context.update + 1 };
            self.write(|out| tfevents::write_restart(out, wall_time(), step))?;
        } else {
            for metrics in context.history {
                self.epoch(metrics, (metrics.epoch * context.updates_per_epoch).min(context.update))?;
            }
        }
        self.flush()
    }

    fn epoch(&mut self, metrics: &EpochMetrics, step: u64) -> Result<(), Error> {
        self.write(|out| write_epoch(out, wall_time(), step, metrics))
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        write(file).map_err(|e| Error::io(path, e))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.write(io::Write::flush)
    }
}

impl Callback for TensorBoardLogger {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        if phase != Phase::Report {
            return Ok(Vec::new());
        }
        match context.hook {
            Hook::FitStart => self.open(context)?,
            Hook::UpdateEnd { loss, grad_norm, extra }
                if self.every > 0 && context.update.is_multiple_of(self.every) =>
            {
                let norm = grad_norm.map(|norm| ("update/grad_norm", norm));
                let scalars =
                    [("update/loss", loss), ("update/lr", context.lr), ("update/gain", context.gain)];
                let own: Vec<_> =
                    extra.iter().map(|(name, value)| (format!("update/{name}"), *value)).collect();
                let own = own.iter().map(|(tag, value)| (tag.as_str(), *value));
                let scalars: Vec<_> = scalars.into_iter().chain(norm).chain(own).collect();
                self.write(|out| tfevents::write_scalars(out, wall_time(), context.update, &scalars))?;
            }
            Hook::EpochEnd(metrics) => self.epoch(metrics, context.update)?,
            Hook::FitEnd | Hook::Failed { .. } | Hook::UpdateEnd { .. } | Hook::EpochStart => {}
        }
        // Flush at every hook, so that the file is complete when a checkpoint is written.
        self.flush()?;
        Ok(Vec::new())
    }
}

/// Truncates a file at the position at which a run resumes. The metrics of an epoch have the step of its last update, after
/// which a run may resume without having them.
fn truncate(path: &Path, context: &Context<'_>) -> io::Result<()> {
    let bytes = std::fs::read(path)?;
    let measured = context.update <= context.epoch * context.updates_per_epoch;
    let belongs = |step: u64, event: &[u8]| {
        step < context.update || (step == context.update && (measured || !tfevents::has_tag(event, "epoch")))
    };
    let kept = tfevents::kept_length(&bytes, belongs);
    if kept == bytes.len() { Ok(()) } else { File::options().write(true).open(path)?.set_len(kept as u64) }
}

/// Writes the metrics of an epoch.
pub(crate) fn write_epoch(
    out: &mut impl io::Write,
    wall_time: f64,
    step: u64,
    metrics: &EpochMetrics,
) -> io::Result<()> {
    let names = EpochMetrics::NAMES.into_iter().chain(metrics.own_names());
    let tagged: Vec<_> = names.filter_map(|name| Some((tag(name), metrics.get(name)??))).collect();
    let scalars = tagged.iter().map(|(tag, value)| (tag.as_str(), *value));
    let scalars: Vec<_> = scalars.chain([("epoch", metrics.epoch as f64)]).collect();
    tfevents::write_scalars(out, wall_time, step, &scalars)
}

/// TensorBoard groups scalars by the part before the slash.
fn tag(name: &str) -> String {
    match name.split_once('_') {
        Some((group @ ("train" | "val"), rest)) => format!("{group}/{rest}"),
        _ => name.to_owned(),
    }
}

/// Seconds since the Unix epoch.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
