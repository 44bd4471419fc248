//! Scalars for TensorBoard.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lrlab_runs::EpochMetrics;

use crate::{Action, Callback, Context, Error, Moment, Phase, tfevents};

/// Writes files that `tensorboard --logdir` opens. The step is the number of updates made.
///
/// Per epoch every metric that was measured, `train_loss` as `train/loss`, `val_loss` as `val/loss`, the others
/// by their name; per update `update/loss`, `update/lr`, `update/gain` and, where known, `update/grad_norm`. In the
/// file after each event. A value is stored as `f32`, as TensorBoard does, NaN and infinity included.
///
/// Each start writes a file of its own into the folder and tells readers to forget what earlier files say of
/// later steps, so a resumed run, or one begun anew in the same folder, shows as one curve. From the files in its folder
/// a resumed run cuts off what came after it, and a record cut short by a crash; in an empty folder it first writes what
/// [`Context::history`] knows.
#[derive(Debug)]
pub struct TensorBoardLogger {
    folder: PathBuf,
    every: u64,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl TensorBoardLogger {
    /// Opens nothing yet: the file begins at [`Moment::FitStart`].
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: 1, file: None }
    }

    /// The figures of an update are written every `updates` updates (default 1); 0 is never.
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
        let files: Vec<_> = files.map(std::fs::DirEntry::path).collect();
        if context.update > 0 {
            files.iter().try_for_each(|path| cut(path, context).map_err(|e| Error::io(path, e)))?;
        }
        let earlier = files.len();
        // Readers take files in the order of their names: seconds first, then the number among the folder's files.
        let path = folder.join(format!("events.out.tfevents.{:010}.lrlab.{earlier:06}", wall_time() as u64));
        let file = File::create_new(&path).map_err(|e| Error::io(&path, e))?;
        self.file = Some((path, BufWriter::new(file)));
        self.write(|out| tfevents::write_version(out, wall_time()))?;
        if earlier > 0 {
            let step = if context.update == 0 { 0 } else { context.update + 1 };
            self.write(|out| tfevents::write_restart(out, wall_time(), step))?;
        } else {
            for metrics in context.history {
                self.epoch(metrics, metrics.epoch * context.updates_per_epoch)?;
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
        match context.moment {
            Moment::FitStart => self.open(context)?,
            Moment::Update { loss, grad_norm }
                if self.every > 0 && context.update.is_multiple_of(self.every) =>
            {
                let norm = grad_norm.map(|norm| ("update/grad_norm", norm));
                let scalars =
                    [("update/loss", loss), ("update/lr", context.lr), ("update/gain", context.gain)];
                let scalars: Vec<_> = scalars.into_iter().chain(norm).collect();
                self.write(|out| tfevents::write_scalars(out, wall_time(), context.update, &scalars))?;
            }
            Moment::Epoch(metrics) => self.epoch(metrics, context.update)?,
            Moment::FitEnd | Moment::Failed { .. } | Moment::Update { .. } | Moment::EpochStart => {}
        }
        // Every time, so that what comes before a checkpoint is in the file when the checkpoint is.
        self.flush()?;
        Ok(Vec::new())
    }
}

/// Cuts off a file what came after the moment a run is resumed at. An epoch's figures have the step of its last update,
/// after which a run may be resumed before it has them.
fn cut(path: &Path, context: &Context<'_>) -> io::Result<()> {
    let bytes = std::fs::read(path)?;
    let measured = context.update <= context.epoch * context.updates_per_epoch;
    let belongs = |step: u64, event: &[u8]| {
        step < context.update || (step == context.update && (measured || !tfevents::has(event, "epoch")))
    };
    let kept = tfevents::kept(&bytes, belongs);
    if kept == bytes.len() { Ok(()) } else { File::options().write(true).open(path)?.set_len(kept as u64) }
}

/// What was measured of an epoch.
pub(crate) fn write_epoch(
    out: &mut impl io::Write,
    wall_time: f64,
    step: u64,
    metrics: &EpochMetrics,
) -> io::Result<()> {
    let tags = EpochMetrics::NAMES.map(tag);
    let values = EpochMetrics::NAMES.map(|name| metrics.get(name).flatten());
    let scalars = tags.iter().zip(values).filter_map(|(tag, value)| Some((tag.as_str(), value?)));
    let scalars: Vec<_> = scalars.chain([("epoch", metrics.epoch as f64)]).collect();
    tfevents::write_scalars(out, wall_time, step, &scalars)
}

/// TensorBoard groups by what stands before the slash.
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
