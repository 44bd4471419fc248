//! Student's t distribution.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::summary;

/// P(T ≤ t) for `df` > 0 degrees of freedom; NaN for `df` ≤ 0.
#[must_use]
pub fn t_cdf(t: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |distribution| distribution.cdf(t))
}

/// The t with P(T ≤ t) = `p`, 0 < p < 1; NaN for `df` ≤ 0.
#[must_use]
pub fn t_quantile(p: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |distribution| distribution.inverse_cdf(p))
}

/// The t-interval for the mean of `values` at confidence `level` (such as 0.95); `None` for fewer than two values.
#[must_use]
pub fn t_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    let s = summary(values)?;
    let n = s.n as f64;
    let half = t_quantile(0.5 + level / 2.0, n - 1.0) * s.std? / n.sqrt();
    Some((s.mean - half, s.mean + half))
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
