//! Errors in schedules and controllers.

use std::fmt;

use crate::SpanError;

/// An invalid value and its keys, as in an experiment file.
///
/// ```
/// use lrlab_schedulers::{CosineSpec, ScheduleSpec};
/// let spec = ScheduleSpec::from(CosineSpec { eta_min: -1.0, ..CosineSpec::default() });
/// assert_eq!(spec.check().unwrap_err().to_string(), "cosine.eta_min: -1 is not a number from 0 to 1e30");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// The keys from the outside in, joined by dots, with positions in lists as numbers: `sequential.schedulers.1.step`.
    pub path: String,
    /// The problem.
    pub problem: Problem,
}

/// The problem with a value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A number outside its range, including infinities and NaN.
    #[error("{value} is not {expected}")]
    Range {
        /// The number.
        value: f64,
        /// The accepted numbers.
        expected: &'static str,
    },
    /// A length of 0 where a positive one is required.
    #[error("\"{span}\" is not a valid length: expected more than 0")]
    NoLength {
        /// The length.
        span: crate::Span,
    },
    /// A malformed length.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// Keys that exclude each other, of which one is required.
    #[error("expected exactly one of {keys}, found {found}")]
    ExactlyOne {
        /// The keys.
        keys: &'static str,
        /// Their number.
        found: usize,
    },
    /// An empty list.
    #[error("the list is empty")]
    Empty,
    /// Values that do not increase.
    #[error("{next} follows {previous}: the values must increase")]
    NotIncreasing {
        /// The earlier entry.
        previous: String,
        /// The entry that must be larger.
        next: String,
    },
    /// A list of the wrong length.
    #[error("the number of entries is {found}, expected {expected}")]
    Length {
        /// Their number.
        found: usize,
        /// The expected number, and the reason.
        expected: String,
    },
    /// A run without updates.
    #[error("the run has no updates")]
    EmptyRun,
    /// A controller with trials on a recorded curve.
    #[error("cannot be replayed on a recorded curve, because it decides by trials")]
    NeedsTrials,
    /// A text that is not a schedule or controller.
    #[error("{message}")]
    Syntax {
        /// The message, with line and column.
        message: String,
    },
    /// An exception of `PyTorch`, which [`torch`](crate::torch) reproduces.
    #[error("PyTorch raises {what}")]
    Raises {
        /// The exception.
        what: String,
    },
}

impl Error {
    /// Creates an error at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, problem: impl Into<Problem>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// Prepends `prefix` to the path.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.path = if self.path.is_empty() { prefix.to_owned() } else { format!("{prefix}.{}", self.path) };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { self.problem.fmt(f) } else { write!(f, "{}: {}", self.path, self.problem) }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}
