//! How far the run is, for a person.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::ProgressStyle;
use lrlab_runs::EpochMetrics;

use crate::{Action, Callback, Context, Error, Moment, Phase};

/// A bar on standard error where that is a terminal; otherwise one plain line per epoch and decision.
pub struct ProgressBar {
    out: Out,
    /// Decisions told so far.
    decisions: usize,
}

enum Out {
    Bar(indicatif::ProgressBar),
    Lines(Box<dyn Write>),
}

impl ProgressBar {
    /// On standard error.
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

    /// Plain lines into `out`.
    #[must_use]
    pub fn lines(out: impl Write + 'static) -> Self {
        Self { out: Out::Lines(Box::new(out)), decisions: 0 }
    }

    /// A line that stays. A terminal that is gone is no reason to end a run.
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
        if let (Moment::FitStart, Out::Bar(bar)) = (context.moment, &self.out) {
            bar.set_length(context.updates);
            bar.set_position(context.update);
            bar.reset_eta();
        }
        if context.moment == Moment::FitStart {
            self.decisions = context.decisions.len();
        }
        let seen = self.decisions.min(context.decisions.len());
        for decision in &context.decisions[seen..] {
            self.line(&format!("{}: {}", decision.source, decision.reason));
        }
        self.decisions = context.decisions.len();
        match (context.moment, &self.out) {
            (Moment::Update { loss, .. }, Out::Bar(bar)) => {
                bar.set_position(context.update);
                bar.set_message(format!("loss {loss:.4} lr {:.3e}", context.lr));
            }
            (Moment::Epoch(metrics), _) => self.line(&epoch_line(metrics, context)),
            (Moment::Failed { error }, _) => self.line(&format!("failed: {error}")),
            (Moment::FitEnd, Out::Bar(bar)) => bar.abandon(),
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
