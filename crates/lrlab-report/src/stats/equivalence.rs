//! Equivalence: two one-sided t-tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).

use super::{summary, t_cdf};

/// The p-value of the null hypothesis that the mean of `differences` lies outside ±`margin`; p < 0.05 shows equivalence.
/// `None` for fewer than three differences, since two may be equal by chance, if a difference is not finite, or if the margin is
/// NaN. If all differences are equal, p is 0 within the margin and 1 outside.
#[must_use]
pub fn equivalence(differences: &[f64], margin: f64) -> Option<f64> {
    let s = summary(differences).filter(|s| s.n >= 3 && !margin.is_nan())?;
    let n = s.n as f64;
    let error = s.std? / n.sqrt();
    if error == 0.0 {
        return Some(if s.mean.abs() <= margin { 0.0 } else { 1.0 });
    }
    let above = 1.0 - t_cdf((s.mean + margin) / error, n - 1.0);
    let below = t_cdf((s.mean - margin) / error, n - 1.0);
    Some(above.max(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `max(scipy.stats.ttest_1samp(d, -m, alternative="greater").pvalue, ….ttest_1samp(d, m, alternative="less").pvalue)`
    #[test]
    fn known_values() {
        let check = |d: &[f64], margin: f64, p: f64| {
            let got = equivalence(d, margin).unwrap();
            assert!((got - p).abs() < 1e-12, "{got}");
        };
        let eight = [0.012, 0.021, 0.008, 0.015, 0.019, 0.011, 0.010, 0.017];
        check(&eight, 0.02, 0.004_351_189_688_129_29);
        check(&eight, 0.016, 0.143_962_739_775_517_52);
        check(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], 0.02, 0.041_685_297_858_452_26);
        check(&[1.2, -0.4, 0.7, 2.1, -0.1, 0.9, 1.4, 0.3], 1.5, 0.019_314_041_917_027_146);
        check(&[0.1, 0.1, 0.1], 0.2, 0.0);
        check(&[0.3, 0.3, 0.3], 0.2, 1.0);
        check(&[0.0, 0.0, 0.0], 0.0, 0.0);
        check(&[0.7; 6], 0.7, 0.0);
        check(&[-0.7; 6], 0.7, 0.0);
        check(&[0.7; 6], 0.699_999_999, 1.0);
        assert_eq!(equivalence(&[0.1, 0.1], 0.2), None);
    }

    #[test]
    fn numbers_that_are_not_finite() {
        for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(equivalence(&[0.3, 0.2, lost, 0.1], 0.5), None, "{lost}");
        }
        assert_eq!(equivalence(&[0.3, 0.2, 0.1], f64::NAN), None);
        assert_eq!(equivalence(&[0.2, 0.2, 0.2], f64::NAN), None);
        assert_eq!(equivalence(&[0.3, 0.2, 0.1], f64::INFINITY), Some(0.0));
    }
}
