//! Drawing a figure as SVG 1.1: no scripts, no fonts, no links. Colours are attributes, so that the file stands
//! alone; classes (`ink`, `grid`, `paper`, `s0` … strokes, `f0` … fills) let a dark page override them.

use std::fmt::Write;

use super::axis::{Axis, integer_ticks};
use super::paint::{escape, fill, index, stroke, text};
use super::{Figure, Line, PALETTE, Panel, legend, mark};

/// Width and height of the area between the axes.
const AREA: (f64, f64) = (262.0, 190.0);
/// Left, right, above and below the area.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;
const PER_ROW: usize = 3;

/// The whole file.
pub(crate) fn svg(figure: &Figure) -> String {
    let columns = figure.panels.len().clamp(1, PER_ROW);
    // A figure of one panel is drawn wider: its legend needs the room, and a page has it.
    let area = if columns == 1 { (540.0, 270.0) } else { AREA };
    let (cell_width, cell_height) = (LEFT + area.0 + RIGHT, ABOVE + area.1 + BELOW);
    let rows = figure.panels.len().div_ceil(columns).max(1);
    let width = columns as f64 * cell_width;
    let top = rows as f64 * cell_height;
    let height = top + legend::height(figure, width);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n\
         <rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n",
        escape(&figure.title),
        escape(&figure.caption)
    );
    for (i, panel) in figure.panels.iter().enumerate() {
        let x = (i % columns) as f64 * cell_width + LEFT;
        let y = (i / columns) as f64 * cell_height + ABOVE;
        let clip = format!("clip-{}-{i}", figure.name);
        Drawing { panel, x, y, width: area.0, height: area.1, axis: axis(panel) }.draw(&mut out, &clip);
    }
    legend::draw(&mut out, figure, width, top);
    out.push_str("</svg>\n");
    out
}

/// The axis of a panel. Runs that diverged do not squeeze the others: they get a half more room, and leave it.
fn axis(panel: &Panel) -> Axis {
    let of = |line: &Line| -> Vec<f64> {
        line.points.iter().map(|p| p.1).chain(line.band.iter().flat_map(|b| [b.1, b.2])).collect()
    };
    let (wild, tame): (Vec<&Line>, Vec<&Line>) = panel.lines.iter().partition(|line| line.diverged);
    let mut values: Vec<f64> = tame.into_iter().flat_map(of).collect();
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    let room = if low < high { 0.5 * (high - low) } else { f64::INFINITY };
    values.extend(wild.into_iter().flat_map(of).map(|y| y.clamp(low.min(high) - room, high.max(low) + room)));
    Axis::around(values.into_iter(), panel.y_scale, panel.y_bounds)
}

struct Drawing<'a> {
    panel: &'a Panel,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    axis: Axis,
}

impl Drawing<'_> {
    fn draw(&self, out: &mut String, clip: &str) {
        let Self { x, y, width, height, .. } = *self;
        let _ = writeln!(
            out,
            "<clipPath id=\"{clip}\"><rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"/></clipPath>",
            x - 4.0,
            y - 4.0,
            width + 8.0,
            height + 8.0
        );
        self.grid(out);
        let _ = writeln!(out, "<g clip-path=\"url(#{clip})\">");
        for (at, word) in &self.panel.rules {
            self.rule(out, *at, word);
        }
        for line in &self.panel.lines {
            self.band(out, line);
        }
        for line in &self.panel.lines {
            self.line(out, line);
        }
        out.push_str("</g>\n");
        self.labels(out);
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (low, high) = self.panel.x_range;
        // A single epoch stands in the middle.
        let across = if high > low { (x - low) / (high - low) } else { 0.5 + (x - low) };
        let inset = if low > 0.0 { 8.0 } else { 0.0 };
        let y = self.axis.fraction(y).clamp(-20.0, 20.0);
        (self.x + inset + across * (self.width - 2.0 * inset), self.y + self.height * (1.0 - y))
    }

    fn grid(&self, out: &mut String) {
        let Self { x, y, width, height, .. } = *self;
        for (value, label) in &self.axis.ticks {
            let (_, at) = self.at(self.panel.x_range.0, *value);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.2}\" x2=\"{:.2}\" y1=\"{at:.2}\" y2=\"{at:.2}\" stroke=\"#e4e4e4\" \
                 stroke-width=\"0.8\"/>",
                x + width
            );
            text(out, x - 7.0, at + 3.6, "end", 10.5, label);
        }
        for tick in integer_ticks(self.panel.x_range.0, self.panel.x_range.1) {
            let (at, _) = self.at(tick, self.axis.low);
            let bottom = y + height;
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{at:.2}\" x2=\"{at:.2}\" y1=\"{bottom:.2}\" y2=\"{:.2}\" \
                 stroke=\"#1a1a1a\" stroke-width=\"0.8\"/>",
                bottom + 4.0
            );
            text(out, at, bottom + 15.0, "middle", 10.5, &format!("{tick:.0}"));
        }
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{x:.2} {y:.2}V{:.2}H{:.2}\" fill=\"none\" stroke=\"#1a1a1a\" \
             stroke-width=\"0.9\"/>",
            y + height,
            x + width
        );
    }

    fn labels(&self, out: &mut String) {
        let Self { x, y, width, height, panel, .. } = *self;
        text(out, x + width / 2.0, y - 10.0, "middle", 12.0, &panel.title);
        text(out, x + width / 2.0, y + height + 32.0, "middle", 11.5, &panel.x_label);
        let (tx, ty) = (x - 44.0, y + height / 2.0);
        let _ = writeln!(
            out,
            "<text class=\"ink\" transform=\"translate({tx:.2} {ty:.2}) rotate(-90)\" text-anchor=\"middle\" \
             font-size=\"11.5\" fill=\"#1a1a1a\">{}</text>",
            escape(&panel.y_label)
        );
    }

    fn rule(&self, out: &mut String, at: f64, word: &str) {
        let (px, _) = self.at(at, self.axis.low);
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{px:.2}\" x2=\"{px:.2}\" y1=\"{:.2}\" y2=\"{:.2}\" stroke=\"#1a1a1a\" \
             stroke-width=\"0.9\" stroke-dasharray=\"1.5 3\"/>",
            self.y,
            self.y + self.height
        );
        let left = px > self.x + 0.6 * self.width;
        let (anchor, dx) = if left { ("end", -5.0) } else { ("start", 5.0) };
        text(out, px + dx, self.y + 9.0, anchor, 10.0, word);
    }

    fn band(&self, out: &mut String, line: &Line) {
        if line.band.len() < 2 {
            // The spread of a single point is an error bar.
            for (x, low, high) in &line.band {
                let ((px, a), (_, b)) = (self.at(*x, *low), self.at(*x, *high));
                let stroke = format!("class=\"s{0}\" stroke=\"{1}\"", index(line), PALETTE[index(line)]);
                let _ = writeln!(
                    out,
                    "<path d=\"M{px:.2} {a:.2}V{b:.2}M{l:.2} {a:.2}h8M{l:.2} {b:.2}h8\" fill=\"none\" {stroke} \
                     stroke-width=\"1.2\"/>",
                    l = px - 4.0
                );
            }
            return;
        }
        let upper = line.band.iter().map(|(x, _, high)| self.at(*x, *high));
        let lower = line.band.iter().rev().map(|(x, low, _)| self.at(*x, *low));
        let corners: Vec<String> = upper.chain(lower).map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
        let _ = writeln!(
            out,
            "<polygon points=\"{}\" class=\"f{}\" fill=\"{}\" fill-opacity=\"0.13\"/>",
            corners.join(" "),
            index(line),
            PALETTE[index(line)]
        );
    }

    fn line(&self, out: &mut String, line: &Line) {
        let at: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| self.at(*x, *y)).collect();
        if at.len() > 1 && line.joined {
            let path: Vec<String> = at.iter().map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
            let _ = writeln!(out, "<polyline points=\"{}\" fill=\"none\" {}/>", path.join(" "), stroke(line));
        }
        let colour = PALETTE[index(line)];
        if line.marks || at.len() == 1 {
            let (r, style) = (if at.len() == 1 { 3.6 } else { 2.3 }, fill(line));
            for (x, y) in &at {
                mark::mark(out, line.color, *x, *y, r, &style);
            }
        }
        if let (true, Some((x, y))) = (line.diverged, at.last()) {
            // A run that left the panel ends at its edge.
            mark::cross(
                out,
                *x,
                y.clamp(self.y, self.y + self.height),
                &format!("class=\"s{}\" stroke=\"{colour}\"", index(line)),
            );
        }
    }
}
