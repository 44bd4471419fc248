//! What can be wrong with a schedule or controller, and where.

use std::fmt;

use crate::SpanError;

/// A refused value and the keys that lead to it, as an experiment file spells them.
///
/// ```
/// use lrlab_schedulers::{CosineSpec, ScheduleSpec};
/// let spec = ScheduleSpec::from(CosineSpec { eta_min: -1.0, ..CosineSpec::default() });
/// assert_eq!(spec.check().unwrap_err().to_string(), "cosine.eta_min: -1 is not a number from 0 to 1e30");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// Keys from the outside in, joined by dots; positions in lists are numbers: `sequential.schedulers.1.step`.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A number outside its range, infinities and NaN included.
    #[error("{value} is not {expected}")]
    Range {
        /// The number.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A length of nothing where something has to happen.
    #[error("\"{span}\" is no length: at least some part of an update is needed")]
    NoLength {
        /// The length.
        span: crate::Span,
    },
    /// A text that is no length.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// Keys of which one, and only one, has to be given.
    #[error("exactly one of {keys} has to be given, found {found}")]
    ExactlyOne {
        /// The keys.
        keys: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A list that has to hold something.
    #[error("the list is empty")]
    Empty,
    /// Moments that have to follow one another.
    #[error("{next} follows {previous}: the values have to increase")]
    NotIncreasing {
        /// The earlier entry.
        previous: String,
        /// The entry that ought to be larger.
        next: String,
    },
    /// Lists that belong together but differ in length.
    #[error("{found} entries, expected {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many there ought to be, and why.
        expected: String,
    },
    /// A run without a single update.
    #[error("the run has no updates")]
    EmptyRun,
    /// A controller that decides by trials, asked about a recorded curve.
    #[error("decides by trials of its own, which a recorded curve cannot answer")]
    NeedsTrials,
    /// A text that is no schedule or controller.
    #[error("{message}")]
    Syntax {
        /// The parser's words, with line and column.
        message: String,
    },
    /// Where `PyTorch` raises an exception, so does [`torch`](crate::torch).
    #[error("PyTorch raises {what}")]
    Raises {
        /// The exception.
        what: String,
    },
}

impl Error {
    /// A problem at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, problem: impl Into<Problem>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// The same problem seen from further outside: `prefix` goes before the path.
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
