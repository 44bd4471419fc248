//! Effect sizes.

use super::{mean, summary};

/// Mean of paired differences over their standard deviation, with Hedges' correction for few pairs
/// (mean / std · (1 − 3 / (4(n − 1) − 1)); Hedges, Journal of Educational Statistics 6, 1981). `None` for fewer than three
/// pairs, if all differences are equal up to rounding, or if one is not finite.
#[must_use]
pub fn standardised(differences: &[f64]) -> Option<f64> {
    let s = summary(differences).filter(|s| s.n > 2)?;
    // Differences of numbers that are equal as decimals differ by rounding.
    let std = s.std.filter(|std| *std > 1e-9 * s.mean.abs())?;
    Some(s.mean / std * (1.0 - 3.0 / (4.0 * (s.n as f64 - 1.0) - 1.0)))
}

/// The probability that a run of `ours` exceeds one of `theirs` over all pairs of runs, ties counting half: the
/// Mann–Whitney statistic divided by its maximum (Agarwal et al., `NeurIPS` 2021, "probability of improvement"). `None` if
/// one of the slices is empty or has a value that is not finite.
#[must_use]
pub fn superiority(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    if ours.is_empty() || theirs.is_empty() || !ours.iter().chain(theirs).all(|x| x.is_finite()) {
        return None;
    }
    let score = |a: f64, b: f64| match a.total_cmp(&b) {
        _ if a == b => 0.5,
        std::cmp::Ordering::Greater => 1.0,
        _ => 0.0,
    };
    let all = ours.iter().flat_map(|&a| theirs.iter().map(move |&b| score(a, b)));
    Some(all.sum::<f64>() / (ours.len() as f64 * theirs.len() as f64))
}

/// The mean of the values without the lowest and the highest quarter, each rounded down. `None` for no values or if one is not
/// finite.
#[must_use]
pub fn interquartile_mean(values: &[f64]) -> Option<f64> {
    if !values.iter().all(|x| x.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `d.mean() / d.std(ddof=1) * (1 - 3 / (4 * (len(d) - 1) - 1))`
    #[test]
    fn standardised_differences() {
        let check = |d: &[f64], expected: Option<f64>| match (standardised(d), expected) {
            (Some(got), Some(expected)) => assert!((got - expected).abs() < 1e-12, "{got}"),
            (got, expected) => assert_eq!(got, expected),
        };
        check(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], Some(0.429_568_661_335_734_8));
        check(&[1.2, -0.4, 0.7, 2.1, -0.1, 0.9, 1.4, 0.3], Some(0.825_510_993_244_363_7));
        check(&[0.5, 0.5, 0.5], None);
        check(&[0.7; 6], None);
        check(&[-0.3; 10], None);
        check(&[0.5, 0.7], None);
        // Each is a tenth.
        let tenths = [1.1 - 1.0, 0.3 - 0.2, 0.8 - 0.7, 0.5 - 0.4];
        assert!(tenths[0] != tenths[1]);
        check(&tenths, None);
        check(&[0.1, 0.2, f64::INFINITY], None);
        check(&[0.1, f64::NAN, 0.2, 0.4], None);
    }

    /// `scipy.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))`
    #[test]
    fn probability_of_improvement() {
        let (a, b) = ([0.74, 0.75, 0.757, 0.749], [0.73, 0.75, 0.741, 0.760]);
        assert_eq!(superiority(&a, &b), Some(0.531_25));
        assert_eq!(superiority(&b, &a), Some(1.0 - 0.531_25));
        assert_eq!(superiority(&[0.0], &[-0.0]), Some(0.5));
        assert_eq!(superiority(&a, &[]), None);
        for lost in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let with = [0.74, lost, 0.75];
            assert_eq!((superiority(&with, &b), superiority(&a, &with)), (None, None), "{lost}");
        }
    }

    /// `scipy.stats.trim_mean(x, 0.25)`
    #[test]
    fn interquartile_means() {
        let check = |x: &[f64], expected: f64| {
            assert!((interquartile_mean(x).unwrap() - expected).abs() < 1e-15, "{x:?}");
        };
        check(&[1.0, 2.0, 4.0, 8.0], 3.0);
        check(&[0.74, 0.75, 0.757, 0.749, 0.762, 0.738, 0.751, 0.9], 0.751_75);
        check(&[3.0, 1.0, 2.0], 2.0);
        assert_eq!(interquartile_mean(&[]), None);
        assert_eq!(interquartile_mean(&[0.1; 12]), Some(0.1));
        // Each would be in the highest or the lowest quarter.
        for lost in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(interquartile_mean(&[0.5, 0.6, lost, 0.7]), None, "{lost}");
        }
    }
}
