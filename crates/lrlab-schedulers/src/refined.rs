//! Schedules from the norms of gradients.

use crate::{Error, Problem, check};

/// What the base rate is multiplied by at each update, from the norms of the gradients of an earlier run of the same length.
///
/// With `w_t = g_t^(−2)` the factor is `w_t · Σ_{p > t} w_p`, over the largest of all. For Adam take `exponent = 1` and the
/// ℓ₁ norms, `w_t = 1 / g_t`. Norms are noisy: smooth them first, the paper with a median over some percent of the run.
/// Source: Defazio et al., "Optimal linear decay learning rate schedules and further refinements" (arXiv 2310.07831),
/// theorem 3 and algorithm 1. Equal norms give `1 − (t + 1) / T` up to the factor.
///
/// ```
/// let factors = lrlab_schedulers::refined(&[2.0, 2.0, 1.0, 1.0], 2.0)?;
/// // w = 1/4, 1/4, 1, 1; sums of what follows: 9/4, 2, 1, 0.
/// assert_eq!(factors, [0.5625, 0.5, 1.0, 0.0]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Fewer than two norms, a norm that is not above 0 and at most 1e30, or an exponent that is not.
pub fn refined(norms: &[f64], exponent: f64) -> Result<Vec<f64>, Error> {
    check::positive("exponent", exponent)?;
    if norms.len() < 2 {
        let expected = "at least 2: the last update has the factor 0".to_owned();
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
