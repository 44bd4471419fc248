//! Schedules from gradient norms.

use crate::{Error, Problem, check};

/// Returns the factor of the base rate for each update, computed from the gradient norms of an earlier run of the same
/// length.
///
/// The factor is `w_t · Σ_{p > t} w_p` with `w_t = g_t^(−exponent)`, divided by the largest factor. For SGD, `exponent` is 2;
/// for Adam, it is 1 with ℓ₁ norms. Norms are noisy, so smooth them first; the paper uses a median over a few percent of the
/// run. Equal norms give `1 − (t + 1) / T`, up to a constant. Source: Defazio et al., "Optimal linear decay learning rate
/// schedules and further refinements" (arXiv 2310.07831), theorem 3 and algorithm 1.
///
/// ```
/// let factors = lrlab_schedulers::refined(&[2.0, 2.0, 1.0, 1.0], 2.0)?;
/// // w = 1/4, 1/4, 1, 1; sums of the following weights: 9/4, 2, 1, 0.
/// assert_eq!(factors, [0.5625, 0.5, 1.0, 0.0]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error if there are fewer than two norms, or if a norm or the exponent is not above 0 and at most 1e30.
pub fn refined(norms: &[f64], exponent: f64) -> Result<Vec<f64>, Error> {
    check::positive("exponent", exponent)?;
    if norms.len() < 2 {
        let expected = "at least 2, because the factor of the last update is 0".to_owned();
        return Err(Error::new("norms", Problem::Length { found: norms.len(), expected }));
    }
    norms.iter().enumerate().try_for_each(|(i, &norm)| check::positive(&format!("norms.{i}"), norm))?;
    // Relative to the smallest norm, so that every weight is at most 1.
    let least = norms.iter().copied().fold(f64::INFINITY, f64::min);
    let mut rest = 0.0;
    let mut factors: Vec<f64> = norms
        .iter()
        .rev()
        .map(|norm| {
            let weight = libm::pow(least / norm, exponent);
            let factor = weight * rest;
            rest += weight;
            factor
        })
        .collect();
    factors.reverse();
    let most = factors.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    Ok(factors.into_iter().map(|factor| factor / most).collect())
}
