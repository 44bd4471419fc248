//! Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

/// Adjusted p-values in the order of `p`: the k-th smallest of m becomes max over j ≤ k of min(1, (m − j + 1) p₍ⱼ₎). A p that is
/// NaN counts as 1, like a comparison without runs.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    // The minimum with NaN is 1.
    let p: Vec<f64> = p.iter().map(|p| p.min(1.0)).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut floor = 0.0_f64;
    for (rank, i) in order.into_iter().enumerate() {
        floor = floor.max((p[i] * (p.len() - rank) as f64).min(1.0));
        adjusted[i] = floor;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.multitest.multipletests(p, method="holm")[1]`
    #[test]
    fn known_values() {
        let check = |p: &[f64], expected: &[f64]| {
            let got = holm(p);
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
        };
        check(&[], &[]);
        check(&[0.03125], &[0.03125]);
        check(&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]);
        check(&[0.5, 0.9, 0.4], &[1.0, 1.0, 1.0]);
        check(&[0.02, 0.02, 0.02], &[0.06, 0.06, 0.06]);
        for undefined in [f64::NAN, -f64::NAN] {
            check(&[0.01, undefined, 0.03], &[0.03, 1.0, 0.06]);
        }
    }
}
