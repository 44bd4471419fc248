//! `lrlab status --watch`: a live view of a grid in the terminal, with curves of running runs.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use console::Term;
use lrlab_grid::{AttemptProgress, Interrupt, RunState};
use lrlab_runs::{Event, Plan, PlannedRun, RunStore, attempt_dir};

use super::dashboard::Dashboard;
use super::lines::line;
use super::print;
use crate::Exit;
use crate::progress::{clock, label};

/// The refresh interval.
const POLL: Duration = Duration::from_secs(1);
/// The width of a curve in columns.
const CURVE: usize = 16;
/// The number of recently finished runs that are shown with a curve.
const JUST_DONE: usize = 3;

/// Shows the page until the grid is done or the user requests a stop.
pub(crate) fn watch(plan: &Plan, store: &RunStore, reused: &[u64]) -> anyhow::Result<Exit> {
    if !std::io::stdout().is_terminal() {
        print(&page(plan, store, &Dashboard::read(plan, store, reused)?, usize::MAX, 100));
        return Ok(Exit::Done);
    }
    let interrupt = Interrupt::on_signals()?;
    let term = Term::stdout();
    let screen = Screen::open();
    loop {
        let board = Dashboard::read(plan, store, reused)?;
        let (rows, columns) = term.size();
        let ended = board.status.done + board.status.failed == board.status.total;
        let text = page(plan, store, &board, usize::from(rows), usize::from(columns));
        if ended || interrupt.requests() > 0 {
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

/// Formats the page: totals, a bar, running and recently finished runs with their curves, then failed, missing and
/// earlier runs, as many as fit.
fn page(plan: &Plan, store: &RunStore, board: &Dashboard, rows: usize, columns: usize) -> String {
    let mut lines: Vec<String> = board.totals(plan).lines().flat_map(|text| wrapped(text, columns)).collect();
    let completed = board.status.done as f64 + board.states.iter().map(share).sum::<f64>();
    lines.push(bar(completed / board.status.total.max(1) as f64, columns.clamp(20, 100) - 8));
    let all = || plan.runs.iter().zip(&board.states);
    for (run, state) in all() {
        if let RunState::Running { live, attempt, .. } = state {
            if state.is_silent() {
                lines.push(format!("? {}", line(store, run, state)));
                continue;
            }
            let how = live.as_ref().map_or_else(|| "starting".to_owned(), |live| describe_progress(live));
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            lines.push(format!("▶ {how}{again}  {}", label(&run.cell)));
            lines.push(curve_line(run, store));
        }
    }
    let of = |wanted: fn(&RunState) -> bool| -> Vec<(&PlannedRun, &RunState)> {
        all().filter(|(_, state)| wanted(state)).collect()
    };
    let mut done = of(|state| *state == RunState::Done);
    done.sort_by_key(|(run, _)| std::cmp::Reverse(finished(run, store)));
    let earlier = done.split_off(done.len().min(JUST_DONE));
    for (run, _) in done {
        lines.push(format!("✓ {}", label(&run.cell)));
        lines.push(curve_line(run, store));
    }
    let waiting =
        of(|state| matches!(state, RunState::Missing | RunState::Damaged { .. } | RunState::Paused { .. }));
    let failed = of(|state| matches!(state, RunState::Failed(_)));
    let pruned = of(|state| matches!(state, RunState::Pruned { .. }));
    for (mark, list) in [("✗", failed), ("·", waiting), ("✓", earlier), ("–", pruned)] {
        lines.extend(list.into_iter().map(|(run, state)| format!("{mark} {}", line(store, run, state))));
    }
    let available = rows.saturating_sub(1).max(3);
    if lines.len() > available {
        let more = lines.len() - available + 1;
        lines.truncate(available - 1);
        lines.push(format!("… {more} more lines"));
    }
    lines.iter().map(|text| shortened(text, columns) + "\n").collect()
}

/// `45 %, 12 s left`.
fn describe_progress(live: &AttemptProgress) -> String {
    let left = live.left_s().map(|left| format!(", {} left", clock(left))).unwrap_or_default();
    format!("{:.0} %{left}", live.share() * 100.0)
}

/// The time at which the run's result was written; `None` for a result on record.
fn finished(run: &PlannedRun, store: &RunStore) -> Option<SystemTime> {
    std::fs::metadata(store.run_dir(&run.run_id).join("result.json")).ok()?.modified().ok()
}

/// `  val_loss ▇▅▃▁▁ 0.3121, from 0.298 to 1.731`: the last epochs with their range, and the last one's value.
fn curve_line(run: &PlannedRun, store: &RunStore) -> String {
    let values = history(&store.run_dir(&run.run_id));
    let values = &values[values.len().saturating_sub(CURVE)..];
    let Some(last) = values.last() else { return "  val_loss: no epoch yet".to_owned() };
    let last = if last.is_finite() { number(*last) } else { "not finite".to_owned() };
    let range = range(values).map(|(low, high)| format!(", from {} to {}", number(low), number(high)));
    format!("  val_loss {} {last}{}", curve(values), range.unwrap_or_default())
}

/// Formats a number with three or four significant digits.
fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        1e-3..10.0 => format!("{x:.3}"),
        10.0..100.0 => format!("{x:.2}"),
        100.0..1e4 => format!("{x:.0}"),
        _ => format!("{x:.2e}"),
    }
}

/// Wraps a text between words into lines of at most `columns` characters.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

/// Truncates the text to the width, with an ellipsis.
fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
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

/// Returns the minimum and the maximum of the finite values.
fn range(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    finite.fold(None, |range, x| {
        Some(range.map_or((x, x), |(low, high): (f64, f64)| (low.min(x), high.max(x))))
    })
}

/// Plots the values as a line of blocks, scaled to their range; `!` marks a value that is not finite.
fn curve(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) = range(values).unwrap_or_default();
    let block = |value: &f64| {
        if !value.is_finite() {
            return '!';
        }
        let at = if high > low { (value - low) / (high - low) * 7.0 } else { 0.0 };
        BLOCKS[(at.round() as usize).min(7)]
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_and_bars() {
        assert_eq!(curve(&[1.0, 0.5, 0.0, f64::NAN]), "█▅▁!");
        assert_eq!(curve(&[2.0, 2.0]), "▁▁");
        assert_eq!(curve(&[]), "");
        assert_eq!((range(&[f64::NAN]), range(&[f64::NAN, 2.0, 1.0])), (None, Some((1.0, 2.0))));
        assert_eq!(bar(0.5, 4), "██░░  50 %");
        assert_eq!(bar(1.2, 2), "██ 120 %");
    }

    #[test]
    fn numbers_are_short() {
        for (x, expected) in [
            (0.312_09, "0.312"),
            (1.7314, "1.731"),
            (42.123, "42.12"),
            (9999.4, "9999"),
            (0.0, "0"),
            (1.2e32, "1.20e32"),
            (4.2e-5, "4.20e-5"),
        ] {
            assert_eq!(number(x), expected);
        }
    }

    #[test]
    fn lines_fit() {
        let text = "quickstart: 48 runs, 3 done, 2 running, 0 failed, 43 missing, about 2 min left";
        let lines = wrapped(text, 60);
        assert_eq!(
            lines,
            ["quickstart: 48 runs, 3 done, 2 running, 0 failed, 43", "  missing, about 2 min left"]
        );
        assert_eq!(wrapped("short", 60), ["short"]);
        assert_eq!((shortened("12345", 5), shortened("123456", 5)), ("12345".to_owned(), "1234…".to_owned()));
    }
}
