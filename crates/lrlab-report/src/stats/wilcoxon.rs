//! The signed-rank test of paired differences (Wilcoxon, Biometrics Bulletin 1, 1945).

use statrs::distribution::{ContinuousCDF, Normal};

/// The maximum number of nonzero differences for which the null distribution is counted; for more, it is approximated.
const EXACT_UP_TO: usize = 100;

/// A two-sided signed-rank test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// The sum of the ranks of positive differences.
    pub statistic: f64,
    /// The share of sign patterns whose rank sum is at least as far from its mean as the observed one, approximate for more
    /// than 100 differences.
    pub p: f64,
    /// The number of nonzero differences.
    pub n: usize,
}

/// Tests the null hypothesis that paired differences are symmetric about zero. Zeros are excluded, and tied magnitudes, up to
/// rounding, get the mean of their ranks. The null distribution is exact given the ties; for more than 100 differences it
/// is a normal distribution with the same mean and variance. `None` if every difference is zero or one is not finite.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> Option<SignedRank> {
    if !differences.iter().all(|d| d.is_finite()) {
        return None;
    }
    let mut kept: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    kept.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = kept.len();
    if n == 0 {
        return None;
    }
    let ranks = doubled_ranks(&kept);
    let total: usize = ranks.iter().sum();
    let observed: usize = kept.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
    let far = (2 * observed).abs_diff(total);
    let statistic = observed as f64 / 2.0;
    if n > EXACT_UP_TO {
        // Twice the sum, minus its mean, is a sum of doubled ranks with random signs.
        let variance: f64 = ranks.iter().map(|rank| (*rank as f64).powi(2)).sum();
        let p = 2.0 * Normal::standard().sf(far as f64 / variance.sqrt());
        return Some(SignedRank { statistic, p: p.min(1.0), n });
    }
    // The share of the 2ⁿ sign patterns for each sum of positive ranks.
    let mut shares = vec![0.0; total + 1];
    shares[0] = 1.0;
    for &rank in &ranks {
        for sum in (0..=total).rev() {
            let with = if sum >= rank { shares[sum - rank] } else { 0.0 };
            shares[sum] = 0.5 * (shares[sum] + with);
        }
    }
    let p: f64 =
        shares.iter().enumerate().filter(|(sum, _)| (2 * sum).abs_diff(total) >= far).map(|(_, p)| p).sum();
    Some(SignedRank { statistic, p: p.min(1.0), n })
}

/// Twice the rank of every value of `sorted` by magnitude; ties get the mean rank. Differences of numbers that are equal as
/// decimals differ by rounding.
fn doubled_ranks(sorted: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    let slack = 1e-9 * sorted.last().map_or(0.0, |largest| largest.abs());
    for group in sorted.chunk_by(|a, b| b.abs() - a.abs() <= slack) {
        let first = ranks.len() + 1;
        let doubled = first + (first + group.len() - 1);
        ranks.resize(ranks.len() + group.len(), doubled);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.wilcoxon(d, method="approx", correction=False)`
    #[test]
    fn many_differences_are_approximated() {
        let d: Vec<f64> = (0..150).map(|i| f64::from(i * 7919 % 211 - 80) / 10.0).collect();
        let test = signed_rank(&d).unwrap();
        assert_eq!((test.statistic, test.n), (7806.5, 149));
        assert!((test.p - 2.607_788_999_983_421e-5).abs() < 1e-12, "{test:?}");
        // On both sides of the limit, the two agree to the accuracy of the approximation.
        let (exact, approximate) = (signed_rank(&d[..100]).unwrap(), signed_rank(&d[..102]).unwrap());
        assert!(exact.n <= EXACT_UP_TO && approximate.n > EXACT_UP_TO);
        assert!((exact.p - approximate.p).abs() < 0.1 * exact.p.max(0.05), "{exact:?} {approximate:?}");
    }

    /// `scipy.stats.wilcoxon(d, method="exact")`; with ties and zeros the share of all sign patterns of
    /// `scipy.stats.rankdata(abs(d[d != 0]))`, counted one by one.
    #[test]
    fn known_values() {
        let check = |d: &[f64], statistic: f64, p: f64| {
            let test = signed_rank(d).unwrap();
            assert!((test.p - p).abs() < 1e-15 && test.statistic == statistic, "{test:?}");
        };
        check(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], 15.0, 0.4375);
        check(&[1.2, -0.4, 0.7, 2.1, -0.1, 0.9, 1.4, 0.3], 32.0, 0.054_687_5);
        check(&[0.1, 0.2, 0.3], 6.0, 0.25);
        check(&[0.5, 0.5, -0.5, 1.0, 1.5, 2.0, -1.0, 0.0], 21.5, 0.265_625);
        check(&[0.012, 0.021, 0.008, 0.015, 0.019, 0.011, 0.010, 0.017], 36.0, 0.007_812_5);
        // 1.1 − 1.0 and 0.3 − 0.2 are both a tenth.
        let tenths = [1.1 - 1.0, 0.3 - 0.2, 0.7 - 0.8, 0.5 - 0.2];
        assert!(tenths[0] != tenths[1]);
        assert_eq!(signed_rank(&tenths), signed_rank(&[0.1, 0.1, -0.1, 0.3]));
        for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(signed_rank(&[0.1, 0.2, lost, -0.3]), None, "{lost}");
        }
        assert_eq!(signed_rank(&[0.0, -0.0]), None);
        assert_eq!(signed_rank(&[]), None);
    }
}
