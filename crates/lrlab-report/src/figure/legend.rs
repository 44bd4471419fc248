//! The legend: below the panels, in columns of equal width, so that it never covers data.

use std::fmt::Write;

use super::paint::{escape, fill, stroke, text_width};
use super::{Dash, Figure, Line, mark};

const ROW: f64 = 17.0;
const SAMPLE: f64 = 30.0;
const GAP: f64 = 8.0;

/// Entries in the order drawn, and the widths of their columns.
struct Layout<'a> {
    entries: Vec<&'a Line>,
    columns: Vec<f64>,
}

fn same(a: &Line, b: &Line) -> bool {
    (&a.label, a.color, a.dash) == (&b.label, b.color, b.dash)
}

/// One row of solid lines above one of dashed where that fits, else pairs side by side, else as many as fit.
fn layout(figure: &Figure, width: f64) -> Layout<'_> {
    let mut entries: Vec<&Line> = Vec::new();
    for line in figure.panels.iter().flat_map(|panel| &panel.lines) {
        if !line.label.is_empty() && !entries.iter().any(|other| same(other, line)) {
            entries.push(line);
        }
    }
    let (solid, dashed): (Vec<&Line>, Vec<&Line>) = entries.iter().partition(|line| line.dash == Dash::Solid);
    let fits = |entries: &[&Line], per_row: usize| columns(entries, per_row).iter().sum::<f64>() <= width;
    if solid.len() == dashed.len() && !solid.is_empty() {
        let stacked = [solid.as_slice(), dashed.as_slice()].concat();
        if fits(&stacked, solid.len()) {
            return Layout { columns: columns(&stacked, solid.len()), entries: stacked };
        }
        let pairs: Vec<&Line> = solid.iter().zip(&dashed).flat_map(|(a, b)| [*a, *b]).collect();
        return Layout { columns: columns(&pairs, 2), entries: pairs };
    }
    let per_row = (1..=entries.len()).rev().find(|n| fits(&entries, *n)).unwrap_or(1);
    Layout { columns: columns(&entries, per_row), entries }
}

fn columns(entries: &[&Line], per_row: usize) -> Vec<f64> {
    let width = |line: &&Line| SAMPLE + GAP + text_width(&line.label, 11.0) + 2.0 * GAP;
    (0..per_row.min(entries.len()))
        .map(|column| entries.iter().skip(column).step_by(per_row).map(width).fold(0.0, f64::max))
        .collect()
}

/// Height that the legend of a figure of this width takes.
pub(super) fn height(figure: &Figure, width: f64) -> f64 {
    let Layout { entries, columns } = layout(figure, width);
    if entries.is_empty() { 0.0 } else { entries.len().div_ceil(columns.len()) as f64 * ROW + 8.0 }
}

/// Draws the legend centred, its top at `top`.
pub(super) fn draw(out: &mut String, figure: &Figure, width: f64, top: f64) {
    let Layout { entries, columns } = layout(figure, width);
    let left = ((width - columns.iter().sum::<f64>()) / 2.0 + GAP).max(GAP);
    for (i, line) in entries.iter().enumerate() {
        let x = left + columns[..i % columns.len()].iter().sum::<f64>();
        let y = top + 10.0 + (i / columns.len()) as f64 * ROW;
        if line.joined {
            let _ = writeln!(
                out,
                "<line x1=\"{x:.2}\" x2=\"{:.2}\" y1=\"{y:.2}\" y2=\"{y:.2}\" {}/>",
                x + SAMPLE,
                stroke(line)
            );
        }
        if line.marks || line.points.len() == 1 {
            mark::mark(out, line.color, x + SAMPLE / 2.0, y, 3.0, &fill(line));
        }
        let _ = writeln!(
            out,
            "<text class=\"ink\" x=\"{:.2}\" y=\"{:.2}\" font-size=\"11\" fill=\"#1a1a1a\">{}</text>",
            x + SAMPLE + GAP,
            y + 3.8,
            escape(&line.label)
        );
    }
}
