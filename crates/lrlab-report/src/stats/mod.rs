//! Statistics for small numbers of seeds: mean and standard deviation, intervals, exact tests, Holm's correction, effect
//! sizes and equivalence tests.
//!
//! All procedures are exact or use counter-based random numbers, so equal inputs give equal bits. The tests compare them
//! with `SciPy`.
//!
//! No statistic is defined for values that are NaN or infinite, such as the loss of a diverged run. A function of values
//! returns `None`, or [`Bootstrap::Undefined`], if one of them is not finite. None of the functions panics.

mod bootstrap;
mod effect;
mod equivalence;
mod holm;
mod permutation;
mod student;
mod wilcoxon;

pub use bootstrap::{Bootstrap, Resamples, bootstrap_interval};
pub use effect::{interquartile_mean, standardised, superiority};
pub use equivalence::equivalence;
pub use holm::holm;
pub(crate) use permutation::SIGN_FLIP;
pub use permutation::{SignFlip, sign_flip};
pub use student::{t_cdf, t_interval, t_quantile};
pub use wilcoxon::{SignedRank, signed_rank};

/// Number, mean and sample standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The number of values.
    pub n: usize,
    /// The mean.
    pub mean: f64,
    /// Sample standard deviation, √(Σ(x − mean)² / (n − 1)); `None` for one value.
    pub std: Option<f64>,
}

/// Mean and sample standard deviation. The mean of equal values is that value, and their standard deviation is 0. `None` for no
/// values, if a value is not finite, or if the mean or the standard deviation overflows.
#[must_use]
pub fn summary(values: &[f64]) -> Option<Summary> {
    let (n, mean) = (values.len(), mean(values)?);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
    std.is_none_or(f64::is_finite).then_some(Summary { n, mean, std })
}

/// The mean; for equal values, that value without rounding. `None` for no values or if the mean is not finite, which includes
/// every case of a value that is not.
fn mean(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    let equal = values.iter().all(|x| *x == first);
    let mean = if equal { first } else { values.iter().sum::<f64>() / values.len() as f64 };
    mean.is_finite().then_some(mean)
}

/// Whether `level` can be the confidence level of an interval.
fn is_level(level: f64) -> bool {
    0.0 < level && level < 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.mean(x), numpy.std(x, ddof=1)`
    #[test]
    fn summaries() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[2.5]), Some(Summary { n: 1, mean: 2.5, std: None }));
        let s = summary(&[0.757, 0.741, 0.749, 0.762, 0.738]).unwrap();
        assert_eq!(s.n, 5);
        assert!((s.mean - 0.7494).abs() < 1e-15);
        assert!((s.std.unwrap() - 0.010_212_737_145).abs() < 1e-12, "{:?}", s.std);
        assert_eq!(summary(&[0.5, 0.5]).unwrap().std, Some(0.0));
    }

    /// The sums of these values are rounded.
    #[test]
    fn equal_values_are_their_mean_and_have_no_deviation() {
        for (value, n) in [(0.1, 10), (0.7, 6), (-0.3, 10), (0.949_2, 10), (1.0 / 3.0, 49)] {
            let expected = Summary { n, mean: value, std: Some(0.0) };
            assert_eq!(summary(&vec![value; n]), Some(expected), "{value} {n}");
        }
    }

    #[test]
    fn values_that_are_not_finite_have_no_summary() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let bad: [&[f64]; 6] =
            [&[nan], &[inf], &[0.2, nan, 0.3], &[inf, -inf], &[1.7e308, 1.7e308, 1.0], &[1e200, -1e200]];
        for values in bad {
            assert_eq!(summary(values), None, "{values:?}");
        }
    }
}
