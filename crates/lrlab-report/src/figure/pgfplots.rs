//! Figures as pgfplots code, which LaTeX typesets in the document's fonts. The first line of a file lists the required
//! packages.

use std::fmt::Write;

use super::axis::{Axis, integer_ticks};
use super::forest::{FOREST, Forest, look, title};
use super::svg::axes;
use super::{Dash, Figure, Line, PALETTE, Panel, Scale};
use crate::table::{needs_t1, tex_escape};

/// Panels side by side.
const PER_ROW: usize = 3;
/// The mark of each colour.
const MARKS: [&str; PALETTE.len()] = ["*", "square*", "triangle*", "diamond*", "pentagon*", "o", "square"];

/// The figure as a LaTeX file with a `tikzpicture`.
pub(crate) fn pgfplots(figure: &Figure) -> String {
    let mut out = colors();
    let columns = figure.panels.len().clamp(1, PER_ROW);
    let rows = figure.panels.len().div_ceil(columns).max(1);
    let _ = writeln!(
        out,
        "\\begin{{groupplot}}[group style={{group size={columns} by {rows}, horizontal sep=18mm, vertical sep=26mm}}, \
         width=62mm, height=52mm, tick align=outside, tick pos=left, title style={{font=\\small}}, \
         label style={{font=\\footnotesize}}, tick label style={{font=\\footnotesize}}, \
         legend style={{at={{(0.5,-0.28)}}, anchor=north, draw=none, font=\\footnotesize}}, legend columns=2, \
         legend cell align=left]"
    );
    for (panel, axis) in figure.panels.iter().zip(axes(figure)) {
        draw(&mut out, panel, &axis);
    }
    file(&figure.name, out)
}

/// The beginning of the picture, with colour definitions.
fn colors() -> String {
    let mut out = "\\begin{tikzpicture}\n".to_owned();
    for (i, color) in PALETTE.iter().enumerate() {
        let _ = writeln!(out, "\\definecolor{{lrlab{i}}}{{HTML}}{{{}}}", color[1..].to_uppercase());
    }
    out
}

/// The file: a comment with the required packages, and the picture.
fn file(name: &str, mut picture: String) -> String {
    picture.push_str("\\end{groupplot}\n\\end{tikzpicture}\n");
    let encoding = if needs_t1(&picture) { "\\usepackage[T1]{fontenc}" } else { "" };
    format!(
        "% {name}.tex: needs \\usepackage{{pgfplots}}\\pgfplotsset{{compat=1.16}}\\usepgfplotslibrary{{groupplots}}{encoding}\n\
         {picture}"
    )
}

fn draw(out: &mut String, panel: &Panel, axis: &Axis) {
    let (from, to) = panel.x_range;
    let ticks: Vec<String> = integer_ticks(from, to).into_iter().map(number).collect();
    let mode = if axis.scale == Scale::Log { ", ymode=log" } else { "" };
    let margin = if from < to { 0.03 * (to - from) } else { 0.5 };
    let _ = writeln!(
        out,
        "\\nextgroupplot[title={{{}}}, xlabel={{{}}}, ylabel={{{}}}, xmin={}, xmax={}, ymin={}, ymax={}, xtick={{{}}}{mode}]",
        tex_escape(&panel.title),
        tex_escape(&panel.x_label),
        tex_escape(&panel.y_label),
        number(from - margin),
        number(to + margin),
        number(axis.low),
        number(axis.high),
        ticks.join(","),
    );
    for (x, word) in &panel.rules {
        let _ = writeln!(
            out,
            "\\addplot[gray, densely dotted, forget plot] coordinates {{({x},{low}) ({x},{high})}} node[pos=1, anchor=north \
             west, font=\\tiny] {{{}}};",
            tex_escape(word),
            x = number(*x),
            low = number(axis.low),
            high = number(axis.high),
        );
    }
    for line in &panel.lines {
        band(out, line, axis.scale);
    }
    for line in &panel.lines {
        curve(out, line, axis.scale);
    }
}

/// Returns whether the value can be drawn on the axis.
fn drawable(y: f64, scale: Scale) -> bool {
    y.is_finite() && (scale == Scale::Linear || y > 0.0)
}

fn band(out: &mut String, line: &Line, scale: Scale) {
    let edges: Vec<_> =
        line.band.iter().filter(|(_, low, high)| drawable(*low, scale) && drawable(*high, scale)).collect();
    if edges.len() < 2 {
        return;
    }
    let lower = edges.iter().map(|(x, low, _)| point(*x, *low));
    let upper = edges.iter().rev().map(|(x, _, high)| point(*x, *high));
    let _ = writeln!(
        out,
        "\\addplot[draw=none, fill=lrlab{}, fill opacity=0.15, forget plot] coordinates {{{}}};",
        line.color % PALETTE.len(),
        lower.chain(upper).collect::<Vec<_>>().join(" ")
    );
}

fn curve(out: &mut String, line: &Line, scale: Scale) {
    let points: Vec<String> =
        line.points.iter().filter(|(_, y)| drawable(*y, scale)).map(|(x, y)| point(*x, *y)).collect();
    if points.is_empty() {
        return;
    }
    let color = line.color % PALETTE.len();
    let mut options = format!("lrlab{color}");
    if line.dash == Dash::Dashed {
        options.push_str(", dashed");
    }
    options.push_str(if line.diverged { ", thin" } else { ", thick" });
    if !line.joined {
        options.push_str(", only marks");
    }
    if line.marks || !line.joined {
        let _ = write!(options, ", mark={}, mark size=1.2pt, mark options=solid", MARKS[color]);
    } else {
        options.push_str(", mark=none");
    }
    if line.label.is_empty() {
        options.push_str(", forget plot");
    }
    let cross = if line.diverged { " node[pos=1] {$\\times$}" } else { "" };
    let _ = writeln!(out, "\\addplot[{options}] coordinates {{{}}}{cross};", points.join(" "));
    if !line.label.is_empty() {
        let _ = writeln!(out, "\\addlegendentry{{{}}}", tex_escape(&line.label));
    }
}

/// The forest plot as a LaTeX file with a `tikzpicture`.
pub(crate) fn forest_pgfplots(forest: &Forest) -> String {
    let mut out = colors();
    let rows: usize = forest.groups.iter().map(|group| group.rows.len() + 1).sum();
    let _ = writeln!(
        out,
        "\\begin{{groupplot}}[group style={{group size={} by 1, horizontal sep=4mm}}, width=55mm, \
         height={}mm, ymin=0.5, ymax={}, y dir=reverse, tick align=outside, tick pos=left, \
         label style={{font=\\footnotesize}}, tick label style={{font=\\footnotesize}}, \
         scaled x ticks=false, xmajorgrids, grid style={{gray!25}}, ytick={{{}}}, yticklabels={{}}, clip=false]",
        forest.metrics.len().max(1),
        30 + 4 * rows,
        rows as f64 + 0.5,
        (1..=rows).map(|row| row.to_string()).collect::<Vec<_>>().join(","),
    );
    for (panel, metric) in forest.metrics.iter().enumerate() {
        let _ = writeln!(out, "\\nextgroupplot[xlabel={{{}}}]", tex_escape(&title(*metric, true)));
        let _ =
            writeln!(out, "\\addplot[black, forget plot] coordinates {{(0,0.5) (0,{})}};", rows as f64 + 0.5);
        if panel == 0 {
            for (row, label) in labels(forest).into_iter().enumerate() {
                let _ = writeln!(
                    out,
                    "\\node[anchor=east, font=\\footnotesize] at ({{rel axis cs:-0.03,0}} |- {{axis cs:0,{}}}) {label};",
                    row + 1
                );
            }
        }
        let factor = metric.unit().factor();
        let mut row = 0;
        for group in &forest.groups {
            row += 1;
            for arm in &group.rows {
                row += 1;
                let Some(it) = arm.points.get(panel).copied().flatten() else { continue };
                let (color, full) = look(it.finding);
                let fill = if full { format!("lrlab{color}") } else { "white".to_owned() };
                let (low, high) = it.interval.unwrap_or((it.mean, it.mean));
                let _ = writeln!(
                    out,
                    "\\addplot[lrlab{color}, mark={}, mark size=1.5pt, mark options={{fill={fill}}}, error bars/.cd, x dir=both, \
                     x explicit] coordinates {{({mean},{row}) += ({above},0) -= ({below},0)}};",
                    MARKS[color],
                    mean = number(factor * it.mean),
                    above = number(factor * (high - it.mean)),
                    below = number(factor * (it.mean - low)),
                );
            }
        }
    }
    file(FOREST, out)
}

/// The title of each group, followed by the labels of its rows.
fn labels(forest: &Forest) -> Vec<String> {
    let of_group = |group: &super::ForestGroup| {
        let title = format!("{{\\textbf{{{}}}}}", tex_escape(&group.title));
        std::iter::once(title)
            .chain(group.rows.iter().map(|row| format!("{{{}}}", tex_escape(&row.label))))
            .collect::<Vec<_>>()
    };
    forest.groups.iter().flat_map(of_group).collect()
}

fn point(x: f64, y: f64) -> String {
    format!("({},{})", number(x), number(y))
}

/// Formats a number with six significant digits.
fn number(x: f64) -> String {
    let text = format!("{x:.5e}");
    let rounded: f64 = text.parse().unwrap_or(x);
    if rounded == 0.0 || (1e-4..1e6).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}
