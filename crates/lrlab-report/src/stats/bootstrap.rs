//! Bootstrap intervals of a mean, bias-corrected and accelerated (Efron, Journal of the American Statistical
//! Association 82, 1987; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14).

use lrlab_random::Stream;
use statrs::distribution::{ContinuousCDF, Normal};

use super::{Summary, is_level, summary};

/// The bootstrap interval of a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bootstrap {
    /// The ends of the interval.
    Interval(f64, f64),
    /// There is no interval because all values are equal, or differ too little.
    Degenerate,
    /// There are fewer than three values, or the resamples are of another size.
    TooFew,
    /// A value is not finite, or the confidence level is not between 0 and 1.
    Undefined,
}

impl Bootstrap {
    /// The ends of the interval, if there is one.
    #[must_use]
    pub fn interval(self) -> Option<(f64, f64)> {
        match self {
            Self::Interval(low, high) => Some((low, high)),
            Self::Degenerate | Self::TooFew | Self::Undefined => None,
        }
    }
}

/// The indices of resamples with replacement, shared by all samples of the same size.
#[derive(Debug, Clone)]
pub struct Resamples {
    n: usize,
    /// `n` indices for each resample.
    places: Vec<u32>,
}

impl Resamples {
    /// `count` resamples of `n` values, drawn from `stream`.
    #[must_use]
    pub fn new(n: usize, count: u64, stream: Stream) -> Self {
        let draws = if n == 0 { 0 } else { count * n as u64 };
        Self { n, places: (0..draws).map(|draw| stream.below(draw, n as u64) as u32).collect() }
    }
}

/// The `BCa` interval for the mean of `values` at confidence `level` (such as 0.95) from `resamples` of the same size. For few
/// values the interval is too narrow; compare it with [`super::t_interval`]. If there is no interval, the result says why.
#[must_use]
pub fn bootstrap_interval(values: &[f64], level: f64, resamples: &Resamples) -> Bootstrap {
    let n = values.len();
    if n < 3 || resamples.n != n || resamples.places.is_empty() {
        return Bootstrap::TooFew;
    }
    let Some(Summary { mean: centre, std, .. }) = summary(values).filter(|_| is_level(level)) else {
        return Bootstrap::Undefined;
    };
    let acceleration = acceleration(values, centre);
    if std == Some(0.0) || !acceleration.is_finite() {
        return Bootstrap::Degenerate;
    }
    let mean_of = |places: &[u32]| places.iter().map(|place| values[*place as usize]).sum::<f64>() / n as f64;
    let mut means: Vec<f64> = resamples.places.chunks_exact(n).map(mean_of).collect();
    // Means equal to the centre up to rounding count half.
    let slack = 1e-12 * values.iter().map(|x| x.abs()).sum::<f64>() / n as f64;
    let below = means.iter().filter(|m| **m < centre - slack).count();
    let not_above = means.iter().filter(|m| **m <= centre + slack).count();
    let normal = Normal::standard();
    let bias = normal.inverse_cdf((below + not_above) as f64 / (2 * means.len()) as f64);
    let mut end = |tail: f64| {
        let z = bias + normal.inverse_cdf(tail);
        quantile(&mut means, normal.cdf(bias + z / (1.0 - acceleration * z)))
    };
    let tail = (1.0 - level) / 2.0;
    let (low, high) = (end(tail), end(1.0 - tail));
    if low.is_finite() && high.is_finite() { Bootstrap::Interval(low, high) } else { Bootstrap::Degenerate }
}

/// The acceleration: one sixth of the skewness of the jackknife means.
fn acceleration(values: &[f64], centre: f64) -> f64 {
    let n = values.len() as f64;
    // The centre minus the mean without x is (x − centre) / (n − 1).
    let away = values.iter().map(|x| (x - centre) / (n - 1.0));
    let (squares, cubes) = away.fold((0.0, 0.0), |(s, c), d| (s + d * d, c + d * d * d));
    cubes / (6.0 * squares * squares.sqrt())
}

/// Linear interpolation between order statistics (Hyndman and Fan's type 7, `NumPy`'s default). Reorders the values.
fn quantile(values: &mut [f64], q: f64) -> f64 {
    let at = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let place = at.floor() as usize;
    let (_, below, rest) = values.select_nth_unstable_by(place, f64::total_cmp);
    let below = *below;
    let above = rest.iter().copied().min_by(f64::total_cmp).unwrap_or(below);
    below + (above - below) * (at - place as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrlab_random::Purpose;

    fn interval(values: &[f64]) -> Bootstrap {
        let resamples = Resamples::new(values.len(), 10_000, Stream::new(0, Purpose::Bootstrap, "test"));
        bootstrap_interval(values, 0.95, &resamples)
    }

    /// `numpy.quantile([1, 2, 4, 8], [0.025, 0.5, 0.975])`
    #[test]
    fn quantiles() {
        let check =
            |q, expected: f64| assert!((quantile(&mut [4.0, 1.0, 8.0, 2.0], q) - expected).abs() < 1e-12);
        check(0.025, 1.075);
        check(0.5, 3.0);
        check(0.975, 7.7);
        check(0.0, 1.0);
        check(1.0, 8.0);
    }

    /// `scipy.stats.bootstrap((d,), numpy.mean, method="BCa", n_resamples=1_000_000).confidence_interval`; the slack covers
    /// the sampling error of 10,000 resamples.
    #[test]
    fn known_values() {
        let check = |values: &[f64], low: f64, high: f64, slack: f64| {
            let (a, b) = interval(values).interval().unwrap();
            assert!((a - low).abs() <= slack && (b - high).abs() <= slack, "{a} {b}");
        };
        check(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], -0.01, 0.014_333, 4e-4);
        check(&[1.2, -0.4, 0.7, 2.1, -0.1, 0.9, 1.4, 0.3], 0.25, 1.3125, 0.03);
        check(&[0.012, 0.021, 0.008, 0.015, 0.019, 0.011, 0.010, 0.017], 0.011_25, 0.017_25, 3e-4);
        assert_eq!(interval(&[0.5, 0.5, 0.5]), Bootstrap::Degenerate);
        assert_eq!(interval(&[0.1, 0.2]), Bootstrap::TooFew);
        assert_eq!(interval(&[0.1, 0.2, 0.4]), interval(&[0.1, 0.2, 0.4]));
    }

    #[test]
    fn undefined_intervals() {
        for values in [[0.3, f64::NAN, 0.4, 0.1], [0.3, 0.2, f64::NEG_INFINITY, 0.4], [f64::INFINITY; 4]] {
            assert_eq!(interval(&values), Bootstrap::Undefined, "{values:?}");
        }
        let resamples = Resamples::new(4, 1000, Stream::new(0, Purpose::Bootstrap, "test"));
        for level in [-0.5, 0.0, 1.0, 90.0, f64::NAN, f64::INFINITY] {
            let found = bootstrap_interval(&[0.1, 0.4, 0.2, 0.3], level, &resamples);
            assert_eq!((found, found.interval()), (Bootstrap::Undefined, None), "{level}");
        }
        assert_eq!(interval(&[0.7; 6]), Bootstrap::Degenerate, "equal values whose sum is rounded");
    }
}
