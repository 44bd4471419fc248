//! What runs may say about a claim.

use crate::arm::Estimate;
use crate::stats::Summary;

/// The level of tests and, from one, of intervals.
pub(super) const ALPHA: f64 = 0.05;

/// What the runs say about a claim.
///
/// By differences over seeds (to the number claimed, or to the runs of equal seed that it is compared with):
///
/// - a comparison is *supported* where their mean lies on the side that is claimed and an exact two-sided sign-flip test
///   gives p < 0.05 after Holm's correction over the arms of the claim, and *contradicted* where it lies on the other side
///   with such a p;
/// - it is *equivalent* where the claim has a margin and two one-sided t-tests place the mean within it (p < 0.05),
///   whichever side it lies on;
/// - a claim of a value with a tolerance is *supported* where two one-sided t-tests place the mean within the tolerance,
///   and *contradicted* where the 95 % t-interval lies wholly outside;
/// - anything else is *undecided*.
///
/// Over several arms: *every* is supported or equivalent where all arms are, and contradicted where one arm is, or where
/// one is equivalent and another is not; *most* is what more than half of the arms are, where an arm that is equivalent
/// speaks against the claim as one that contradicts it does; *average* judges the mean over the arms, seed by seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was measured shows it.
    Supported,
    /// What was measured shows the opposite.
    Contradicted,
    /// No difference larger than the margin.
    Equivalent,
    /// What was measured shows neither.
    Undecided,
    /// No run that it speaks about has the figure.
    NotRun,
    /// It cannot be read: an unknown metric, a missing value.
    Unreadable,
}

impl Verdict {
    /// For readers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Contradicted => "contradicted",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
            Self::NotRun => "not run",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What differences over seeds say.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Seed, and figure minus what it is held against.
    pub by_seed: Vec<(String, f64)>,
    /// Their mean and spread.
    pub summary: Summary,
    /// 95 % t-interval of the mean; from two seeds on.
    pub interval: Option<(f64, f64)>,
    /// Exact two-sided sign-flip test, after Holm's correction over the arms of the claim.
    pub p: f64,
    /// The smallest p that so many seeds can reach, corrected alike.
    pub smallest_p: f64,
    /// Two one-sided t-tests against the margin (of a claim with a tolerance: against that); from two seeds on.
    pub p_equivalent: Option<f64>,
    /// The verdict on these seeds alone.
    pub verdict: Verdict,
}

/// One arm's figure beside a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Index into the report's arms.
    pub arm: usize,
    /// Our figure.
    pub estimate: Estimate,
    /// Index of the arm it is compared with.
    pub than: Option<usize>,
    /// What the seeds say; `None` where none has the figure, or where a pair lacks one.
    pub judged: Option<Judged>,
    /// The verdict on this arm. One whose runs all diverged contradicts the claim.
    pub verdict: Verdict,
}

/// How a figure is to stand to what is claimed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    Within(f64),
    AtLeast,
    Above,
    AtMost,
    Below,
}
