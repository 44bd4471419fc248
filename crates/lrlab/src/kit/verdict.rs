//! The verdict of a check.

use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The check passed.
    Passed,
    /// The check failed.
    Failed,
    /// It was not run, for this reason.
    Skipped(String),
}

impl Outcome {
    /// Returns whether the check passed.
    pub(crate) fn passed(&self) -> bool {
        *self == Self::Passed
    }
}

/// An error and its bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    pub(super) error: f64,
    pub(super) bound: f64,
    /// The measured quantity.
    pub(super) of: String,
}

impl Measure {
    /// Returns whether the error is within the bound; a NaN is not.
    pub(super) fn holds(&self) -> bool {
        self.error <= self.bound
    }

    /// Returns whether the ratio of error and bound is greater than that of `other`; a NaN is the worst.
    pub(super) fn worse_than(&self, other: &Self) -> bool {
        let part = |measure: &Self| measure.error / measure.bound;
        part(self).is_nan() || part(self) > part(other)
    }
}

/// The verdict of a check: a line of `--json`, with its name, kind and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// How the check ended.
    pub(crate) outcome: Outcome,
    /// The observation.
    pub(crate) detail: String,
    /// The error with the greatest ratio to its bound, if errors are measured; null if it is NaN.
    pub(crate) error: Option<f64>,
    /// The bound of the error.
    pub(crate) bound: Option<f64>,
}

impl Verdict {
    pub(crate) fn passed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, detail: detail.into(), error: None, bound: None }
    }

    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, ..Self::passed(detail) }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped(why.into()), ..Self::passed("") }
    }

    /// Creates the verdict on a measurement.
    pub(super) fn measured(worst: Measure, also: &str) -> Self {
        let outcome = if worst.holds() { Outcome::Passed } else { Outcome::Failed };
        let Measure { error, bound, of } = worst;
        let detail = format!("{error:.1e} of {bound:.1e} ({of}); {also}");
        Self { outcome, detail, error: Some(error), bound: Some(bound) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_ordered_by_ratio() {
        let measure = |error: f64, bound: f64| Measure { error, bound, of: "y".to_owned() };
        assert!(measure(1e-6, 1e-5).holds() && !measure(2e-5, 1e-5).holds());
        assert!(!measure(f64::NAN, 1e-5).holds() && !measure(f64::INFINITY, 1e-5).holds());
        assert!(measure(1e-6, 1e-5).worse_than(&measure(1e-3, 2e-2)));
        assert!(measure(f64::NAN, 1e-5).worse_than(&measure(1.0, 1e-5)));
        let verdict = Verdict::measured(measure(2e-7, 2e-5), "3 cases");
        assert_eq!(verdict.detail, "2.0e-7 of 2.0e-5 (y); 3 cases");
        assert!(verdict.outcome.passed());
        let line = serde_json::to_string(&Verdict::measured(measure(f64::NAN, 1.0), "")).unwrap();
        assert!(serde_json::from_str::<Verdict>(&line).unwrap().error.is_none(), "{line}");
    }
}
