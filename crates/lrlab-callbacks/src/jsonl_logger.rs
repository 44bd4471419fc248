//! A log of the events of a run, one JSON object per line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use lrlab_runs::{Event, finite};

use crate::table::read_if_there;
use crate::{Action, Callback, Context, Error, Hook, Phase};

/// Writes [`Event`]s: the start, each epoch, each decision, a failure, and the progress at an interval of updates. The caller
/// writes [`Event::Finished`], because only it knows how the run ended. Each event is flushed. A non-finite metric is `null`,
/// like one that was not measured; the CSV log distinguishes them.
///
/// After a resume, lines past the restored update or epoch are removed. A file that lacks a line is rewritten from the history.
/// The logger reads only its own files.
#[derive(Debug)]
pub struct JsonlLogger {
    path: PathBuf,
    progress_every: Option<u64>,
    writer: Option<BufWriter<File>>,
    /// The number of written decisions.
    decisions: usize,
}

impl JsonlLogger {
    /// Creates a logger without progress lines. It opens the file at [`Hook::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), progress_every: None, writer: None, decisions: 0 }
    }

    /// Writes a line with the loss, the rate and the metrics of [`Session::log`](crate::Session::log) every `updates` updates; 0 is never.
    #[must_use]
    pub fn progress_every(mut self, updates: u64) -> Self {
        self.progress_every = (updates > 0).then_some(updates);
        self
    }

    fn open(&mut self, context: &Context<'_>) -> Result<(), Error> {
        let fresh = context.update == 0;
        let old = if fresh { Vec::new() } else { read_if_there(&self.path)? };
        let kept = lines_before_resume(std::str::from_utf8(&old).unwrap_or_default(), context);
        // A run that continues a shorter one has another length.
        let started = Event::Started { updates: context.updates, epochs: context.epochs };
        let started = serde_json::to_string(&started).map_err(|e| Error::io(&self.path, e.into()))? + "\n";
        let is_start = |line: &str| matches!(serde_json::from_str(line), Ok(Event::Started { .. }));
        let kept: Vec<&str> =
            kept.into_iter().map(|line| if is_start(line) { started.as_str() } else { line }).collect();
        let file = lrlab_runs::write_atomic(&self.path, kept.concat().as_bytes())
            .map_err(std::io::Error::other)
            .and_then(|()| File::options().append(true).open(&self.path));
        self.writer = Some(BufWriter::new(file.map_err(|e| Error::io(&self.path, e))?));
        self.decisions = context.decisions.len();
        if kept.is_empty() {
            self.write(&Event::Started { updates: context.updates, epochs: context.epochs })?;
            for metrics in context.history {
                self.write(&Event::Epoch { metrics: Box::new(metrics.recorded()) })?;
            }
            for decision in context.decisions {
                self.write(&Event::Decided { decision: Box::new(decision.clone()) })?;
            }
        }
        self.flush()
    }

    fn write(&mut self, event: &Event) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let line = serde_json::to_string(event).map_err(std::io::Error::other);
        line.and_then(|line| writeln!(writer, "{line}")).map_err(|e| Error::io(&self.path, e))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().map_err(|e| Error::io(&self.path, e))
    }
}

impl Callback for JsonlLogger {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        if phase != Phase::Report {
            return Ok(Vec::new());
        }
        match context.hook {
            Hook::FitStart => self.open(context)?,
            Hook::UpdateEnd { loss, grad_norm, extra }
                if self.progress_every.is_some_and(|n| context.update.is_multiple_of(n)) =>
            {
                let extra = extra.iter().map(|(name, value)| (name.clone(), finite(*value))).collect();
                let (update, loss, lr) = (context.update, finite(loss), context.lr);
                let grad_norm = grad_norm.and_then(finite);
                self.write(&Event::Progress { update, loss, lr, grad_norm, extra })?;
            }
            Hook::EpochEnd(metrics) => {
                self.write(&Event::Epoch { metrics: Box::new(metrics.recorded()) })?;
            }
            Hook::Failed { error } => self.write(&Event::Failed { error: error.to_owned() })?,
            _ => {}
        }
        let seen = self.decisions.min(context.decisions.len());
        for decision in &context.decisions[seen..] {
            self.write(&Event::Decided { decision: Box::new(decision.clone()) })?;
        }
        self.decisions = context.decisions.len();
        // Flush at every hook, so that the file is complete when a checkpoint is written.
        self.flush()?;
        Ok(Vec::new())
    }
}

/// Returns the lines of events before the position at which the run resumes; none if one of them is missing. A truncated line
/// is ignored.
fn lines_before_resume<'a>(text: &'a str, context: &Context<'_>) -> Vec<&'a str> {
    let (mut epochs, mut decisions) = (0, 0);
    let mut belongs = |line: &&str| match serde_json::from_str(line) {
        Ok(Event::Started { .. }) => true,
        Ok(Event::Progress { update, .. }) => update <= context.update,
        Ok(Event::Epoch { metrics }) if metrics.epoch <= context.epoch => {
            epochs += 1;
            true
        }
        // Count them, because a decision at the end of the run is made again.
        Ok(Event::Decided { .. }) if decisions < context.decisions.len() => {
            decisions += 1;
            true
        }
        Ok(_) | Err(_) => false,
    };
    let lines: Vec<_> = text.split_inclusive('\n').filter(|line| belongs(line)).collect();
    let whole = (epochs, decisions) == (context.history.len(), context.decisions.len());
    if whole { lines } else { Vec::new() }
}
