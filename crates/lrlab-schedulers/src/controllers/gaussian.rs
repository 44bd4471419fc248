//! A Gaussian process over one variable, which estimates the location of the minimum from a few expensive values. Source:
//! Rasmussen and Williams, 2006, algorithm 2.1.

/// The variance of the noise relative to the variance of the values.
const NOISE: f64 = 1e-2;
/// The distance of the lower confidence bound from the mean, in standard deviations.
const KAPPA: f64 = 1.0;
/// The distance from the mean, in standard deviations, that replaces a value that is not finite.
const BAD: f64 = 3.0;
/// The number of intervals between the points at which the bound is computed.
const GRID: u32 = 64;

/// A fit with the squared-exponential kernel, whose length is a quarter of the range of the points. Values are standardised
/// to mean 0 and variance 1.
#[derive(Debug)]
pub(super) struct Surrogate {
    xs: Vec<f64>,
    length: f64,
    /// The lower triangle of the Cholesky factor of the kernel matrix, by rows.
    factor: Vec<Vec<f64>>,
    /// `K⁻¹ y`.
    weights: Vec<f64>,
}

impl Surrogate {
    /// Returns `None` if no value is finite or all points are equal.
    pub(super) fn fit(points: &[(f64, Option<f64>)]) -> Option<Self> {
        let finite: Vec<f64> = points.iter().filter_map(|point| point.1).collect();
        let n = finite.len() as f64;
        if finite.is_empty() {
            return None;
        }
        let mean = finite.iter().map(|y| y / n).sum::<f64>();
        let deviation = finite.iter().map(|y| (y - mean) * (y - mean) / n).sum::<f64>().sqrt();
        let scale = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
        let xs: Vec<f64> = points.iter().map(|point| point.0).collect();
        let (low, high) =
            xs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        let length = (high - low) / 4.0;
        if length.is_nan() || length <= 0.0 {
            return None;
        }
        let ys = points.iter().map(|point| point.1.map_or(BAD, |y| ((y - mean) / scale).clamp(-BAD, BAD)));
        let factor = cholesky(&xs, length);
        let forward = solve_lower(&factor, ys.collect());
        let weights = solve_upper(&factor, forward);
        Some(Self { xs, length, factor, weights })
    }

    /// Returns the point between `low` and `high` with the lowest lower confidence bound, away from the known points.
    pub(super) fn lowest(&self, low: f64, high: f64) -> Option<f64> {
        let step = (high - low) / f64::from(GRID);
        let apart = |x: &f64| self.xs.iter().all(|known| (known - x).abs() > 0.5 * step);
        let grid = (0..=GRID).map(|i| low + step * f64::from(i)).filter(apart);
        grid.map(|x| (x, self.bound(x))).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(x, _)| x)
    }

    fn bound(&self, x: f64) -> f64 {
        let near: Vec<f64> = self.xs.iter().map(|&known| kernel(x, known, self.length)).collect();
        let mean: f64 = near.iter().zip(&self.weights).map(|(k, w)| k * w).sum();
        let explained: f64 = solve_lower(&self.factor, near).iter().map(|v| v * v).sum();
        mean - KAPPA * (1.0 - explained).max(0.0).sqrt()
    }
}

fn kernel(a: f64, b: f64, length: f64) -> f64 {
    libm::exp(-0.5 * ((a - b) / length) * ((a - b) / length))
}

/// Returns the factor of `K + NOISE · I`. The noise keeps its diagonal above 0.
fn cholesky(xs: &[f64], length: f64) -> Vec<Vec<f64>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(xs.len());
    for (i, &a) in xs.iter().enumerate() {
        let mut row = Vec::with_capacity(i + 1);
        for (j, &b) in xs[..=i].iter().enumerate() {
            let above: &[f64] = if i == j { &row } else { &factor[j] };
            let known: f64 = row.iter().zip(above).take(j).map(|(x, y)| x * y).sum();
            let left = kernel(a, b, length) - known;
            let entry = if i == j { (left + NOISE).max(NOISE * NOISE).sqrt() } else { left / factor[j][j] };
            row.push(entry);
        }
        factor.push(row);
    }
    factor
}

/// Solves `L x = b`.
fn solve_lower(factor: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..b.len() {
        let known: f64 = (0..i).map(|j| factor[i][j] * b[j]).sum();
        b[i] = (b[i] - known) / factor[i][i];
    }
    b
}

/// Solves `Lᵀ x = b`.
fn solve_upper(factor: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in (0..b.len()).rev() {
        let known: f64 = (i + 1..b.len()).map(|j| factor[j][i] * b[j]).sum();
        b[i] = (b[i] - known) / factor[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_a_parabola() {
        let loss = |x: f64| (x - 0.7).powi(2);
        let mut points: Vec<(f64, Option<f64>)> = [0.0, -2.0, 2.0].map(|x| (x, Some(loss(x)))).to_vec();
        for _ in 0..6 {
            let x = Surrogate::fit(&points).unwrap().lowest(-2.0, 2.0).unwrap();
            points.push((x, Some(loss(x))));
        }
        let best = points.iter().min_by(|a, b| a.1.unwrap().total_cmp(&b.1.unwrap())).unwrap();
        assert!((best.0 - 0.7).abs() < 0.2, "{points:?}");
    }

    #[test]
    fn mean_is_near_the_given_points() {
        let points = [(0.0, Some(1.0)), (1.0, Some(2.0)), (3.0, Some(0.0)), (4.0, None)];
        let fitted = Surrogate::fit(&points).unwrap();
        for (x, standard) in [(0.0, 0.0), (1.0, 1.5_f64.sqrt()), (3.0, -(1.5_f64.sqrt())), (4.0, BAD)] {
            let near = fitted.xs.iter().zip(&fitted.weights);
            let mean: f64 = near.map(|(&known, w)| kernel(x, known, fitted.length) * w).sum();
            assert!((mean - standard).abs() < 0.1, "{mean} at {x}, not {standard}");
        }
    }

    #[test]
    fn fit_needs_a_finite_value_and_two_points() {
        assert!(Surrogate::fit(&[]).is_none());
        assert!(Surrogate::fit(&[(0.0, None), (1.0, None)]).is_none());
        assert!(Surrogate::fit(&[(1.0, Some(0.0))]).is_none());
    }
}
