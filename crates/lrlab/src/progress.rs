//! Progress display: bars on a terminal, plain lines elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lrlab_grid::Owner;
use lrlab_runs::{Cell, Event, Outcome, PlannedRun, RunId, coordinate};
use lrlab_spec::Mistakes;

use crate::color;

/// The progress display of a grid.
pub(crate) struct Progress {
    total: usize,
    done: usize,
    cells: BTreeMap<RunId, Cell>,
    latest: BTreeMap<RunId, String>,
    /// Other processes that were shown.
    others: BTreeSet<String>,
    view: View,
}

enum View {
    Bars { bars: MultiProgress, grid: ProgressBar, runs: BTreeMap<RunId, ProgressBar> },
    Lines,
}

impl Progress {
    /// Creates the display of `total` of the `runs`, of which `done` are done.
    pub(crate) fn new(runs: &[PlannedRun], total: usize, done: usize) -> Self {
        let view = if std::io::stderr().is_terminal() { View::bars(total, done) } else { View::Lines };
        let cells = runs.iter().map(|run| (run.run_id.clone(), run.cell.clone())).collect();
        Self { total, done, cells, latest: BTreeMap::new(), others: BTreeSet::new(), view }
    }

    /// Shows an event of a run.
    pub(crate) fn event(&mut self, id: &RunId, event: &Event) {
        if let Event::Epoch { metrics } = event {
            let figure = |name: &str, value: Option<f64>| match value {
                Some(value) => format!("{name} {value:.4}"),
                None => format!("{name} –"),
            };
            let text = format!(
                "{}, {}",
                figure("val_loss", metrics.val_loss),
                figure("val_accuracy", metrics.val_accuracy)
            );
            self.latest.insert(id.clone(), text);
        }
        if let Event::Finished { outcome } = event {
            self.ended(id, *outcome);
        }
        let label = self.label(id);
        let View::Bars { bars, grid, runs } = &mut self.view else { return };
        match event {
            Event::Started { updates, .. } => {
                let bar = bars.insert_before(grid, ProgressBar::new(*updates));
                bar.set_style(style("  {bar:24} {pos:>6}/{len} {prefix}  {msg}"));
                bar.set_prefix(label);
                runs.insert(id.clone(), bar);
            }
            Event::Progress { update, loss, lr, .. } => {
                if let Some(bar) = runs.get(id) {
                    bar.set_position(*update);
                    let loss = loss.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.4}"));
                    bar.set_message(format!("loss {loss}, lr {lr:.3e}"));
                }
            }
            Event::Epoch { .. }
            | Event::Decided { .. }
            | Event::Note { .. }
            | Event::Finished { .. }
            | Event::Failed { .. } => {}
        }
    }

    /// Describes a run that did not make all of its updates; a run that diverged in its first epoch has no metrics.
    fn ended(&mut self, id: &RunId, outcome: Outcome) {
        let how = match outcome {
            Outcome::Completed => return,
            Outcome::Stopped => "stopped early",
            Outcome::Diverged => "diverged",
            Outcome::Pruned => "pruned",
        };
        let latest = self.latest.entry(id.clone()).or_default();
        *latest = if latest.is_empty() { how.to_owned() } else { format!("{how}, {latest}") };
    }

    /// Shows that a run is done, and the estimated time left for the grid.
    pub(crate) fn done(&mut self, id: &RunId, seconds: f64, left_s: Option<f64>) {
        self.done += 1;
        let latest = self.latest.get(id).map_or("", String::as_str);
        let left = left_s.filter(|left| *left > 0.0).map(|left| format!(", about {} left", clock(left)));
        let left = left.unwrap_or_default();
        let line =
            format!("[{}/{}] {}: {latest} in {seconds:.1} s{left}", self.done, self.total, self.label(id));
        match &mut self.view {
            View::Lines => eprint_line(&line),
            View::Bars { bars: _, grid, runs } => {
                grid.inc(1);
                grid.set_message(
                    left_s.map(|left| format!("about {} left", clock(left))).unwrap_or_default(),
                );
                if let Some(bar) = runs.remove(id) {
                    bar.finish_and_clear();
                }
            }
        }
    }

    /// Shows a note about a run.
    pub(crate) fn note(&mut self, id: &RunId, message: &str) {
        let line = format!("{}: {message}", self.label(id));
        match &self.view {
            View::Lines => eprint_line(&line),
            View::Bars { bars, .. } => drop(bars.println(line)),
        }
    }

    /// Shows, once for each process, that another one is training some of the runs.
    pub(crate) fn elsewhere(&mut self, owner: &Owner) {
        let owner = owner.to_string();
        if !self.others.contains(&owner) {
            let line = format!("note: {owner} is training some of these runs");
            match &self.view {
                View::Lines => eprint_line(&line),
                View::Bars { bars, .. } => drop(bars.println(line)),
            }
            self.others.insert(owner);
        }
    }

    /// Counts a run that another process executed and reported.
    pub(crate) fn done_elsewhere(&mut self, id: &RunId) {
        self.done += 1;
        if let View::Bars { bars: _, grid, runs } = &mut self.view {
            grid.inc(1);
            if let Some(bar) = runs.remove(id) {
                bar.finish_and_clear();
            }
        }
    }

    /// Shows that a run failed.
    pub(crate) fn failed(&mut self, id: &RunId, error: &str) {
        let line = format!("{}: FAILED: {error}", self.label(id));
        match &mut self.view {
            View::Lines => eprint_line(&line),
            View::Bars { bars, grid: _, runs } => {
                let _ = bars.println(line);
                if let Some(bar) = runs.remove(id) {
                    bar.finish_and_clear();
                }
            }
        }
    }

    /// Removes the bars.
    pub(crate) fn close(self) {
        if let View::Bars { bars, grid, .. } = self.view {
            grid.finish_and_clear();
            let _ = bars.clear();
        }
    }

    fn label(&self, id: &RunId) -> String {
        self.cells.get(id).map_or_else(|| id.short().to_owned(), label)
    }
}

impl View {
    fn bars(total: usize, done: usize) -> Self {
        let bars = MultiProgress::new();
        let grid = bars.add(ProgressBar::new(total as u64));
        grid.set_style(style("{bar:26} {pos:>6}/{len} runs, {elapsed} elapsed, {msg}"));
        grid.set_position(done as u64);
        grid.reset_eta();
        Self::Bars { bars, grid, runs: BTreeMap::new() }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `40 s`, `12 min`, `3.5 h`, `2.1 d`.
pub(crate) fn clock(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// `1 run`, `2 runs`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Prints a line to standard error.
pub(crate) fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints mistakes in an input to standard error, each with its location.
pub(crate) fn report_mistakes(mistakes: &Mistakes) {
    eprint_line(&mistakes.render(color::on_stderr()));
}

/// `resnet / cosine / on / 10 epochs / seed 0`.
pub(crate) fn label(cell: &Cell) -> String {
    let word = |key: &str| match cell.get(key) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "–".to_owned(),
    };
    let epochs = word("epochs");
    let epochs = if epochs == "1" { "1 epoch".to_owned() } else { format!("{epochs} epochs") };
    let mut text = format!(
        "{} / {} / {} / {epochs} / seed {}",
        word("model"),
        word("schedule"),
        word("monitor"),
        word("seed")
    );
    for word in others(cell) {
        let _ = write!(text, " / {word}");
    }
    text
}

/// `linear / static / off / optimizer sgd`: the arm of a search.
pub(crate) fn arm(cell: &Cell) -> String {
    let names = ["model", "schedule", "monitor"].into_iter().filter_map(|key| cell.get(key)?.as_str());
    names.map(str::to_owned).chain(others(cell)).collect::<Vec<_>>().join(" / ")
}

/// The coordinates that a label names by their keys.
fn others(cell: &Cell) -> impl Iterator<Item = String> {
    cell.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())).map(coordinate)
}

const KNOWN: [&str; 6] = ["model", "dataset", "schedule", "monitor", "epochs", "seed"];

/// Returns the message of an error followed by those of its causes; a cause that the text already contains is not repeated.
pub(crate) fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// Prints an error and its causes to standard error.
pub(crate) fn report_error(error: &anyhow::Error) {
    match error.downcast_ref() {
        Some(mistakes) => report_mistakes(mistakes),
        None => eprint_line(&format!("error: {}", with_causes(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrlab_runs::EpochMetrics;
    use serde_json::json;

    #[test]
    fn quoted_causes_are_not_repeated() {
        let cause = anyhow::anyhow!("no route").context("request failed: no route").context("a.parquet");
        assert_eq!(with_causes(&cause), "a.parquet: request failed: no route");
    }

    #[test]
    fn clocks() {
        for (seconds, expected) in
            [(4.4, "4 s"), (99.0, "99 s"), (600.0, "10 min"), (9000.0, "2.5 h"), (3e5, "3.5 d")]
        {
            assert_eq!(clock(seconds), expected);
        }
    }

    #[test]
    fn early_ends_are_reported() {
        let run = PlannedRun {
            run_id: RunId::of("{}", ""),
            cell: Cell::new(),
            spec: json!({}).into(),
            dataset_digest: String::new(),
        };
        let id = run.run_id.clone();
        let epoch = || {
            let metrics = EpochMetrics { epoch: 1, val_loss: Some(0.5), ..EpochMetrics::default() };
            Event::Epoch { metrics: Box::new(metrics) }
        };
        let finished = |outcome| Event::Finished { outcome };
        for (events, expected) in [
            (vec![finished(Outcome::Diverged)], "diverged"),
            (vec![epoch(), finished(Outcome::Diverged)], "diverged, val_loss 0.5000, val_accuracy –"),
            (vec![epoch(), finished(Outcome::Stopped)], "stopped early, val_loss 0.5000, val_accuracy –"),
            (vec![epoch(), finished(Outcome::Completed)], "val_loss 0.5000, val_accuracy –"),
        ] {
            let mut progress = Progress::new(std::slice::from_ref(&run), 1, 0);
            for event in &events {
                progress.event(&id, event);
            }
            assert_eq!(progress.latest[&id], expected);
            progress.close();
        }
    }

    #[test]
    fn labels() {
        let cell: Cell = serde_json::from_value(json!({
            "model": "resnet", "dataset": "cifar10", "schedule": "cosine", "monitor": "on",
            "epochs": 10, "seed": 0, "lr": 0.1
        }))
        .unwrap();
        assert_eq!(label(&cell), "resnet / cosine / on / 10 epochs / seed 0 / lr 0.1");
        let cell: Cell = serde_json::from_value(json!({ "model": "lstm", "epochs": 1 })).unwrap();
        assert_eq!(label(&cell), "lstm / – / – / 1 epoch / seed –");
        let cell =
            serde_json::from_value(json!({ "model": "lstm", "epochs": 3, "optimizer": "sgd", "lr": 0.1 }));
        assert_eq!(arm(&cell.unwrap()), "lstm / lr 0.1 / optimizer sgd");
        assert_eq!((counted(1, "run"), counted(0, "run")), ("1 run".to_owned(), "0 runs".to_owned()));
    }
}
