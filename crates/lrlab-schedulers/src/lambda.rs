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

/// `lr(e) = next(e, lr(e − 1))` with `lr(−1) = base`, e the epoch from 0: each epoch's rate from the one before (Keras's
/// `LearningRateScheduler`). After the first `epochs` epochs the rate holds.
///
/// A rate costs as many calls of `next` as epochs have begun. A rate that is NaN counts as 0.
///
/// ```
/// use lrlab_schedulers::{Horizon, Schedule, recursive};
/// let run = Horizon { updates: 60, updates_per_epoch: 10 };
/// let schedule = recursive(|epoch, lr| if epoch < 2 { lr } else { (lr / 2.0).max(0.05) }, 6);
/// assert_eq!([0, 10, 20, 59].map(|update| schedule.lr(0.4, run.at(update))), [0.4, 0.4, 0.2, 0.05]);
/// ```
pub fn recursive<F: Fn(u64, f64) -> f64 + Send + Sync>(next: F, epochs: u64) -> Recursive<F> {
    Recursive { next, epochs }
}

/// See [`recursive`].
#[derive(Clone)]
pub struct Recursive<F> {
    next: F,
    epochs: u64,
}

impl<F> fmt::Debug for Recursive<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recursive").field("epochs", &self.epochs).finish_non_exhaustive()
    }
}

impl<F: Fn(u64, f64) -> f64 + Send + Sync> Schedule for Recursive<F> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let begun = (at.epoch.floor() as u64).saturating_add(1).min(self.epochs);
        (0..begun).fold(base, |lr, epoch| {
            let next = (self.next)(epoch, lr);
            if next.is_nan() { 0.0 } else { saturate(next) }
        })
    }
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
