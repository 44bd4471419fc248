//! Lengths with a unit.

#[cfg(feature = "schemars")]
use std::borrow::Cow;
use std::{fmt, str::FromStr};

#[cfg(feature = "schemars")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Horizon;

/// A length with its unit: `"3 epochs"`, `"200 updates"`, `"30%"`. A number without a unit is an error.
///
/// ```
/// use lrlab_schedulers::{Horizon, Span};
/// let run = Horizon { updates: 1000, updates_per_epoch: 100 };
/// assert_eq!("1.5 epochs".parse::<Span>()?.resolve(&run), 150.0);
/// assert_eq!("7%".parse::<Span>()?.resolve(&run), 70.0);
/// assert!("30".parse::<Span>().is_err());
/// # Ok::<(), lrlab_schedulers::SpanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Span {
    /// Optimizer updates.
    Updates(u64),
    /// Epochs, possibly fractional.
    Epochs(f64),
    /// A fraction of the run; 1 is the whole run.
    Fraction(f64),
}

/// The error of parsing a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A number without a unit.
    #[error("{text} has no unit: write \"{text} epochs\", \"{text} updates\" or \"{text}%\"")]
    NoUnit {
        /// The number.
        text: String,
    },
    /// A malformed length.
    #[error(
        "{text:?} is not a valid length: expected, for example, \"3 epochs\", \"200 updates\" or \"30%\""
    )]
    Malformed {
        /// The text.
        text: String,
    },
    /// A fractional number of updates.
    #[error("{text:?}: the number of updates must be an integer")]
    PartOfUpdate {
        /// The text.
        text: String,
    },
    /// A length above the maximum.
    #[error("{text:?} is too long: expected at most 1e15")]
    TooLong {
        /// The text.
        text: String,
    },
}

impl Span {
    /// The whole run, `"100%"`.
    pub const WHOLE: Self = Self::Fraction(1.0);

    /// Returns the length in updates, possibly fractional. A phase of length 10.5 ends before update 11.
    ///
    /// A length within rounding of an integer is that integer: 7 % of 100 would otherwise be 7.000000000000001.
    #[must_use]
    pub fn resolve(&self, run: &Horizon) -> f64 {
        crate::time::snap(match *self {
            Self::Updates(n) => n as f64,
            Self::Epochs(n) => n * run.updates_per_epoch.max(1) as f64,
            Self::Fraction(x) => x * run.updates as f64,
        })
    }

    /// Returns the first update at or after the length: [`Span::resolve`], rounded up.
    #[must_use]
    pub fn resolve_updates(&self, run: &Horizon) -> u64 {
        self.resolve(run).ceil() as u64
    }

    /// Returns the number before the unit; for a percentage, the fraction.
    pub(crate) fn amount(&self) -> f64 {
        match *self {
            Self::Updates(n) => n as f64,
            Self::Epochs(x) | Self::Fraction(x) => x,
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        (0.0..=MAX_AMOUNT).contains(&self.amount())
    }
}

const MAX_AMOUNT: f64 = 1e15;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim_start());
        let text = || text.to_owned();
        let amount: f64 = number.parse().map_err(|_| SpanError::Malformed { text: text() })?;
        let span = match unit {
            "epoch" | "epochs" => Self::Epochs(amount),
            "update" | "updates" if amount.fract() != 0.0 => {
                return Err(SpanError::PartOfUpdate { text: text() });
            }
            "update" | "updates" => Self::Updates(amount as u64),
            // "7%" is the number nearest to 0.07, from which 7 / 100 may differ.
            "%" => Self::Fraction(
                format!("{number}e-2").parse().map_err(|_| SpanError::Malformed { text: text() })?,
            ),
            "" => return Err(SpanError::NoUnit { text: number.to_owned() }),
            _ => return Err(SpanError::Malformed { text: text() }),
        };
        if span.is_accepted() { Ok(span) } else { Err(SpanError::TooLong { text: text() }) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Updates(1) => f.write_str("1 update"),
            Self::Updates(n) => write!(f, "{n} updates"),
            Self::Epochs(1.0) => f.write_str("1 epoch"),
            Self::Epochs(x) => write!(f, "{x} epochs"),
            Self::Fraction(x) => write!(f, "{}%", hundredfold(x)),
        }
    }
}

/// Formats `100 x` with exactly the digits of `x`, so that parsing it returns `x`.
fn hundredfold(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{x:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let digits = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or(0) + 3;
    let length = digits.len() as i32;
    if point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else if point >= length {
        format!("{digits}{}", "0".repeat((point - length) as usize))
    } else {
        let (whole, part) = digits.split_at(point as usize);
        format!("{whole}.{part}")
    }
}

#[cfg(feature = "serde")]
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length with its unit such as \"3 epochs\", \"200 updates\" or \"30%\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit { text: n.to_string() }))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit { text: n.to_string() }))
            }
            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Span, E> {
                Err(E::custom(SpanError::NoUnit { text: x.to_string() }))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "schemars")]
impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length with its unit: \"3 epochs\", \"200 updates\", \"30%\" of the run.",
            "pattern": r"^\s*(([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(epochs?|%)|[0-9]+(\.0*)?\s*updates?)\s*$",
            "examples": ["3 epochs", "200 updates", "30%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_parse_and_print() {
        let check = |text: &str, span: Span, printed: &str| {
            assert_eq!(text.parse(), Ok(span), "{text}");
            assert_eq!(span.to_string(), printed);
            assert_eq!(printed.parse(), Ok(span));
        };
        check("3 epochs", Span::Epochs(3.0), "3 epochs");
        check(" 1 epoch ", Span::Epochs(1.0), "1 epoch");
        check("1.5 epochs", Span::Epochs(1.5), "1.5 epochs");
        check("200updates", Span::Updates(200), "200 updates");
        check("1 update", Span::Updates(1), "1 update");
        check("30%", Span::Fraction(0.3), "30%");
        check("7 %", Span::Fraction(0.07), "7%");
        check("0.1%", Span::Fraction(0.001), "0.1%");
        check("12.5%", Span::Fraction(0.125), "12.5%");
        check("1000%", Span::Fraction(10.0), "1000%");
        check("0%", Span::Fraction(0.0), "0%");
    }

    #[test]
    fn malformed_spans_are_errors() {
        let check =
            |text: &str, words: &str| assert_eq!(text.parse::<Span>().unwrap_err().to_string(), words);
        check("30", "30 has no unit: write \"30 epochs\", \"30 updates\" or \"30%\"");
        check("1.5 updates", "\"1.5 updates\": the number of updates must be an integer");
        check("9999999999999999 epochs", "\"9999999999999999 epochs\" is too long: expected at most 1e15");
        for text in ["", "epochs", "-3 epochs", "1..2 epochs", "3 steps", "NaN epochs", "1e3 epochs", "%"] {
            assert!(matches!(text.parse::<Span>(), Err(SpanError::Malformed { .. })), "{text}");
        }
        let words = serde_json::from_str::<Span>("30").unwrap_err().to_string();
        assert!(words.starts_with("30 has no unit"), "{words}");
    }

    #[test]
    fn spans_resolve_to_updates() {
        let run = Horizon { updates: 100, updates_per_epoch: 7 };
        let check = |text: &str, updates: f64, first: u64| {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.resolve(&run), span.resolve_updates(&run)), (updates, first), "{text}");
        };
        check("1.5 epochs", 10.5, 11);
        check("7%", 7.0, 7);
        check("29%", 29.0, 29);
        check("200 updates", 200.0, 200);
        check("0%", 0.0, 0);
    }

    proptest::proptest! {
        #[test]
        fn printed_spans_parse_to_the_same_span(n in 0_u64..1_000_000_000_000_000, x in 0.0..1e15, y in 0.0..2.0) {
            for span in [Span::Updates(n), Span::Epochs(x), Span::Fraction(x), Span::Fraction(y), Span::Epochs(y)] {
                proptest::prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }
    }
}
