//! Drawing a figure as SVG 1.1: no scripts, no fonts, no links. Colours are attributes, so that the file stands
//! alone; classes (`ink`, `grid`, `paper`, `s0` … strokes, `f0` … fills) let a dark page override them.

use std::fmt::Write;

use super::axis::{Axis, integer_ticks};
use super::paint::{escape, fill, index, shortened, stroke, text, text_width};
use super::{Figure, Line, PALETTE, Panel, Scale, mark};

/// Width and height of the area between the axes.
const AREA: (f64, f64) = (240.0, 190.0);
/// Left, above and below the area. To its right stand the names of the lines.
const LEFT: f64 = 58.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;
/// Panels side by side.
const PER_ROW: usize = 3;
/// Letters: a panel is at most 412 wide, so that on a phone, 358 wide, none is smaller than 9.
const SIZE: f64 = 11.0;
/// Room for names, at most.
const NAMES: f64 = 96.0;
/// The least distance between names.
const APART: f64 = 13.0;

/// The whole file.
pub(crate) fn svg(figure: &Figure) -> String {
    let (width, height) = cell(figure);
    let columns = figure.panels.len().clamp(1, PER_ROW);
    let rows = figure.panels.len().div_ceil(columns).max(1);
    let at = |i: usize| ((i % columns) as f64 * width, (i / columns) as f64 * height);
    let axes = axes(figure);
    let mut body = String::new();
    for (i, axis) in axes.into_iter().enumerate() {
        draw(&mut body, figure, i, axis, at(i));
    }
    document(figure, (columns as f64 * width, rows as f64 * height), &body)
}

/// Each panel as a drawing of its own, one after the other: a page lays them out as its width allows.
pub(crate) fn panels(figure: &Figure) -> String {
    let mut out = String::new();
    for (i, axis) in axes(figure).into_iter().enumerate() {
        let mut body = String::new();
        draw(&mut body, figure, i, axis, (0.0, 0.0));
        out.push_str(&document(figure, cell(figure), &body));
    }
    out
}

fn document(figure: &Figure, (width, height): (f64, f64), body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n\
         <rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n",
        escape(&figure.title),
        escape(&figure.caption)
    )
}

fn draw(out: &mut String, figure: &Figure, panel: usize, axis: Axis, (x, y): (f64, f64)) {
    let clip = format!("clip-{}-{panel}", figure.name);
    let panel = &figure.panels[panel];
    let (width, height) = AREA;
    Drawing { panel, x: x + LEFT, y: y + ABOVE, width, height, axis }.draw(out, &clip);
}

/// Width and height of a panel with its margins.
fn cell(figure: &Figure) -> (f64, f64) {
    let lines = figure.panels.iter().flat_map(|panel| &panel.lines);
    let names = lines.map(|line| text_width(&line.label, SIZE)).fold(0.0, f64::max).min(NAMES);
    (LEFT + AREA.0 + 18.0 + names, ABOVE + AREA.1 + BELOW)
}

/// The axes of the panels. Panels of one quantity, small multiples, share theirs.
fn axes(figure: &Figure) -> Vec<Axis> {
    let panels: Vec<&Panel> = figure.panels.iter().collect();
    let shared = panels.windows(2).all(|pair| {
        (&pair[0].y_label, pair[0].y_scale) == (&pair[1].y_label, pair[1].y_scale) && !figure.paper
    });
    if shared && !panels.is_empty() {
        return vec![axis(&panels); panels.len()];
    }
    panels.iter().map(|panel| axis(std::slice::from_ref(panel))).collect()
}

/// The axis of panels. Runs that diverged do not squeeze the others: they get a half more room, and leave it.
fn axis(panels: &[&Panel]) -> Axis {
    let of = |line: &Line| -> Vec<f64> {
        line.points.iter().map(|p| p.1).chain(line.band.iter().flat_map(|b| [b.1, b.2])).collect()
    };
    let lines = panels.iter().flat_map(|panel| &panel.lines);
    let (wild, tame): (Vec<&Line>, Vec<&Line>) = lines.partition(|line| line.diverged);
    let mut values: Vec<f64> = tame.into_iter().flat_map(of).collect();
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(*y), high.max(*y)));
    let room = if low < high { 0.5 * (high - low) } else { f64::INFINITY };
    values.extend(wild.into_iter().flat_map(of).map(|y| y.clamp(low.min(high) - room, high.max(low) + room)));
    let (scale, bounds) = panels.first().map_or((Scale::Linear, (None, None)), |p| (p.y_scale, p.y_bounds));
    Axis::around(values.into_iter(), scale, bounds)
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
        self.names(out);
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
            text(out, x - 7.0, at + 3.6, "end", SIZE, label);
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
            text(out, at, bottom + 15.0, "middle", SIZE, &format!("{tick:.0}"));
        }
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{x:.2} {y:.2}V{:.2}H{:.2}\" fill=\"none\" stroke=\"#1a1a1a\" \
             stroke-width=\"0.9\"/>",
            y + height,
            x + width
        );
    }

    /// The name of each line at its end, with its mark or a piece of it; names that would overlap stand below each other.
    fn names(&self, out: &mut String) {
        let mut ends: Vec<(f64, &Line)> = Vec::new();
        for line in self.panel.lines.iter().filter(|line| !line.label.is_empty()) {
            let Some((x, y)) = line.points.last() else { continue };
            if ends.iter().all(|(_, other)| (&other.label, other.dash) != (&line.label, line.dash)) {
                ends.push((self.at(*x, *y).1.clamp(self.y, self.y + self.height), line));
            }
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut above = f64::NEG_INFINITY;
        for (y, _) in &mut ends {
            *y = y.max(above + APART);
            above = *y;
        }
        // What went below the area moves up again.
        let mut below = self.y + self.height + APART;
        for (y, _) in ends.iter_mut().rev() {
            *y = y.min(below - APART);
            below = *y;
        }
        let x = self.x + self.width;
        for (y, line) in ends {
            if line.marks || line.points.len() == 1 {
                mark::mark(out, line.color, x + 7.0, y, 3.0, &fill(line));
            } else {
                let (from, to) = (x + 2.0, x + 12.0);
                let _ = writeln!(
                    out,
                    "<line x1=\"{from:.2}\" x2=\"{to:.2}\" y1=\"{y:.2}\" y2=\"{y:.2}\" {}/>",
                    stroke(line)
                );
            }
            text(out, x + 14.0, y + 3.8, "start", SIZE, &shortened(&line.label, NAMES, SIZE));
        }
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
        text(out, px + dx, self.y + 9.0, anchor, SIZE, word);
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
