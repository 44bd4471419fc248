//! Statistics for small numbers of seeds: mean and standard deviation, intervals, exact tests, Holm's correction, effect
//! sizes and equivalence tests.
//!
//! All procedures are exact or use counter-based random numbers, so equal inputs give equal bits. The tests compare them
//! with `SciPy`.

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

/// Mean and sample standard deviation; `None` for no values.
#[must_use]
pub fn summary(values: &[f64]) -> Option<Summary> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    Some(Summary { n, mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
}

/// The mean; NaN for no values.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
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
}
