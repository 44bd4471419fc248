//! Rates as a picture: SVG for pages, text for terminals.

use std::fmt::Write;

/// An SVG of rates by update, 640 × 320, linear from 0. Colours follow the page's text colour.
///
/// Where there are more rates than columns the range within a column is drawn, so that no peak is lost.
///
/// ```
/// let svg = lrlab_schedulers::plot_svg(&[0.1, 0.05, 0.0], "linear_to_zero");
/// assert!(svg.starts_with("<svg") && svg.contains("<polyline"));
/// ```
#[must_use]
pub fn plot_svg(rates: &[f64], title: &str) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 320.0;
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 16.0;
    const TOP: f64 = 36.0;
    const BOTTOM: f64 = 40.0;
    let top = ceiling(rates);
    let last = rates.len().saturating_sub(1).max(1) as f64;
    let x = |update: f64| LEFT + (WIDTH - LEFT - RIGHT) * update / last;
    let y = |rate: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (rate / top).clamp(0.0, 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"currentColor\">\n\
         <title>{0}</title>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{0}</text>\n",
        escape(title)
    );
    for step in 0..=4 {
        let rate = top * f64::from(step) / 4.0;
        let (line, label) = (y(rate), y(rate) + 4.0);
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"currentColor\" \
             stroke-opacity=\"0.2\"/>\n<text x=\"{}\" y=\"{label:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            short(rate)
        );
        let update = (last * f64::from(step) / 4.0).round();
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{update}</text>",
            x(update),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">update</text>",
        WIDTH - RIGHT,
        HEIGHT - 6.0
    );
    svg.push_str("<polyline fill=\"none\" stroke=\"#2563eb\" stroke-width=\"1.5\" points=\"");
    for (update, rate) in thinned(rates, 1000) {
        let _ = write!(svg, "{:.2},{:.2} ", x(update as f64), y(rate));
    }
    svg.push_str("\"/>\n</svg>\n");
    svg
}

/// A plot of `width` × `height` characters in Braille dots (two by four in each), with the highest rate and the
/// number of updates at its edges.
///
/// ```
/// let plot = lrlab_schedulers::plot_text(&[0.1, 0.05, 0.0], 20, 4);
/// assert_eq!(plot.lines().count(), 6);
/// assert!(plot.starts_with("0.1\n"));
/// ```
#[must_use]
pub fn plot_text(rates: &[f64], width: usize, height: usize) -> String {
    let (width, height) = (width.clamp(1, 1000), height.clamp(1, 1000));
    let (columns, rows) = (2 * width, 4 * height);
    let top = ceiling(rates);
    let mut dots = vec![0_u8; width * height];
    let last = rates.len().saturating_sub(1).max(1);
    let row = |rate: f64| ((1.0 - (rate / top).clamp(0.0, 1.0)) * (rows - 1) as f64).round() as usize;
    let mut before: Option<usize> = None;
    for column in 0..columns {
        // One rate per column, or all that fall into it where there are more.
        let from = column * last / (columns - 1).max(1);
        let to = ((column + 1) * last / (columns - 1).max(1)).max(from + 1).min(rates.len());
        let Some(part) = rates.get(from..to).filter(|part| !part.is_empty()) else { continue };
        let reached = part.iter().map(|&rate| row(rate));
        let (mut low, mut high) = (rows, 0);
        for r in reached.chain(before) {
            (low, high) = (low.min(r), high.max(r));
        }
        for r in low..=high {
            dots[r / 4 * width + column / 2] |= BRAILLE[column % 2][r % 4];
        }
        before = part.last().map(|&rate| row(rate));
    }
    let mut text = format!("{}\n", short(top));
    for line in dots.chunks(width) {
        text.extend(line.iter().map(|&dot| char::from_u32(0x2800 + u32::from(dot)).unwrap_or(' ')));
        text.push('\n');
    }
    let _ = writeln!(text, "0 … {} updates", rates.len());
    text
}

/// Bits of the dots of a Braille character, by column and row (Unicode block U+2800).
const BRAILLE: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// The highest finite rate, or 1 where there is none above 0.
fn ceiling(rates: &[f64]) -> f64 {
    let top = rates.iter().copied().filter(|rate| rate.is_finite()).fold(0.0, f64::max);
    if top > 0.0 { top } else { 1.0 }
}

/// At most about `most` points: the first, lowest, highest and last of equal parts, in order.
fn thinned(rates: &[f64], most: usize) -> Vec<(usize, f64)> {
    let points: Vec<(usize, f64)> =
        rates.iter().copied().enumerate().filter(|(_, rate)| rate.is_finite()).collect();
    if points.len() <= most {
        return points;
    }
    let mut kept = Vec::new();
    for part in points.chunks(points.len().div_ceil(most / 4)) {
        let by_rate = |a: &&(usize, f64), b: &&(usize, f64)| a.1.total_cmp(&b.1);
        let ends = [part.first(), part.iter().min_by(by_rate), part.iter().max_by(by_rate), part.last()];
        let mut four: Vec<(usize, f64)> = ends.into_iter().flatten().copied().collect();
        four.sort_by_key(|point| point.0);
        four.dedup_by_key(|point| point.0);
        kept.extend(four);
    }
    kept
}

/// Three digits.
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
    fn text() {
        assert_eq!(plot_text(&[1.0, 0.0], 2, 1), "1\n⠉⢹\n0 … 2 updates\n");
        assert_eq!(plot_text(&[], 1, 1), "1\n⠀\n0 … 0 updates\n");
    }

    #[test]
    fn a_peak_survives_thinning() {
        let mut rates = vec![0.1; 100_000];
        rates[77_777] = 0.9;
        let kept = thinned(&rates, 1000);
        assert!(kept.len() <= 1004 && kept.contains(&(77_777, 0.9)), "{}", kept.len());
        assert!(kept.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn numbers() {
        for (rate, words) in
            [(0.1, "0.1"), (0.0, "0"), (0.075, "0.075"), (1e-5, "1e-5"), (2.5e-5, "2.5e-5"), (1.0, "1")]
        {
            assert_eq!(short(rate), words);
        }
    }
}
