//! Draws figures as SVG 1.1 without scripts, fonts or links. Elements are styled by classes (see `paint`), which a page
//! defines once and overrides in dark mode.

use std::fmt::Write;

use super::axis::{Axis, integer_ticks};
use super::paint::{self, Anchor, SIZE, escape, fill, index, shortened, stroke, text, text_width, texts};
use super::path::{Path, short};
use super::{Figure, Line, Panel, Scale, mark};
use crate::table::fixed;

/// Width and height of the area between the axes.
const AREA: (f64, f64) = (240.0, 190.0);
/// Margins to the left of, above and below the area. The line labels are to its right.
const LEFT: f64 = 58.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;
/// Panels side by side.
const PER_ROW: usize = 3;
/// Maximum width of line labels. It limits a panel to 412 px, so that text is at least 9 px high on a 358 px wide phone.
const NAMES: f64 = 96.0;
/// Minimum vertical distance between labels.
const APART: f64 = 13.0;

/// The figure as an SVG file.
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
    let size = (columns as f64 * width, rows as f64 * height);
    paint::document(size, &figure.title, Some(&figure.caption), &body)
}

/// Each panel as a separate `<svg>` element, for a page that arranges them by its width.
pub(crate) fn panels(figure: &Figure) -> String {
    let mut out = String::new();
    for (i, axis) in axes(figure).into_iter().enumerate() {
        let mut body = String::new();
        draw(&mut body, figure, i, axis, (0.0, 0.0));
        out.push_str(&paint::document(cell(figure), &figure.title, None, &body));
    }
    out
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

/// The vertical axis of each panel. Small multiples (panels of the same quantity) share one.
pub(super) fn axes(figure: &Figure) -> Vec<Axis> {
    let panels: Vec<&Panel> = figure.panels.iter().collect();
    let shared = panels.windows(2).all(|pair| {
        (&pair[0].y_label, pair[0].y_scale) == (&pair[1].y_label, pair[1].y_scale) && !figure.paper
    });
    if shared && !panels.is_empty() {
        return vec![axis(&panels); panels.len()];
    }
    panels.iter().map(|panel| axis(std::slice::from_ref(panel))).collect()
}

/// The common vertical axis of panels. Diverged runs, an outlying first epoch and the end of a rate that decays to zero
/// extend the range by a limited amount only; beyond it they are clipped.
fn axis(panels: &[&Panel]) -> Axis {
    let scale = panels.first().map_or(Scale::Linear, |panel| panel.y_scale);
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let least = match scale {
        Scale::Log => lines().filter_map(lasting_low).min_by(f64::total_cmp),
        Scale::Linear => None,
    };
    let least = least.unwrap_or(f64::NEG_INFINITY);
    let of = |line: &Line| -> Vec<(f64, f64)> {
        let band = line.band.iter().flat_map(|b| [(b.0, b.1), (b.0, b.2)]);
        line.points.iter().copied().chain(band).filter(|(_, y)| *y >= least).collect()
    };
    let (diverged, finite): (Vec<&Line>, Vec<&Line>) = lines().partition(|line| line.diverged);
    let finite: Vec<(f64, f64)> = finite.into_iter().flat_map(of).collect();
    // Epochs count from 1.
    let epochs = panels.iter().all(|panel| panel.x_range.0 >= 1.0);
    let mut values = if epochs && scale == Scale::Linear {
        limit_first_epoch(&finite)
    } else {
        finite.iter().map(|p| p.1).collect()
    };
    let (low, high) = range(values.iter().copied());
    let margin = if low < high { 0.5 * (high - low) } else { f64::INFINITY };
    let diverged = diverged.into_iter().flat_map(of).map(|(_, y)| y);
    values.extend(diverged.map(|y| y.clamp(low.min(high) - margin, high.max(low) + margin)));
    let bounds = panels.first().map_or((None, None), |panel| panel.y_bounds);
    Axis::around(values.into_iter(), scale, bounds)
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)))
}

/// The minimum number of epochs for which an outlying first epoch is clipped.
const MANY: usize = 5;

/// The values that determine an axis. If the first epoch would take more than half of the axis, its values are clamped to
/// a fifth of the range of the others beyond it.
fn limit_first_epoch(points: &[(f64, f64)]) -> Vec<f64> {
    let mut epochs: Vec<f64> = points.iter().map(|p| p.0).collect();
    epochs.sort_by(f64::total_cmp);
    epochs.dedup();
    let all = points.iter().map(|p| p.1);
    if epochs.len() < MANY {
        return all.collect();
    }
    let (low, high) = range(points.iter().filter(|p| p.0 > epochs[0]).map(|p| p.1));
    let size = high - low;
    let (floor, ceiling) = range(all.clone());
    let cut = |beyond: f64| if beyond > size { 0.2 * size } else { beyond };
    let (floor, ceiling) = (low - cut(low - floor), high + cut(ceiling - high));
    all.map(|y| y.clamp(floor.min(low), ceiling.max(high))).collect()
}

/// The value below which a line spends at most 3 % of its length. A rate that decays to zero passes through every power of
/// ten in its last updates; these would stretch a log axis.
fn lasting_low(line: &Line) -> Option<f64> {
    const SHARE: f64 = 0.03;
    let mut pieces: Vec<(f64, f64)> =
        line.points.windows(2).map(|pair| (pair[0].1.min(pair[1].1), pair[1].0 - pair[0].0)).collect();
    pieces.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut left = SHARE * pieces.iter().map(|piece| piece.1).sum::<f64>();
    let lasting = pieces.iter().find(|(_, width)| {
        left -= width;
        left < 0.0
    });
    lasting.map(|piece| piece.0).filter(|y| *y > 0.0)
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
        self.grid(out);
        let clipped = self.exceeds_area();
        if clipped {
            let corner = (short(self.x - 4.0), short(self.y - 4.0));
            let size = (short(self.width + 8.0), short(self.height + 8.0));
            let _ = writeln!(
                out,
                "<clipPath id=\"{clip}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n\
                 <g clip-path=\"url(#{clip})\">",
                corner.0, corner.1, size.0, size.1
            );
        }
        for (at, word) in &self.panel.rules {
            self.rule(out, *at, word);
        }
        for line in &self.panel.lines {
            self.band(out, line);
        }
        for line in &self.panel.lines {
            self.line(out, line);
        }
        if clipped {
            out.push_str("</g>\n");
        }
        self.names(out);
        self.labels(out);
        self.first_epoch(out);
    }

    /// Annotates a clipped first epoch with the range of its means.
    fn first_epoch(&self, out: &mut String) {
        let first = self.panel.x_range.0;
        let later = self.panel.lines.iter().flat_map(|line| &line.points).map(|p| p.0).filter(|x| *x > first);
        let second = later.fold(f64::INFINITY, f64::min).min(self.panel.x_range.1);
        let lines = self.panel.lines.iter().filter(|line| !line.diverged && line.joined);
        let means: Vec<f64> =
            lines.filter_map(|line| line.points.first()).filter(|p| p.0 == first).map(|p| p.1).collect();
        let (low, high) = range(means.iter().copied());
        let (above, below) = (high > self.axis.high, low < self.axis.low);
        if self.axis.scale == Scale::Log || !(above || below) {
            return;
        }
        let digits = if high.abs() < 10.0 { 2 } else { 1 };
        let [from, to] = [low, high].map(|y| fixed(y, digits));
        let span = if from == to { from } else { format!("{from}–{to}") };
        let (sign, y) = if above {
            ('↑', self.y + if self.panel.rules.is_empty() { 9.0 } else { 22.0 })
        } else {
            ('↓', self.y + self.height - 4.0)
        };
        text(
            out,
            self.at(second, self.axis.low).0 + 5.0,
            y,
            Anchor::Start,
            10.0,
            &format!("{sign} epoch {first}: {span}"),
        );
    }

    /// Returns whether a line or band exceeds the upper or lower edge of the area.
    fn exceeds_area(&self) -> bool {
        let lines = self.panel.lines.iter();
        let mut values = lines.flat_map(|line| {
            line.points.iter().map(|p| p.1).chain(line.band.iter().flat_map(|b| [b.1, b.2]))
        });
        values.any(|y| !(0.0..=1.0).contains(&self.axis.fraction(y)))
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (low, high) = self.panel.x_range;
        // A single epoch is centred.
        let across = if high > low { (x - low) / (high - low) } else { 0.5 + (x - low) };
        let inset = if low > 0.0 { 8.0 } else { 0.0 };
        let y = self.axis.fraction(y).clamp(-20.0, 20.0);
        (self.x + inset + across * (self.width - 2.0 * inset), self.y + self.height * (1.0 - y))
    }

    fn grid(&self, out: &mut String) {
        let Self { x, y, width, height, .. } = *self;
        let (right, bottom) = (x + width, y + height);
        let mut grid = Path::default();
        for (value, _) in &self.axis.ticks {
            let (_, at) = self.at(self.panel.x_range.0, *value);
            grid.start((x, at));
            grid.line_to((right, at));
        }
        paint::path(out, "grid", &grid);
        let labels = self.axis.ticks.iter().map(|(value, label)| {
            let (_, at) = self.at(self.panel.x_range.0, *value);
            (x - 7.0, at + 3.6, label.clone())
        });
        texts(out, Anchor::End, labels);
        let mut axis = Path::through([(x, y), (x, bottom), (right, bottom)]);
        let ticks = integer_ticks(self.panel.x_range.0, self.panel.x_range.1).into_iter().map(|tick| {
            let (at, _) = self.at(tick, self.axis.low);
            axis.start((at, bottom));
            axis.line_to((at, bottom + 4.0));
            (at, bottom + 15.0, format!("{tick:.0}"))
        });
        texts(out, Anchor::Middle, ticks);
        paint::path(out, "axis", &axis);
    }

    /// Draws the label of each line at its end, with a sample of the line; labels that would overlap are moved apart.
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
        // Moves labels below the area up again.
        let mut below = self.y + self.height + APART;
        for (y, _) in ends.iter_mut().rev() {
            *y = y.min(below - APART);
            below = *y;
        }
        let x = self.x + self.width;
        for (y, line) in ends {
            if line.marks || line.points.len() == 1 {
                let mut sample = Path::default();
                mark::mark(&mut sample, line.color, x + 7.0, y, 3.0);
                paint::path(out, &fill(line), &sample);
            } else {
                paint::path(out, &stroke(line), &Path::through([(x + 2.0, y), (x + 12.0, y)]));
            }
            text(out, x + 14.0, y + 3.8, Anchor::Start, SIZE, &shortened(&line.label, NAMES, SIZE));
        }
    }

    fn labels(&self, out: &mut String) {
        let Self { x, y, width, height, panel, .. } = *self;
        text(out, x + width / 2.0, y - 10.0, Anchor::Middle, 12.0, &panel.title);
        text(out, x + width / 2.0, y + height + 32.0, Anchor::Middle, 11.5, &panel.x_label);
        let (tx, ty) = (short(x - 44.0), short(y + height / 2.0));
        let _ = writeln!(
            out,
            "<text transform=\"translate({tx} {ty}) rotate(-90)\" text-anchor=\"middle\" \
             font-size=\"11.5\">{}</text>",
            escape(&panel.y_label)
        );
    }

    fn rule(&self, out: &mut String, at: f64, word: &str) {
        let (px, _) = self.at(at, self.axis.low);
        paint::path(out, "axis rule", &Path::through([(px, self.y), (px, self.y + self.height)]));
        let left = px > self.x + 0.6 * self.width;
        let (anchor, dx) = if left { (Anchor::End, -5.0) } else { (Anchor::Start, 5.0) };
        text(out, px + dx, self.y + 9.0, anchor, SIZE, word);
    }

    fn band(&self, out: &mut String, line: &Line) {
        if line.band.len() < 2 {
            // The band of a single point is drawn as an error bar.
            let mut bar = Path::default();
            for (x, low, high) in &line.band {
                let ((px, a), (_, b)) = (self.at(*x, *low), self.at(*x, *high));
                for (from, to) in
                    [((px, a), (px, b)), ((px - 4.0, a), (px + 4.0, a)), ((px - 4.0, b), (px + 4.0, b))]
                {
                    bar.start(from);
                    bar.line_to(to);
                }
            }
            return paint::path(out, &format!("e s{}", index(line)), &bar);
        }
        let upper = line.band.iter().map(|(x, _, high)| self.at(*x, *high));
        let lower = line.band.iter().rev().map(|(x, low, _)| self.at(*x, *low));
        paint::path(out, &format!("b f{}", index(line)), &Path::through(upper.chain(lower)));
    }

    fn line(&self, out: &mut String, line: &Line) {
        let at: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| self.at(*x, *y)).collect();
        if at.len() > 1 && line.joined {
            paint::path(out, &stroke(line), &Path::through(at.iter().copied()));
        }
        if line.marks || at.len() == 1 {
            let (r, mut marks) = (if at.len() == 1 { 3.6 } else { 2.3 }, Path::default());
            for (x, y) in &at {
                mark::mark(&mut marks, line.color, *x, *y, r);
            }
            paint::path(out, &fill(line), &marks);
        }
        if let (true, Some((x, y))) = (line.diverged, at.last()) {
            // The cross of a run that exceeds the panel is drawn at the panel's edge.
            let mut cross = Path::default();
            mark::cross(&mut cross, *x, y.clamp(self.y, self.y + self.height));
            paint::path(out, &format!("l s{}", index(line)), &cross);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlying_first_epochs_are_clipped() {
        let check = |values: &[f64], expected: (f64, f64)| {
            let points: Vec<(f64, f64)> = (1..).map(f64::from).zip(values.iter().copied()).collect();
            let (low, high) = range(limit_first_epoch(&points).into_iter());
            assert!(
                (low - expected.0).abs() < 1e-9 && (high - expected.1).abs() < 1e-9,
                "{values:?}: {low}–{high}"
            );
        };
        check(&[9.0, 2.0, 1.5, 1.0, 1.2], (1.0, 2.2));
        check(&[1.0, 70.0, 74.0, 75.0, 80.0], (68.0, 80.0));
        check(&[68.0, 81.0, 88.0, 94.0, 99.0], (68.0, 99.0));
        // A first epoch that takes less than half of the axis, and a run of too few epochs.
        check(&[2.5, 2.0, 1.5, 1.0, 1.2], (1.0, 2.5));
        check(&[9.0, 2.0, 1.5, 1.0], (1.0, 9.0));
        check(&[1.0, 1.0, 1.0, 1.0, 1.0], (1.0, 1.0));
    }

    #[test]
    fn decay_to_zero_does_not_stretch_the_log_axis() {
        let line = |points: Vec<(f64, f64)>| Line {
            label: String::new(),
            color: 0,
            dash: super::super::Dash::Solid,
            points,
            band: Vec::new(),
            diverged: false,
            marks: false,
            joined: true,
        };
        let cosine = (0..=1000).map(|i| {
            let share = f64::from(i) / 1000.0;
            (20.0 * share, 0.05 * (1.0 + (std::f64::consts::PI * share).cos()))
        });
        let low = lasting_low(&line(cosine.collect())).unwrap();
        assert!((1e-4..3e-4).contains(&low), "{low}");
        // A lasting low rate is shown.
        let step = vec![(0.0, 0.1), (8.0, 0.1), (8.0, 1e-5), (10.0, 1e-5)];
        assert_eq!(lasting_low(&line(step)), Some(1e-5));
    }
}
