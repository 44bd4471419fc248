//! `lrlab status --watch`: a terminal page that follows a grid, with curves of running runs.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use console::Term;
use lrlab_grid::{Interrupt, RunState};
use lrlab_runs::{Event, Plan, PlannedRun, RunStore, attempt_dir};

use super::dashboard::Dashboard;
use super::lines::{describe_progress, line};
use super::print;
use crate::Exit;
use crate::progress::label;

/// The refresh interval.
const POLL: Duration = Duration::from_secs(1);
/// The columns of a curve.
const CURVE: usize = 24;

/// Shows the page until the grid is done or someone asks to stop.
pub(crate) fn watch(plan: &Plan, store: &RunStore) -> anyhow::Result<Exit> {
    if !std::io::stdout().is_terminal() {
        print(&page(plan, store, &Dashboard::read(plan, store)?, usize::MAX, 160));
        return Ok(Exit::Done);
    }
    let interrupt = Interrupt::on_signals()?;
    let term = Term::stdout();
    let screen = Screen::open();
    loop {
        let board = Dashboard::read(plan, store)?;
        let (rows, columns) = term.size();
        let over = board.status.done + board.status.failed == board.status.total;
        let text = page(plan, store, &board, usize::from(rows), usize::from(columns));
        if over || interrupt.requests() > 0 {
            drop(screen);
            // The last page stays visible.
            print(&text);
            return Ok(Exit::Done);
        }
        Screen::draw(&text);
        let drawn = Instant::now();
        while drawn.elapsed() < POLL && interrupt.requests() == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The terminal's alternate screen; dropping it restores the main one.
struct Screen;

impl Screen {
    fn open() -> Self {
        // The alternate screen, without a cursor.
        print("\x1b[?1049h\x1b[?25l");
        Self
    }

    /// Draws over the previous page line by line, without flicker.
    fn draw(text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        print(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
    }
}

/// The page: totals, a bar, then running, failed, missing and done runs, as many as fit.
fn page(plan: &Plan, store: &RunStore, board: &Dashboard, rows: usize, columns: usize) -> String {
    let mut lines: Vec<String> = board.sums(plan).lines().map(str::to_owned).collect();
    let made = board.status.done as f64 + board.states.iter().map(share).sum::<f64>();
    lines.push(bar(made / board.status.total.max(1) as f64, columns.clamp(20, 100) - 8));
    let all = || plan.runs.iter().zip(&board.states);
    for (run, state) in all() {
        if let RunState::Running { live, attempt, .. } = state {
            let curve = curve(&history(&store.run_dir(&run.run_id)));
            let how = live.as_ref().map_or_else(|| "starting".to_owned(), |live| describe_progress(live));
            let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            lines.push(format!("▶ {curve} {how}  {}{again}", label(&run.cell)));
        }
    }
    let of = |wanted: fn(&RunState) -> bool| all().filter(move |(_, state)| wanted(state));
    for (mark, list) in [
        ("✗", of(|state| matches!(state, RunState::Failed(_))).collect::<Vec<_>>()),
        (
            "·",
            of(|state| {
                matches!(state, RunState::Missing | RunState::Damaged { .. } | RunState::Paused { .. })
            })
            .collect(),
        ),
        ("✓", of(|state| *state == RunState::Done).collect()),
        ("–", of(|state| matches!(state, RunState::Pruned { .. })).collect()),
    ] {
        lines.extend(list.into_iter().map(|(run, state)| tail(mark, run, state, store)));
    }
    let room = rows.saturating_sub(1).max(3);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(format!("… {more} more"));
    }
    lines.iter().map(|text| text.chars().take(columns).collect::<String>() + "\n").collect()
}

fn tail(mark: &str, run: &PlannedRun, state: &RunState, store: &RunStore) -> String {
    let curve = match state {
        RunState::Done | RunState::Paused { .. } | RunState::Pruned { .. } => {
            curve(&history(&store.run_dir(&run.run_id))) + " "
        }
        _ => String::new(),
    };
    format!("{mark} {curve}{}", line(run, state))
}

fn share(state: &RunState) -> f64 {
    match state {
        RunState::Running { live: Some(live), .. } => live.share(),
        _ => 0.0,
    }
}

fn bar(share: f64, columns: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * columns as f64).round() as usize;
    format!("{}{} {:>3.0} %", "█".repeat(full), "░".repeat(columns - full), share * 100.0)
}

/// The validation loss of every epoch over all attempts; later attempts take precedence.
fn history(run_dir: &Path) -> Vec<f64> {
    let mut epochs = std::collections::BTreeMap::new();
    let attempts = lrlab_grid::attempts(run_dir).unwrap_or_default();
    for (number, _) in attempts {
        let path = attempt_dir(run_dir, number).join("events.jsonl");
        let text = std::fs::read(path).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(Event::Epoch { metrics }) = serde_json::from_slice(line) {
                epochs.insert(metrics.epoch, metrics.val_loss.unwrap_or(f64::NAN));
            }
        }
    }
    epochs.into_values().collect()
}

/// The last values as a line of blocks, scaled to their range.
fn curve(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = &values[values.len().saturating_sub(CURVE)..];
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let block = |value: &f64| {
        if !value.is_finite() {
            return '!';
        }
        let at = if high > low { (value - low) / (high - low) * 7.0 } else { 0.0 };
        BLOCKS[(at.round() as usize).min(7)]
    };
    let drawn: String = values.iter().map(block).collect();
    format!("{drawn:<CURVE$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_and_bars() {
        assert_eq!(curve(&[1.0, 0.5, 0.0, f64::NAN]).trim_end(), "█▅▁!");
        assert_eq!(curve(&[2.0, 2.0]).trim_end(), "▁▁");
        assert_eq!(curve(&[]).chars().count(), CURVE);
        assert_eq!(curve(&vec![1.0; 100]).chars().count(), CURVE);
        assert_eq!(bar(0.5, 4), "██░░  50 %");
        assert_eq!(bar(1.2, 2), "██ 120 %");
    }
}
