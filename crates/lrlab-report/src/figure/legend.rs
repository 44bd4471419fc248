//! The legend: below the panels, in columns of equal width, so that it never covers data.

use std::fmt::Write;

use super::{Dash, Figure, Line, PALETTE, mark};

const ROW: f64 = 17.0;
const SAMPLE: f64 = 30.0;

/// The entries of a figure: the first line of each name.
fn entries(figure: &Figure) -> Vec<&Line> {
    let mut seen: Vec<&Line> = Vec::new();
    for line in figure.panels.iter().flat_map(|panel| &panel.lines) {
        if !line.label.is_empty() && !seen.iter().any(|other| other.label == line.label) {
            seen.push(line);
        }
    }
    // Solid above dashed: with two strokes, one row per stroke.
    seen.sort_by_key(|line| line.dash == Dash::Dashed);
    seen
}

fn columns(entries: &[&Line], width: f64) -> (usize, f64) {
    let longest = entries.iter().map(|line| super::svg::text_width(&line.label, 11.0)).fold(0.0, f64::max);
    let column = SAMPLE + 8.0 + longest + 18.0;
    let fits = ((width / column).floor() as usize).clamp(1, entries.len().max(1));
    let solid = entries.iter().filter(|line| line.dash == Dash::Solid).count();
    let aligned = solid * 2 == entries.len() && solid <= fits;
    (if aligned { solid } else { fits }, column)
}

/// Height that the legend of a figure of this width takes.
pub(super) fn height(figure: &Figure, width: f64) -> f64 {
    let entries = entries(figure);
    if entries.is_empty() {
        return 0.0;
    }
    entries.len().div_ceil(columns(&entries, width).0) as f64 * ROW + 8.0
}

/// Draws the legend centred, its top at `top`.
pub(super) fn draw(out: &mut String, figure: &Figure, width: f64, top: f64) {
    let entries = entries(figure);
    let (per_row, column) = columns(&entries, width);
    let left = ((width - per_row.min(entries.len()) as f64 * column + 18.0) / 2.0).max(4.0);
    for (i, line) in entries.iter().enumerate() {
        let x = left + (i % per_row) as f64 * column;
        let y = top + 10.0 + (i / per_row) as f64 * ROW;
        let _ = writeln!(
            out,
            "<line x1=\"{x:.2}\" x2=\"{:.2}\" y1=\"{y:.2}\" y2=\"{y:.2}\" {}/>",
            x + SAMPLE,
            super::svg::stroke(line)
        );
        let style = format!(
            "class=\"f{0}\" fill=\"{1}\"",
            line.color % PALETTE.len(),
            PALETTE[line.color % PALETTE.len()]
        );
        mark::mark(out, line.color, x + SAMPLE / 2.0, y, 3.0, &style);
        let _ = writeln!(
            out,
            "<text class=\"ink\" x=\"{:.2}\" y=\"{:.2}\" font-size=\"11\" fill=\"#1a1a1a\">{}</text>",
            x + SAMPLE + 8.0,
            y + 3.8,
            super::svg::escape(&line.label)
        );
    }
}
