//! Plots of rates and other curves, as SVG and as text for terminals.

#![allow(clippy::disallowed_methods, reason = "plots do not affect runs")]

use std::fmt::Write;

/// A curve as SVG of 640 × 320 in the text colour of the page.
///
/// If there are more points than columns, the range of each column is drawn, so that no peak is lost. Points that are not
/// finite are omitted, and values outside `y` are drawn at its edge.
///
/// ```
/// let curve = lrlab_schedulers::Curve {
///     title: "loss by rate", points: &[(1e-4, 2.3), (1e-2, 1.1), (1.0, 4.0)], x: ("rate", true), y: (0.0, 4.0), mark: Some(1e-2),
/// };
/// assert!(curve.svg().contains("<polyline"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// The title.
    pub title: &'a str,
    /// The points in the order of x.
    pub points: &'a [(f64, f64)],
    /// The label of the horizontal axis, and whether it is logarithmic (then x > 0).
    pub x: (&'a str, bool),
    /// The bounds of the vertical axis.
    pub y: (f64, f64),
    /// The x of a vertical line, if it is finite.
    pub mark: Option<f64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 40.0;

impl Curve<'_> {
    /// Returns the SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let points: Vec<(f64, f64)> = self.points.iter().copied().filter(finite).collect();
        let along = |x: f64| if self.x.1 { x.max(f64::MIN_POSITIVE).log10() } else { x };
        let (begin, end) = match (points.first(), points.last()) {
            (Some(first), Some(last)) => range(along(first.0), along(last.0)),
            _ => (0.0, 1.0),
        };
        let (low, high) = range(self.y.0, self.y.1);
        let x = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * ((along(x) - begin) / (end - begin)).clamp(0.0, 1.0);
        let y =
            |y: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((y - low) / (high - low)).clamp(0.0, 1.0);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"currentColor\">\n\
             <title>{0}</title>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{0}</text>\n",
            escape(self.title)
        );
        for step in 0..=4 {
            let value = low + (high - low) * f64::from(step) / 4.0;
            let (line, label) = (y(value), y(value) + 4.0);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"currentColor\" \
                 stroke-opacity=\"0.2\"/>\n<text x=\"{}\" y=\"{label:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                short(value)
            );
        }
        for (tick, label) in self.ticks(begin, end) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                x(tick),
                HEIGHT - BOTTOM + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 6.0,
            escape(self.x.0)
        );
        if let Some(mark) = self.mark.filter(|mark| mark.is_finite()) {
            let _ = writeln!(
                svg,
                "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1}\" stroke=\"#dc2626\" \
                 stroke-dasharray=\"4 3\"/>\n<text x=\"{0:.1}\" y=\"{2}\" fill=\"#dc2626\" \
                 text-anchor=\"middle\">{3}</text>",
                x(mark),
                HEIGHT - BOTTOM,
                TOP - 2.0,
                short(mark)
            );
        }
        svg.push_str("<polyline fill=\"none\" stroke=\"#2563eb\" stroke-width=\"1.5\" points=\"");
        for (at, value) in thinned(points, 1000) {
            let _ = write!(svg, "{:.2},{:.2} ", x(at), y(value));
        }
        svg.push_str("\"/>\n</svg>\n");
        svg
    }

    /// Returns the labelled positions of the horizontal axis with their labels: the ends of four equal parts, rounded; on a
    /// logarithmic axis powers of ten, or the ends if it has none.
    fn ticks(&self, begin: f64, end: f64) -> Vec<(f64, String)> {
        if self.x.1 {
            let (first, last) = (begin.ceil() as i32, end.floor() as i32);
            if first > last {
                return [begin, end].map(|power| 10_f64.powf(power)).map(|x| (x, short(x))).into();
            }
            let step = ((last - first) / 8 + 1) as usize;
            let powers = (first..=last).step_by(step);
            return powers.map(|power| (10_f64.powi(power), format!("1e{power}"))).collect();
        }
        // Whole numbers, or three digits of a range that is too short for them.
        let digits = if end - begin >= 4.0 { 0.0 } else { 2.0 - (end - begin).log10().floor() };
        let unit = 10_f64.powi(digits.min(300.0) as i32);
        let tick = |part| ((begin + (end - begin) * f64::from(part) / 4.0) * unit).round() / unit;
        let label =
            |x: f64| if x != 0.0 && x.abs() < 1e-4 { format!("{x:e}") } else { format!("{}", x + 0.0) };
        (0..=4).map(|part| (tick(part), label(tick(part)))).collect()
    }
}

/// Returns an SVG of rates by update, a [`Curve`] with a linear axis from 0.
///
/// ```
/// let svg = lrlab_schedulers::plot_svg(&[0.1, 0.05, 0.0], "linear_to_zero");
/// assert!(svg.starts_with("<svg") && svg.contains("<polyline"));
/// ```
#[must_use]
pub fn plot_svg(rates: &[f64], title: &str) -> String {
    let points: Vec<(f64, f64)> =
        rates.iter().enumerate().map(|(update, &rate)| (update as f64, rate)).collect();
    Curve { title, points: &points, x: ("update", false), y: (0.0, ceiling(rates)), mark: None }.svg()
}

/// Returns a plot of `width` × `height` Braille characters (two by four dots each) with the highest rate above and the number
/// of updates below. `width` and `height` are limited to 1 … 1000, and rates that are not finite are omitted.
///
/// ```
/// let plot = lrlab_schedulers::plot_text(&[0.1, 0.05, 0.0], 20, 4);
/// assert_eq!(plot.lines().count(), 6);
/// assert!(plot.starts_with("0.1\n"));
/// ```
#[must_use]
pub fn plot_text(rates: &[f64], width: usize, height: usize) -> String {
    let top = ceiling(rates);
    format!("{}\n{}0 … {} updates\n", short(top), plot_dots(rates, (0.0, top), width, height), rates.len())
}

/// Returns a line of `width` bars from 0 to the highest mean, where each bar is the mean of its part of the rates.
///
/// `width` is limited to 1 … 1000. Rates that are not finite are omitted, and a part without finite rates is a space.
///
/// ```
/// assert_eq!(lrlab_schedulers::plot_line(&[0.1, 0.1, 0.05, 0.05, 0.0, 0.0], 3), "█▅▁");
/// ```
#[must_use]
pub fn plot_line(rates: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = width.clamp(1, 1000);
    let means: Vec<Option<f64>> = (0..width)
        .filter_map(|column| {
            let from = column * rates.len() / width;
            let to = ((column + 1) * rates.len() / width).max(from + 1);
            let part: Vec<f64> =
                rates.get(from..to)?.iter().copied().filter(|rate| rate.is_finite()).collect();
            Some((!part.is_empty()).then(|| part.iter().sum::<f64>() / part.len() as f64))
        })
        .collect();
    let top = means.iter().copied().flatten().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |mean: f64| BARS[((mean / top).clamp(0.0, 1.0) * 7.0).round() as usize];
    means.into_iter().map(|mean| mean.map_or(' ', bar)).collect()
}

/// Returns the dots of [`plot_text`] for values between `low` and `high`. Other finite values are drawn at the edge.
///
/// ```
/// assert_eq!(lrlab_schedulers::plot_dots(&[2.0, 1.0], (1.0, 2.0), 2, 1), "⠉⢹\n");
/// ```
#[must_use]
pub fn plot_dots(values: &[f64], (low, high): (f64, f64), width: usize, height: usize) -> String {
    let (width, height) = (width.clamp(1, 1000), height.clamp(1, 1000));
    let (columns, rows) = (2 * width, 4 * height);
    let range = if high > low { high - low } else { 1.0 };
    let mut dots = vec![0_u8; width * height];
    let last = values.len().saturating_sub(1).max(1);
    let share = |value: f64| ((value - low) / range).clamp(0.0, 1.0);
    let row = |value: f64| ((1.0 - share(value)) * (rows - 1) as f64).round() as usize;
    let mut previous: Option<usize> = None;
    for column in 0..columns {
        // One rate per column, or all rates of the column if there are more rates than columns.
        let from = column * last / (columns - 1).max(1);
        let to = ((column + 1) * last / (columns - 1).max(1)).max(from + 1).min(values.len());
        let part = values.get(from..to).unwrap_or_default().iter().filter(|value| value.is_finite());
        let rows_of_part: Vec<usize> = part.map(|&value| row(value)).collect();
        let Some(&latest) = rows_of_part.last() else { continue };
        let (mut above, mut below) = (rows, 0);
        for r in rows_of_part.into_iter().chain(previous) {
            (above, below) = (above.min(r), below.max(r));
        }
        for r in above..=below {
            dots[r / 4 * width + column / 2] |= BRAILLE[column % 2][r % 4];
        }
        previous = Some(latest);
    }
    let mut text = String::new();
    for line in dots.chunks(width) {
        text.extend(line.iter().map(|&dot| char::from_u32(0x2800 + u32::from(dot)).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

/// The bits of the dots of a Braille character, by column and row (Unicode block U+2800).
const BRAILLE: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Returns the bounds of an axis, which are not equal.
fn range(low: f64, high: f64) -> (f64, f64) {
    (low, if high > low { high } else { (low + 1.0).max(low.next_up()) })
}

/// Returns the highest finite rate, or 1 if none is above 0.
fn ceiling(rates: &[f64]) -> f64 {
    let top = rates.iter().copied().filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    if top > 0.0 { top } else { 1.0 }
}

/// Returns about `most` points or fewer: the first, lowest, highest and last point of equal parts, in order.
fn thinned(points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points;
    }
    let mut kept = Vec::new();
    for part in points.chunks(points.len().div_ceil(most / 4)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [part.first(), part.iter().min_by(by_value), part.iter().max_by(by_value), part.last()];
        let mut four: Vec<(f64, f64)> = ends.into_iter().flatten().copied().collect();
        four.sort_by(|a, b| a.0.total_cmp(&b.0));
        four.dedup_by_key(|point| point.0);
        kept.extend(four);
    }
    kept
}

/// Formats a rate with about three digits.
fn short(rate: f64) -> String {
    if rate == 0.0 || (1e-3..1e4).contains(&rate) {
        let digits = format!("{rate:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        let digits = format!("{rate:.2e}");
        digits.replace(".00e", "e").replace("0e", "e")
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_plots() {
        assert_eq!(plot_text(&[1.0, 0.0], 2, 1), "1\n⠉⢹\n0 … 2 updates\n");
        assert_eq!(plot_text(&[], 1, 1), "1\n⠀\n0 … 0 updates\n");
    }

    #[test]
    fn a_peak_survives_thinning() {
        let mut rates = vec![0.1; 100_000];
        rates[77_777] = 0.9;
        let points: Vec<(f64, f64)> = rates.iter().enumerate().map(|(i, &rate)| (i as f64, rate)).collect();
        let kept = thinned(points, 1000);
        assert!(kept.len() <= 1004 && kept.contains(&(77_777.0, 0.9)), "{}", kept.len());
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn points_that_are_not_finite_have_no_effect() {
        let (whole, more) =
            ([(1e-4, 2.0), (1e-2, 1.0)], [(0.0, f64::NAN), (1e-4, 2.0), (1e-2, 1.0), (f64::INFINITY, 9.0)]);
        let svg = |points: &[(f64, f64)]| {
            Curve { title: "", points, x: ("rate", true), y: (0.0, 4.0), mark: None }.svg()
        };
        assert_eq!(svg(&whole), svg(&more));
    }

    #[test]
    fn values_that_are_not_finite_are_omitted() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            // A value per column: the dots of the odd one are missing, the others are unchanged.
            assert_eq!(plot_dots(&[0.0, odd, 0.0, 0.0], (0.0, 1.0), 2, 1), "⡀⣀\n", "{odd}");
            assert_eq!(plot_text(&[odd, 0.02, 0.02, odd], 2, 1), "0.02\n⠈⠁\n0 … 4 updates\n", "{odd}");
            assert_eq!(plot_line(&[0.4, 0.4, odd, 0.2, odd, odd], 3), "█▅ ", "{odd}");
            let curve =
                |mark| Curve { title: "", points: &[(0.0, 1.0)], x: ("x", false), y: (0.0, 1.0), mark }.svg();
            assert_eq!(curve(Some(odd)), curve(None), "{odd}");
        }
    }

    #[test]
    fn ticks_of_the_horizontal_axis() {
        let check = |logarithmic: bool, begin: f64, end: f64, expected: &[&str]| {
            let curve = Curve { title: "", points: &[], x: ("x", logarithmic), y: (0.0, 1.0), mark: None };
            let labels: Vec<String> = curve.ticks(begin, end).into_iter().map(|tick| tick.1).collect();
            assert_eq!(labels, expected, "{begin} … {end}");
        };
        check(false, 0.0, 99.0, &["0", "25", "50", "74", "99"]);
        check(false, 0.0, 4.0, &["0", "1", "2", "3", "4"]);
        check(false, 0.0, 3.0, &["0", "0.75", "1.5", "2.25", "3"]);
        check(false, -0.1, 0.7, &["-0.1", "0.1", "0.3", "0.5", "0.7"]);
        check(false, 1e6, 1e6 + 0.5, &["1000000", "1000000.125", "1000000.25", "1000000.375", "1000000.5"]);
        check(false, 0.0, 2e-7, &["0", "5e-8", "1e-7", "1.5e-7", "2e-7"]);
        check(false, -0.501, 0.499, &["-0.5", "-0.25", "0", "0.25", "0.5"]);
        check(true, -5.0, -1.5, &["1e-5", "1e-4", "1e-3", "1e-2"]);
        check(true, 2e-3_f64.log10(), 8e-3_f64.log10(), &["0.002", "0.008"]);
        // The axis of one point.
        let (begin, end) = range(1e300, 1e300);
        assert!(end > begin);
        assert_eq!(range(2.0, 2.0), (2.0, 3.0));
    }

    #[test]
    fn short_numbers() {
        for (rate, words) in
            [(0.1, "0.1"), (0.0, "0"), (0.075, "0.075"), (1e-5, "1e-5"), (2.5e-5, "2.5e-5"), (1.0, "1")]
        {
            assert_eq!(short(rate), words);
        }
    }
}
