//! Student's t distribution, through the regularised incomplete beta function.

use super::summary;

/// P(T ≤ t) for `df` degrees of freedom: 1 − ½·I(df/(df + t²); df/2, ½) for t ≥ 0 (Abramowitz and Stegun, 26.7.1).
#[must_use]
pub fn t_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(df / (df + t * t), df / 2.0, 0.5);
    if t < 0.0 { tail } else { 1.0 - tail }
}

/// The t with P(T ≤ t) = `p`, 0 < p < 1, by bisection to the last bits.
#[must_use]
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if p < 0.5 {
        return -t_quantile(1.0 - p, df);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while t_cdf(high, df) < p && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if t_cdf(middle, df) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The t-interval for the mean of `values` at `level` (0.95); `None` below two values.
#[must_use]
pub fn t_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    let s = summary(values)?;
    let n = s.n as f64;
    let half = t_quantile(0.5 + level / 2.0, n - 1.0) * s.std? / n.sqrt();
    Some((s.mean - half, s.mean + half))
}

/// I(x; a, b) by Lentz's continued fraction (Press et al., Numerical Recipes, 3rd edition, section 6.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(x, a, b) / a
    } else {
        1.0 - front * continued_fraction(1.0 - x, b, a) / b
    }
}

fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let safe = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in (1..=300).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = h;
        for term in [even, odd] {
            d = 1.0 / safe(1.0 + term * d);
            c = safe(1.0 + term / c);
            h *= d * c;
        }
        if (h - before).abs() <= 1e-16 * h.abs() {
            break;
        }
    }
    h
}

/// ln Γ(x) for x > 0: Stirling's series after shifting x above 12 (Abramowitz and Stegun, 6.1.41).
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 12.0 {
        shift += x.ln();
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = (1.0 / 12.0
        - z * (1.0 / 360.0
            - z * (1.0 / 1260.0 - z * (1.0 / 1680.0 - z * (1.0 / 1188.0 - z * 691.0 / 360_360.0)))))
        / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.special.gammaln`
    #[test]
    fn gamma() {
        let check =
            |x, expected: f64| assert!((ln_gamma(x) - expected).abs() < 1e-13, "{x}: {}", ln_gamma(x));
        for (x, y) in GAMMALN {
            check(x, y);
        }
    }

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

    const GAMMALN: [(f64, f64); 6] = [
        (0.5, 0.572_364_942_924_7),
        (1.0, 0.0),
        (1.5, -0.120_782_237_635_245_26),
        (2.5, 0.284_682_870_472_919_2),
        (7.0, 6.579_251_212_010_101),
        (30.25, 72.104_204_742_008),
    ];
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
