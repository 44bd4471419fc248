//! Ranges, ticks and their labels.

use super::Scale;

/// A vertical axis: its range and its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis that contains every value with a margin. The range exceeds `bounds` only if a value does.
    pub(super) fn around(
        values: impl Iterator<Item = f64>,
        scale: Scale,
        bounds: (Option<f64>, Option<f64>),
    ) -> Self {
        let usable = |x: &f64| x.is_finite() && (scale == Scale::Linear || *x > 0.0);
        let (mut low, mut high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            (low, high) = if scale == Scale::Log { (0.1, 1.0) } else { (0.0, 1.0) };
        }
        match scale {
            Scale::Log => Self::log(low, high),
            Scale::Linear => {
                let margin = if high > low { 0.05 * (high - low) } else { (0.05 * high.abs()).max(0.05) };
                let bounded = |end: f64, bound: Option<f64>, value: f64, above: bool| match bound {
                    Some(b) if above => end.min(b).max(value),
                    Some(b) => end.max(b).min(value),
                    None => end,
                };
                Self::linear(
                    bounded(low - margin, bounds.0, low, false),
                    bounded(high + margin, bounds.1, high, true),
                )
            }
        }
    }

    fn linear(low: f64, high: f64) -> Self {
        let step = nice_step((high - low) / 6.0);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let tick = |k: i64| (k as f64 * step, crate::table::fixed(k as f64 * step, digits));
        Self { scale: Scale::Linear, low, high, ticks: (first..=last).map(tick).collect() }
    }

    fn log(low: f64, high: f64) -> Self {
        let (low, high) = (low / 1.15, high * 1.15);
        let decades = (high / low).log10();
        let multiples: &[f64] = if decades < 1.2 {
            &[1.0, 2.0, 3.0, 5.0, 7.0]
        } else if decades < 2.5 {
            &[1.0, 3.0]
        } else {
            &[1.0]
        };
        let every = (decades / 7.0).ceil().max(1.0) as i32;
        let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let ticks = (from..=to)
            .filter(|exponent| exponent.rem_euclid(every) == 0)
            .flat_map(|exponent| multiples.iter().map(move |m| (*m, exponent)))
            .map(|(m, exponent)| (m * 10_f64.powi(exponent), log_label(m, exponent)))
            .filter(|(x, _)| (low..=high).contains(x))
            .collect();
        Self { scale: Scale::Log, low, high, ticks }
    }

    /// The position of a value: 0 at the bottom, 1 at the top. On a log axis, values ≤ 0 are at the bottom.
    pub(super) fn fraction(&self, y: f64) -> f64 {
        match self.scale {
            Scale::Linear => (y - self.low) / (self.high - self.low),
            Scale::Log if y > 0.0 => (y / self.low).ln() / (self.high / self.low).ln(),
            Scale::Log => 0.0,
        }
    }
}

/// A decimal number from 10⁻³ to 10³, a power of ten with Unicode superscripts elsewhere.
fn log_label(multiple: f64, exponent: i32) -> String {
    if (-3..=3).contains(&exponent) {
        let digits = (-exponent).max(0) as usize;
        return format!("{:.digits$}", multiple * 10_f64.powi(exponent));
    }
    let raised: String = exponent
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => char::from_u32(digit as u32 - '0' as u32 + 0x2070).unwrap_or(digit),
        })
        .collect();
    if multiple == 1.0 { format!("10{raised}") } else { format!("{multiple}·10{raised}") }
}

/// The smallest of 1, 2, 5 × 10ᵏ that is at least `raw`.
fn nice_step(raw: f64) -> f64 {
    let raw = if raw.is_finite() && raw > 0.0 { raw } else { 1.0 };
    let power = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * (1.0 - 1e-9)).unwrap_or(power)
}

/// Evenly spaced integers within a range, about ten at most.
pub(super) fn integer_ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    let steps = (0..12).flat_map(|k| [1, 2, 5].map(|m| f64::from(m) * 10_f64.powi(k)));
    let step = steps.into_iter().find(|step| span / step <= 10.0).unwrap_or(span.max(1.0));
    let first = if low <= 1.0 && step > 1.0 { 0 } else { (low / step).ceil() as i64 };
    let last = (high / step + 1e-9).floor() as i64;
    let mut ticks: Vec<f64> = (first..=last).map(|k| k as f64 * step).filter(|x| *x >= low).collect();
    // Epochs count from 1, and the first epoch gets a tick.
    if low == 1.0 && ticks.first() != Some(&1.0) && ticks.first().is_none_or(|x| *x - 1.0 > 0.4 * step) {
        ticks.insert(0, 1.0);
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs() {
        let check =
            |low, high, expected: &[f64]| assert_eq!(integer_ticks(low, high), expected, "{low} {high}");
        check(1.0, 1.0, &[1.0]);
        check(1.0, 2.0, &[1.0, 2.0]);
        check(1.0, 10.0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        check(1.0, 20.0, &[1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        check(0.0, 20.0, &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        check(1.0, 164.0, &[1.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0]);
    }

    #[test]
    fn linear_ticks() {
        let check = |values: &[f64], bounds, expected: &[&str]| {
            let axis = Axis::around(values.iter().copied(), Scale::Linear, bounds);
            assert_eq!(axis.ticks.iter().map(|t| t.1.as_str()).collect::<Vec<_>>(), expected, "{values:?}");
            assert!(values.iter().all(|y| !y.is_finite() || (0.0..=1.0).contains(&axis.fraction(*y))));
        };
        check(&[10.0, 90.0], (Some(0.0), Some(100.0)), &["20", "40", "60", "80"]);
        check(&[0.5, 99.9], (Some(0.0), Some(100.0)), &["0", "20", "40", "60", "80", "100"]);
        check(&[0.31, 0.47], (Some(0.0), None), &["0.35", "0.40", "0.45"]);
        check(&[-1.0, 1.0], (None, None), &["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        check(&[0.7], (None, None), &["0.66", "0.68", "0.70", "0.72", "0.74"]);
        check(&[], (None, None), &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&[f64::NAN, 1.0, 2.0], (None, None), &["1.0", "1.2", "1.4", "1.6", "1.8", "2.0"]);
    }

    #[test]
    fn log_ticks() {
        let check = |values: &[f64], expected: &[&str]| {
            let axis = Axis::around(values.iter().copied(), Scale::Log, (None, None));
            assert_eq!(axis.ticks.iter().map(|t| t.1.as_str()).collect::<Vec<_>>(), expected, "{values:?}");
        };
        check(&[0.001, 0.1], &["0.001", "0.003", "0.01", "0.03", "0.1"]);
        check(&[1e-6, 0.1, 0.0], &["10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1"]);
        check(&[0.2, 0.9], &["0.2", "0.3", "0.5", "0.7", "1"]);
    }
}
