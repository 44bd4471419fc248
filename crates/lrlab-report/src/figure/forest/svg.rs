//! Draws the forest plot as SVG 1.1.

use std::fmt::Write;

use super::{Forest, ForestPoint, ForestRow};
use crate::answer::{interval, number, unit};
use crate::figure::axis::Axis;
use crate::figure::paint::{self, Anchor, escape, shortened, text, text_width};
use crate::figure::path::{Path, short};
use crate::figure::{Scale, mark};
use crate::{Finding, Metric};

/// The layout of a forest plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Labels on the left, numbers beside each panel.
    Page,
    /// Labels above the rows and no numbers, so that text is legible on a phone.
    Phone,
}

/// Palette index and shape of a finding (see `mark`), and whether the mark is filled.
pub(in crate::figure) const fn look(finding: Finding) -> (usize, bool) {
    match finding {
        Finding::Better => (3, true),
        Finding::Worse => (1, true),
        Finding::Equivalent => (2, true),
        Finding::Different => (0, true),
        Finding::Undecided => (0, false),
        Finding::TooFew | Finding::NotRun => (4, false),
    }
}

/// The findings in the legend.
const LEGEND: [(Finding, &str); 6] = [
    (Finding::Better, "better"),
    (Finding::Worse, "worse"),
    (Finding::Different, "different"),
    (Finding::Equivalent, "equivalent"),
    (Finding::Undecided, "not significant"),
    (Finding::TooFew, "too few seeds"),
];

const SIZE: f64 = 11.5;

/// Positions and sizes in pixels.
struct Layout {
    width: f64,
    /// Left edge and width of each panel.
    panels: Vec<(f64, f64)>,
    /// Height of a row, and the offset of its interval from the row's top.
    row: (f64, f64),
    /// Width of the numbers to the right of a panel; 0 without numbers.
    numbers: f64,
    size: f64,
}

impl Layout {
    fn new(forest: &Forest, width: Width) -> Self {
        let count = forest.metrics.len().max(1) as f64;
        let panels = |left: f64, each: f64, gap: f64| -> Vec<(f64, f64)> {
            (0..forest.metrics.len()).map(|i| (left + i as f64 * (each + gap), each)).collect()
        };
        match width {
            Width::Page => {
                let labels = forest.groups.iter().flat_map(|group| &group.rows).map(|row| row.label.as_str());
                let label = labels.map(|words| text_width(words, SIZE)).fold(90.0, f64::max).min(300.0);
                let total = 1180.0;
                let numbers = texts(forest).map(|words| text_width(&words, 10.5)).fold(60.0, f64::max) + 8.0;
                let each = ((total - label - 12.0) / count - numbers - 14.0).min(420.0);
                let width = label + 12.0 + count * (each + numbers + 14.0);
                Self {
                    width,
                    panels: panels(label + 12.0, each, numbers + 14.0),
                    row: (21.0, 10.5),
                    numbers,
                    size: SIZE,
                }
            }
            Width::Phone => {
                let each = (356.0 - 12.0 * (count - 1.0) - 8.0) / count;
                Self {
                    width: 356.0,
                    panels: panels(4.0, each, 12.0),
                    row: (37.0, 26.0),
                    numbers: 0.0,
                    size: 11.0,
                }
            }
        }
    }
}

/// "+2.4 [+1.9, +2.9]".
fn mean_and_interval(metric: Metric, point: &ForestPoint) -> String {
    let mean = number(metric, point.mean);
    match point.interval {
        Some(limits) => format!("{mean} {}", interval(metric, limits)),
        None => mean,
    }
}

/// The numbers to the right of the panels.
fn texts(forest: &Forest) -> impl Iterator<Item = String> {
    let rows = forest.groups.iter().flat_map(|group| &group.rows);
    rows.flat_map(|row| {
        let points = forest.metrics.iter().zip(&row.points);
        points.filter_map(|(metric, point)| Some(mean_and_interval(*metric, point.as_ref()?)))
    })
}

/// The forest plot as SVG 1.1. An `inline` drawing takes its style from the page.
pub(crate) fn svg(forest: &Forest, width: Width, inline: bool) -> String {
    let layout = Layout::new(forest, width);
    let axes: Vec<Axis> = (0..forest.metrics.len()).map(|panel| axis(forest, panel)).collect();
    let mut body = String::new();
    let mut y = 0.0;
    legend(&mut body, forest, &layout, &mut y);
    let (head, top) = (y + 14.0, y + 34.0);
    y = top;
    for group in &forest.groups {
        let _ = writeln!(
            body,
            "<text y=\"{}\" font-size=\"{}\" font-weight=\"700\">{}</text>",
            short(y + 16.0),
            layout.size,
            escape(&group.title)
        );
        y += 22.0;
        for row in &group.rows {
            draw_row(&mut body, &layout, &axes, &forest.metrics, row, y);
            y += layout.row.0;
        }
        y += 6.0;
    }
    let bottom = y;
    let mut frame = String::new();
    for ((axis, (left, each)), metric) in axes.iter().zip(&layout.panels).zip(&forest.metrics) {
        draw_axis(&mut frame, &layout, axis, (*left, *each), (top, bottom));
        text(
            &mut frame,
            left + each / 2.0,
            head,
            Anchor::Middle,
            layout.size,
            &title(*metric, layout.numbers > 0.0),
        );
    }
    let size = (layout.width, bottom + 24.0);
    let caption = (!inline).then_some(forest.caption.as_str());
    paint::document(size, "Differences from the baseline", caption, &(frame + &body))
}

/// The title of a panel; short for a phone.
pub(in crate::figure) fn title(metric: Metric, wide: bool) -> String {
    let words = match (metric.key, wide) {
        ("accuracy_gap", true) => "gap, training − validation".to_owned(),
        (_, true) => metric.phrase(),
        ("accuracy_gap" | "loss_gap", false) => "gap".to_owned(),
        ("val_accuracy", false) => "accuracy".to_owned(),
        ("val_loss", false) => "loss".to_owned(),
        ("test_accuracy", false) => "test acc.".to_owned(),
        ("update_ms", false) => "time".to_owned(),
        (_, false) => metric.title().to_owned(),
    };
    let unit = unit(metric);
    if unit.is_empty() { words } else { format!("{words} ({unit})") }
}

/// An axis that contains zero and every mean, and intervals up to twice the largest mean.
fn axis(forest: &Forest, panel: usize) -> Axis {
    let factor = forest.metrics[panel].unit().factor();
    let points = || forest.groups.iter().flat_map(|group| &group.rows).filter_map(|row| row.points[panel]);
    let reach = 2.0 * points().map(|point| point.mean.abs()).fold(0.0, f64::max);
    let ends = points().flat_map(|point| {
        let (low, high) = point.interval.unwrap_or((point.mean, point.mean));
        [low.max(-reach), high.min(reach), point.mean]
    });
    Axis::around(ends.chain([0.0]).map(|x| x * factor), Scale::Linear, (None, None))
}

fn legend(out: &mut String, forest: &Forest, layout: &Layout, y: &mut f64) {
    let findings = || {
        let points = forest.groups.iter().flat_map(|group| &group.rows).flat_map(|row| &row.points).flatten();
        points.map(|point| look(point.finding))
    };
    let mut x = 8.0;
    for (finding, word) in LEGEND {
        if !findings().any(|other| other == look(finding)) {
            continue;
        }
        draw_mark(out, x, 9.0, finding);
        text(out, x + 11.0, 13.0, Anchor::Start, layout.size, word);
        x += 30.0 + text_width(word, layout.size);
    }
    *y = 20.0;
}

fn draw_mark(out: &mut String, x: f64, y: f64, finding: Finding) {
    let (color, full) = look(finding);
    let class = if full { format!("f{color}") } else { format!("hollow m s{color}") };
    let mut path = Path::default();
    mark::mark(&mut path, color, x, y, 4.2);
    paint::path(out, &class, &path);
}

fn draw_row(out: &mut String, layout: &Layout, axes: &[Axis], metrics: &[Metric], row: &ForestRow, top: f64) {
    let y = top + layout.row.1;
    if layout.numbers > 0.0 {
        text(
            out,
            0.0,
            y + 4.0,
            Anchor::Start,
            layout.size,
            &shortened(&row.label, layout.panels[0].0 - 12.0, layout.size),
        );
    } else {
        // A background for the label, which lies over the grid lines.
        let width = text_width(&row.label, layout.size).min(layout.width) + 4.0;
        let _ = writeln!(
            out,
            "<rect class=\"hollow\" y=\"{}\" width=\"{}\" height=\"15\"/>",
            short(top + 3.0),
            short(width)
        );
        text(
            out,
            0.0,
            top + 14.0,
            Anchor::Start,
            layout.size,
            &shortened(&row.label, layout.width, layout.size),
        );
    }
    for (((axis, (left, each)), metric), point) in
        axes.iter().zip(&layout.panels).zip(metrics).zip(&row.points)
    {
        let Some(point) = point else {
            if layout.numbers > 0.0 {
                text(out, left + each + 8.0, y + 4.0, Anchor::Start, 10.5, "no pair");
            }
            continue;
        };
        let at = |x: f64| left + each * axis.fraction(x * metric.unit().factor());
        let (color, _) = look(point.finding);
        if let Some((low, high)) = point.interval {
            let (a, b) = (at(low).max(*left), at(high).min(left + each));
            let mut path = Path::through([(a, y), (b, y)]);
            // An interval that extends beyond the panel ends in an arrow, any other in a bar.
            let mut end = |cut: bool, x: f64, d: f64| {
                let (tip, half) = if cut { (d, 3.5) } else { (0.0, 3.0) };
                path.start((x - tip, y - half));
                path.line_to((x, y));
                path.line_to((x - tip, y + half));
            };
            end(at(low) < *left, a, -5.0);
            end(at(high) > left + each, b, 5.0);
            paint::path(out, &format!("e s{color}"), &path);
        }
        draw_mark(out, at(point.mean), y, point.finding);
        if layout.numbers > 0.0 {
            text(out, left + each + 8.0, y + 4.0, Anchor::Start, 10.5, &mean_and_interval(*metric, point));
        }
    }
}

fn draw_axis(
    out: &mut String,
    layout: &Layout,
    axis: &Axis,
    (left, each): (f64, f64),
    (top, bottom): (f64, f64),
) {
    let widest = axis.ticks.iter().map(|(_, label)| text_width(label, 10.5)).fold(0.0, f64::max) + 10.0;
    let every = ((axis.ticks.len() as f64 * widest / each).ceil() as usize).max(1);
    let zero = axis.ticks.iter().position(|(x, _)| *x == 0.0).unwrap_or(0);
    for (i, (value, label)) in axis.ticks.iter().enumerate() {
        let x = left + each * axis.fraction(*value);
        let class = if i == zero && *value == 0.0 { "axis" } else { "grid" };
        paint::path(out, class, &Path::through([(x, top), (x, bottom)]));
        if i.abs_diff(zero) % every == 0 {
            let size = if layout.numbers > 0.0 { 10.5 } else { 10.0 };
            text(out, x, top - 5.0, Anchor::Middle, size, label);
            text(out, x, bottom + 13.0, Anchor::Middle, size, label);
        }
    }
}
