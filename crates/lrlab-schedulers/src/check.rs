//! Range checks of single fields, and the arithmetic that keeps rates finite.
//!
//! Rates and factors are accepted up to 1e30, so that differences and products of a few of them are finite. [`saturate`]
//! limits the results of deeper nesting.

use crate::{Error, Problem, Span};

/// The largest accepted rate or factor.
pub(crate) const MAX: f64 = 1e30;

pub(crate) fn range(field: &str, value: f64, accepted: bool, expected: &'static str) -> Result<(), Error> {
    if accepted { Ok(()) } else { Err(Error::new(field, Problem::Range { value, expected })) }
}

/// Checks a learning rate: 0 … 1e30.
pub(crate) fn rate(field: &str, value: f64) -> Result<(), Error> {
    range(field, value, (0.0..=MAX).contains(&value), "a number from 0 to 1e30")
}

/// Checks a positive factor: 0 < x ≤ 1e30.
pub(crate) fn positive(field: &str, value: f64) -> Result<(), Error> {
    range(field, value, value > 0.0 && value <= MAX, "a number above 0, at most 1e30")
}

/// Checks a factor of 0 … 1.
pub(crate) fn unit(field: &str, value: f64) -> Result<(), Error> {
    range(field, value, (0.0..=1.0).contains(&value), "a number from 0 to 1")
}

/// Checks a length above 0.
pub(crate) fn length(field: &str, span: Span) -> Result<(), Error> {
    moment(field, span)?;
    if span.amount() > 0.0 { Ok(()) } else { Err(Error::new(field, Problem::NoLength { span })) }
}

/// Checks a time since the start, which may be 0.
pub(crate) fn moment(field: &str, span: Span) -> Result<(), Error> {
    range(field, span.amount(), span.is_accepted(), "a length from 0 to 1e15")
}

/// Replaces infinities by the largest finite number of the same sign, so that a later `× 0` does not give NaN.
pub(crate) fn saturate(x: f64) -> f64 {
    x.clamp(f64::MIN, f64::MAX)
}
