//! The percentile bootstrap of a mean (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

use lrlab_random::Stream;

/// An interval for the mean of `values` at `level` (0.95) from `resamples` resamples with replacement; `None`
/// below three values, where resampling says nothing. With few values it is too narrow: read it beside
/// [`super::t_interval`].
#[must_use]
pub fn bootstrap_interval(values: &[f64], level: f64, resamples: u64, stream: Stream) -> Option<(f64, f64)> {
    let n = values.len();
    if n < 3 || resamples == 0 {
        return None;
    }
    let draw = |resample: u64, i: u64| values[stream.below(resample * n as u64 + i, n as u64) as usize];
    let mut means: Vec<f64> =
        (0..resamples).map(|r| (0..n as u64).map(|i| draw(r, i)).sum::<f64>() / n as f64).collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some((quantile(&means, tail), quantile(&means, 1.0 - tail)))
}

/// Linear interpolation between order statistics (Hyndman and Fan's type 7, `NumPy`'s default).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrlab_random::Purpose;

    fn interval(values: &[f64]) -> Option<(f64, f64)> {
        bootstrap_interval(values, 0.95, 10_000, Stream::new(0, Purpose::Bootstrap, "test"))
    }

    /// `numpy.quantile([1, 2, 4, 8], [0.025, 0.5, 0.975])`
    #[test]
    fn quantiles() {
        let check = |q, expected: f64| assert!((quantile(&[1.0, 2.0, 4.0, 8.0], q) - expected).abs() < 1e-12);
        check(0.025, 1.075);
        check(0.5, 3.0);
        check(0.975, 7.7);
        check(0.0, 1.0);
        check(1.0, 8.0);
    }

    /// The expected quantiles are exact: of the means of all 6⁶ resamples, with `NumPy`.
    ///
    /// ```text
    /// means = [numpy.mean(c) for c in itertools.product(six, repeat=6)]
    /// numpy.quantile(means, [0.025, 0.975])
    /// ```
    #[test]
    fn known_values() {
        let check = |values: &[f64], low: f64, high: f64, slack: f64| {
            let (a, b) = interval(values).unwrap();
            assert!((a - low).abs() <= slack && (b - high).abs() <= slack, "{a} {b}");
        };
        check(&SIX, SIX_LOW, SIX_HIGH, 2e-4);
        check(&[0.5, 0.5, 0.5], 0.5, 0.5, 0.0);
        assert_eq!(interval(&[0.1, 0.2]), None);
        assert_eq!(interval(&SIX), interval(&SIX));
    }
    const SIX: [f64; 6] = [0.012, -0.021, 0.008, 0.015, 0.019, 0.011];
    const SIX_LOW: f64 = -0.004_666_67;
    const SIX_HIGH: f64 = 0.015_166_67;
}
