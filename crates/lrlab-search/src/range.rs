//! The values of a range.

use serde_json::{Number, Value};

/// The numbers from `min` to `max`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Whether the range is uniform in the logarithm.
    pub(crate) log: bool,
    /// Whether values are rounded to integers.
    pub(crate) whole: bool,
}

/// The integers up to here, and no larger ones, are exact as `f64`.
const MAX_WHOLE: f64 = (1_u64 << 53) as f64;

impl Range {
    /// Returns the value that makes the range invalid, and what is expected instead.
    pub(crate) fn problem(self) -> Option<String> {
        let Self { min, max, log, whole } = self;
        for (name, end) in [("min", min), ("max", max)] {
            if !end.is_finite() {
                return Some(format!("`{name}` is {end:?}: expected a finite number"));
            }
            if whole && end.abs() > MAX_WHOLE {
                return Some(format!(
                    "`{name}` is {end:?}: expected at most 2^53 in magnitude for an integer"
                ));
            }
        }
        let width = if log { max / min } else { max - min };
        if log && min <= 0.0 {
            Some(format!("`min` is {min:?}: a logarithm needs a number above 0"))
        } else if min > max {
            Some(format!("`max` is {max:?}: expected at least `min`, which is {min:?}"))
        } else if whole && min.ceil() > max.floor() {
            Some(format!("`max` is {max:?}: no integer lies between it and `min`, which is {min:?}"))
        } else if !width.is_finite() {
            Some(format!("`max` is {max:?}: too far from `min`, which is {min:?}"))
        } else {
            None
        }
    }

    /// Returns the value at a fraction of the way from `min` to `max`, 0 … 1.
    pub(crate) fn at(self, share: f64) -> Value {
        let Self { min, max, log, whole } = self;
        let x = if log { min * libm::pow(max / min, share) } else { (max - min).mul_add(share, min) };
        if whole {
            return Value::from(x.round().clamp(min.ceil(), max.floor()) as i64);
        }
        let digits = 3 + self.shared_digits();
        let short = format!("{x:.digits$e}").parse().unwrap_or(x).clamp(min, max);
        Number::from_f64(short).map_or(Value::Null, Value::Number)
    }

    /// The number of leading digits that all values of a narrow range share, up to those that an `f64` has beside four others.
    fn shared_digits(self) -> usize {
        let shared = libm::log10(self.min.abs().max(self.max.abs()) / (self.max - self.min));
        shared.floor().clamp(0.0, 13.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(min: f64, max: f64) -> Range {
        Range { min, max, log: false, whole: false }
    }

    fn log(min: f64, max: f64) -> Range {
        Range { log: true, ..linear(min, max) }
    }

    fn whole(range: Range) -> Range {
        Range { whole: true, ..range }
    }

    #[test]
    fn rounding() {
        let check = |range: Range, share, expected: f64| {
            assert_eq!(range.at(share).as_f64(), Some(expected), "{range:?} {share}");
        };
        // Wide ranges.
        check(log(1e-3, 1.0), 0.5, 0.031_62);
        check(linear(0.0, 7.0), 1.0 / 7.0, 1.0);
        check(linear(0.0, 7.0), 0.123_456, 0.864_2);
        check(linear(-3.0, 3.0), 0.123_456, -2.259);
        check(linear(1.0, 9.0), 0.123_456, 1.988);
        check(log(2e-308, 1.7e-300), 0.5, 1.844e-304);
        // The values share one digit, three, and all that an f64 has.
        check(linear(0.9, 0.99), 0.123_456, 0.911_11);
        check(linear(-2001.0, -2000.0), 0.123_456, -2_000.877);
        check(log(0.999, 0.999_9), 0.5, 0.999_449_9);
        check(linear(1.0, 1.0 + f64::EPSILON), 1.0, 1.0 + f64::EPSILON);
        check(log(0.123_456_789, 0.123_456_789), 0.3, 0.123_456_789);
        check(linear(0.0, 0.0), 0.5, 0.0);
    }

    /// Ranges of experiments, whose values have four digits.
    #[test]
    fn wide_ranges_share_no_digits() {
        for range in [
            log(1e-3, 1.0),
            log(3e-4, 0.1),
            log(1e-6, 0.1),
            linear(0.0, 0.9),
            linear(0.1, 1.0),
            linear(0.0, 0.01),
        ] {
            assert_eq!(range.shared_digits(), 0, "{range:?}");
        }
    }

    #[test]
    fn integers() {
        let check = |range: Range, expected: [i64; 3]| {
            assert_eq!([0.0, 0.5, 1.0].map(|share| whole(range).at(share)), expected.map(Value::from));
        };
        check(linear(2.7, 9.2), [3, 6, 9]);
        check(linear(-3.5, -1.5), [-3, -3, -2]);
        check(log(0.3, 30.0), [1, 3, 30]);
        check(linear(-MAX_WHOLE, MAX_WHOLE), [-(1 << 53), 0, 1 << 53]);
    }

    #[test]
    fn problems() {
        let check = |range: Range, expected: &str| {
            assert_eq!(range.problem().as_deref().unwrap_or_default(), expected, "{range:?}");
        };
        check(linear(3.0, 2.5), "`max` is 2.5: expected at least `min`, which is 3.0");
        check(log(0.2, 0.1), "`max` is 0.1: expected at least `min`, which is 0.2");
        check(linear(f64::NAN, 1.0), "`min` is NaN: expected a finite number");
        check(whole(log(1.0, f64::INFINITY)), "`max` is inf: expected a finite number");
        check(log(-0.5, 1.0), "`min` is -0.5: a logarithm needs a number above 0");
        check(whole(log(-0.0, 9.0)), "`min` is -0.0: a logarithm needs a number above 0");
        check(
            whole(linear(-0.9, -0.1)),
            "`max` is -0.1: no integer lies between it and `min`, which is -0.9",
        );
        check(whole(log(3.2, 3.9)), "`max` is 3.9: no integer lies between it and `min`, which is 3.2");
        check(whole(linear(0.0, 1e16)), "`max` is 1e16: expected at most 2^53 in magnitude for an integer");
        check(linear(-1e308, 1e308), "`max` is 1e308: too far from `min`, which is -1e308");
        check(log(1e-200, 1e200), "`max` is 1e200: too far from `min`, which is 1e-200");
        for valid in [linear(0.0, 1.0), linear(5.0, 5.0), log(1e-9, 1.0), whole(linear(-0.5, 0.0))] {
            check(valid, "");
        }
    }
}
