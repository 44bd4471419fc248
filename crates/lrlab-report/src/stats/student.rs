//! Student's t distribution.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::{is_level, summary};

/// The degrees of freedom above which the normal distribution replaces Student's: the series of `statrs` loses digits, and the
/// search for a quantile does not end. The probabilities of the two differ by less than 2e-6.
const MAX_DF: f64 = 1e5;

/// The tail probabilities below which the search for a quantile does not converge.
const MIN_TAIL: f64 = 1e-6;

/// P(T ≤ t) for `df` > 0 degrees of freedom; NaN for any other `df` or if `t` is NaN. Above 100,000 degrees of freedom it is the
/// normal distribution.
#[must_use]
pub fn t_cdf(t: f64, df: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, df) {
        Ok(_) if df > MAX_DF => Normal::standard().cdf(t),
        Ok(distribution) if !t.is_nan() => distribution.cdf(t),
        _ => f64::NAN,
    }
}

/// The t with P(T ≤ t) = `p` for `p` from 1e-6 to 1 − 1e-6 and `df` ≥ 1 degrees of freedom; NaN for any other `p` or `df`. Above
/// 100,000 degrees of freedom it is the quantile of the normal distribution.
#[must_use]
pub fn t_quantile(p: f64, df: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, df) {
        Ok(distribution) if df >= 1.0 && (MIN_TAIL..=1.0 - MIN_TAIL).contains(&p) => {
            if df > MAX_DF {
                Normal::standard().inverse_cdf(p)
            } else {
                distribution.inverse_cdf(p)
            }
        }
        _ => f64::NAN,
    }
}

/// The t-interval for the mean of `values` at confidence `level` (such as 0.95). `None` for fewer than two values, if a value
/// is not finite, or if the level is not between 0 and 0.999998.
#[must_use]
pub fn t_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    let s = summary(values).filter(|_| is_level(level))?;
    let n = s.n as f64;
    let half = t_quantile(0.5 + level / 2.0, n - 1.0) * s.std? / n.sqrt();
    half.is_finite().then_some((s.mean - half, s.mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.t.cdf(t, df)`
    #[test]
    fn distribution() {
        for (t, df, expected) in T_CDF {
            assert!((t_cdf(t, df) - expected).abs() < 1e-13, "{t} {df}: {}", t_cdf(t, df));
        }
    }

    /// `scipy.stats.t.ppf(p, df)`
    #[test]
    fn quantiles() {
        for (p, df, expected) in T_PPF {
            let got = t_quantile(p, df);
            assert!((got - expected).abs() < 1e-10 * expected.abs().max(1.0), "{p} {df}: {got}");
        }
    }

    /// `scipy.stats.t.interval(0.95, 5, numpy.mean(d), scipy.stats.sem(d))`
    #[test]
    fn intervals() {
        let (low, high) = t_interval(&[0.012, -0.021, 0.008, 0.015, 0.019, 0.011], 0.95).unwrap();
        assert!((low - INTERVAL.0).abs() < 1e-12 && (high - INTERVAL.1).abs() < 1e-12, "{low} {high}");
        assert_eq!(t_interval(&[1.0], 0.95), None);
        assert_eq!(t_interval(&[], 0.95), None);
        assert_eq!(t_interval(&[2.0, 2.0], 0.95), Some((2.0, 2.0)));
        assert_eq!(t_interval(&[0.7; 6], 0.95), Some((0.7, 0.7)));
        for level in [-0.95, 0.0, 1.0, 1.5, 99.0, f64::NAN, f64::INFINITY] {
            assert_eq!(t_interval(&[1.0, 3.0, 4.0], level), None, "{level}");
            assert_eq!(t_interval(&[3.0, 3.0, 3.0], level), None, "{level}");
        }
        for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(t_interval(&[1.0, 3.0, lost], 0.95), None, "{lost}");
        }
    }

    #[test]
    fn arguments_outside_the_domain() {
        for t in [-2.0, 0.0, 7.0] {
            assert!([0.0, -4.0, f64::NAN].iter().all(|df| t_cdf(t, *df).is_nan()), "{t}");
        }
        assert!([0.5, 4.0, 1e7, f64::INFINITY].iter().all(|df| t_cdf(f64::NAN, *df).is_nan()));
        assert_eq!((t_cdf(f64::NEG_INFINITY, 4.0), t_cdf(f64::INFINITY, 4.0)), (0.0, 1.0));
        for p in [-0.5, 0.0, 1e-300, 1.0, 50.0, f64::NAN, f64::INFINITY] {
            assert!([3.0, 1e9].iter().all(|df| t_quantile(p, *df).is_nan()), "{p}");
        }
        for df in [f64::NAN, -3.0, 0.0, 0.1] {
            assert!(t_quantile(0.9, df).is_nan(), "{df}");
        }
    }

    /// A quantile of many degrees of freedom is found, and both functions continue into the normal distribution.
    #[test]
    fn many_degrees_of_freedom() {
        for p in [1e-6, 0.025, 0.3, 0.5, 0.95, 1.0 - 1e-6] {
            let normal = Normal::standard().inverse_cdf(p);
            for df in [1e5, 1.1e5, 1e8, 1e30, f64::INFINITY] {
                assert!((t_quantile(p, df) - normal).abs() < 4e-4, "{p} {df}: {}", t_quantile(p, df));
                assert!((t_cdf(normal, df) - p).abs() < 2e-6, "{p} {df}: {}", t_cdf(normal, df));
            }
        }
    }

    const T_CDF: [(f64, f64, f64); 7] = [
        (0.0, 3.0, 0.5),
        (1.0, 1.0, 0.75),
        (-2.0, 5.0, 0.050_969_739_414_929_174),
        (2.5, 2.0, 0.935_194_139_889_244_6),
        (4.0, 30.0, 0.999_809_077_181_958_1),
        (0.3, 9.0, 0.614_504_648_129_237_6),
        (-12.0, 4.0, 0.000_138_214_274_251_486_5),
    ];
    const T_PPF: [(f64, f64, f64); 9] = [
        (0.975, 1.0, 12.706_204_736_174_694),
        (0.975, 2.0, 4.302_652_729_749_462),
        (0.975, 4.0, 2.776_445_105_197_793_4),
        (0.975, 5.0, 2.570_581_835_636_314_6),
        (0.975, 9.0, 2.262_157_162_798_205),
        (0.95, 29.0, 1.699_127_026_533_497_2),
        (0.025, 7.0, -2.364_624_251_592_784_4),
        (0.5, 3.0, 0.0),
        (0.9995, 3.0, 12.923_978_636_687_961),
    ];
    const INTERVAL: (f64, f64) = (-0.007_753_254_535_985_279, 0.022_419_921_202_651_946);
}
