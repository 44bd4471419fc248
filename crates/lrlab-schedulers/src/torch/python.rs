//! Arithmetic that returns an error where Python raises an exception.

use crate::{Error, Problem};

pub(super) fn raises(what: impl Into<String>) -> Error {
    Error::new("", Problem::Raises { what: what.into() })
}

/// `a / b`.
pub(super) fn divide(a: f64, b: f64) -> Result<f64, Error> {
    if b == 0.0 { Err(raises("ZeroDivisionError: division by zero")) } else { Ok(a / b) }
}

/// `a ** b`.
pub(super) fn power(a: f64, b: f64) -> Result<f64, Error> {
    if a == 0.0 && b < 0.0 {
        return Err(raises("ZeroDivisionError: zero to a negative power"));
    }
    let result = a.powf(b);
    if result.is_finite() || !a.is_finite() || !b.is_finite() {
        return Ok(result);
    }
    Err(raises(if result.is_nan() { "TypeError: a complex rate" } else { "OverflowError: result too large" }))
}

/// `math.cos(x)`.
pub(super) fn cos(x: f64) -> Result<f64, Error> {
    if x.is_infinite() { Err(raises("ValueError: the cosine of an infinity")) } else { Ok(x.cos()) }
}

/// `bisect.bisect_right`, with the same result for unsorted lists.
pub(super) fn bisect_right(list: &[f64], x: f64) -> usize {
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if x < list[middle] { high = middle } else { low = middle + 1 }
    }
    low
}

/// `max(a, b)`, which returns `a` unless `b` is larger.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}
