//! The progress display.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::ProgressStyle;
use lrlab_runs::EpochMetrics;

use crate::{Action, Callback, Context, Error, Hook, Phase};

/// A progress bar on standard error if that is a terminal; otherwise one plain line per epoch and decision.
pub struct ProgressBar {
    out: Out,
    /// The number of decisions shown.
    decisions: usize,
}

enum Out {
    Bar(indicatif::ProgressBar),
    Lines(Box<dyn Write + Send>),
}

impl ProgressBar {
    /// Creates a display on standard error.
    #[must_use]
    pub fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::lines(io::stderr());
        }
        let bar = indicatif::ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} {per_sec} {eta} {msg}") {
            bar.set_style(style);
        }
        Self { out: Out::Bar(bar), decisions: 0 }
    }

    /// Creates a display that writes plain lines to `out`.
    #[must_use]
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self { out: Out::Lines(Box::new(out)), decisions: 0 }
    }

    /// Prints a persistent line. Write errors are ignored, so that a closed terminal does not end a run.
    fn line(&mut self, line: &str) {
        match &mut self.out {
            Out::Bar(bar) => bar.println(line),
            Out::Lines(out) => {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
        }
    }
}

impl Default for ProgressBar {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ProgressBar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressBar").field("decisions", &self.decisions).finish_non_exhaustive()
    }
}

impl Callback for ProgressBar {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        if phase != Phase::Report {
            return Ok(Vec::new());
        }
        if let (Hook::FitStart, Out::Bar(bar)) = (context.hook, &self.out) {
            bar.set_length(context.updates);
            bar.set_position(context.update);
            bar.reset_eta();
        }
        if context.hook == Hook::FitStart {
            self.decisions = context.decisions.len();
        }
        let seen = self.decisions.min(context.decisions.len());
        for decision in &context.decisions[seen..] {
            self.line(&format!("{}: {}", decision.source, decision.reason));
        }
        self.decisions = context.decisions.len();
        match (context.hook, &self.out) {
            (Hook::UpdateEnd { loss, .. }, Out::Bar(bar)) => {
                bar.set_position(context.update);
                bar.set_message(format!("loss {loss:.4} lr {:.3e}", context.lr));
            }
            (Hook::EpochEnd(metrics), _) => self.line(&epoch_line(metrics, context)),
            (Hook::Failed { error }, _) => self.line(&format!("failed: {error}")),
            (Hook::FitEnd, Out::Bar(bar)) => bar.abandon(),
            _ => {}
        }
        Ok(Vec::new())
    }
}

fn epoch_line(metrics: &EpochMetrics, context: &Context<'_>) -> String {
    let mut line = format!("epoch {}/{}", metrics.epoch, context.epochs);
    for name in ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"] {
        if let Some(value) = metrics.get(name).flatten() {
            let _ = if name == "lr" {
                write!(line, "  {name} {value:.3e}")
            } else {
                write!(line, "  {name} {value:.4}")
            };
        }
    }
    let _ = write!(line, "  {:.1} s", context.elapsed_s);
    line
}
