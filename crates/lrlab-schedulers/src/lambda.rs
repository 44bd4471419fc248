//! Schedules from functions. An experiment file refers to such functions by name ([`Lambdas`](crate::Lambdas)).

use std::fmt;

use crate::{Schedule, Time, check::saturate};

/// `lr(t) = base · factor(t)` for any function (PyTorch's `LambdaLR`).
///
/// A NaN factor counts as 0.
///
/// ```
/// use lrlab_schedulers::{Horizon, Schedule, lambda};
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// assert_eq!(lambda(|at| 0.5_f64.powf(at.epoch.floor())).lr(0.1, run.at(25)), 0.025);
/// ```
pub fn lambda<F: Fn(Time) -> f64 + Send + Sync>(factor: F) -> Lambda<F> {
    Lambda(factor)
}

/// Returns a schedule that is always the base rate, the neutral element of [`Compose::over`](crate::Compose::over).
#[must_use]
pub fn fixed() -> Lambda<fn(Time) -> f64> {
    Lambda(|_| 1.0)
}

/// `lr(t) = base · factor(1) · factor(2) · … · factor(t)`, t in updates, for any function (PyTorch's
/// `MultiplicativeLR`). The products for `updates` updates are computed once; after them the rate holds.
pub fn multiplicative(factor: impl Fn(u64) -> f64, updates: usize) -> Lambda<Factor> {
    let mut products = vec![1.0];
    let mut product = 1.0;
    for step in 1..=updates as u64 {
        product = saturate(product * factor(step));
        products.push(if f64::is_nan(product) { 0.0 } else { product });
    }
    lambda(Box::new(move |at: Time| products[(at.update as usize).min(products.len() - 1)]))
}

/// A boxed function of time.
pub type Factor = Box<dyn Fn(Time) -> f64 + Send + Sync>;

/// See [`lambda`].
#[derive(Clone)]
pub struct Lambda<F>(F);

impl<F> fmt::Debug for Lambda<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lambda")
    }
}

impl<F: Fn(Time) -> f64 + Send + Sync> Schedule for Lambda<F> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let factor = (self.0)(at);
        if factor.is_nan() { 0.0 } else { saturate(base * saturate(factor)) }
    }
}
