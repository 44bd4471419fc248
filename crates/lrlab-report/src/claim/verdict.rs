//! The verdict on a claim.

use crate::arm::Estimate;
use crate::stats::Summary;

/// The significance level; intervals have level 1 − `ALPHA`.
pub(super) const ALPHA: f64 = 0.05;

/// The verdict on a claim.
///
/// The verdict is based on differences over seeds, from the claimed number or from the runs of equal seed in the reference
/// arm:
///
/// - A comparison is *supported* if the mean difference has the claimed sign and a two-sided sign-flip test gives
///   p < 0.05 after Holm's correction over the planned arms of the claim, and *contradicted* if it has the opposite sign with
///   p < 0.05.
/// - A comparison is *equivalent* if the claim has a margin and two one-sided t-tests place the mean within it (p < 0.05),
///   regardless of its sign.
/// - A claim of a value with a tolerance is *supported* if two one-sided t-tests place the mean within the tolerance, and
///   *contradicted* if the 95 % t-interval lies entirely outside.
/// - A claim of "at least" or "at most" without a margin is *supported* if every difference is zero.
/// - Anything else is *undecided*.
///
/// Over several arms, *every* is supported or equivalent if all arms are; it is contradicted if one arm is, or if one arm
/// is equivalent and another is supported. *Most* takes the verdict of more than half of the arms, where equivalent and
/// contradicted arms both count against the claim. *Average* evaluates the mean over the arms, seed by seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The runs support the claim.
    Supported,
    /// The runs support the opposite.
    Contradicted,
    /// There is no difference larger than the margin.
    Equivalent,
    /// The runs support neither the claim nor its opposite.
    Undecided,
    /// No run that the claim covers has the metric.
    NotRun,
    /// The claim cannot be evaluated: an unknown metric, a missing value.
    Unreadable,
}

impl Verdict {
    /// The verdict in words.
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

/// Differences over seeds and their evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Seed, and the metric minus its reference.
    pub by_seed: Vec<(String, f64)>,
    /// Mean and standard deviation of the differences.
    pub summary: Summary,
    /// 95 % t-interval of the mean; `None` for fewer than two seeds.
    pub interval: Option<(f64, f64)>,
    /// The number of seeds whose runs in both arms have the same network at the metric's epoch.
    pub same: usize,
    /// p of the two-sided [sign-flip test](crate::stats::sign_flip).
    pub p_uncorrected: f64,
    /// `p_uncorrected` after Holm's correction over the planned arms of the claim.
    pub p: f64,
    /// The smallest p that this number of seeds can reach with the same correction, if no other arm has a smaller p.
    pub smallest_p: f64,
    /// p of two one-sided t-tests against the margin, or against the tolerance of a claim that has one; `None` for fewer
    /// than three seeds.
    pub p_equivalent: Option<f64>,
    /// The verdict on these differences.
    pub verdict: Verdict,
}

/// The result of one arm for a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Index into the report's arms.
    pub arm: usize,
    /// The arm's estimate of the metric.
    pub estimate: Estimate,
    /// Index of the reference arm.
    pub than: Option<usize>,
    /// The differences and their evaluation; `None` if no seed has the metric in the arm and its reference.
    pub judged: Option<Judged>,
    /// The verdict on this arm. An arm whose runs all diverged contradicts the claim; if instead those of the reference all
    /// diverged, the claim is undecided.
    pub verdict: Verdict,
}

/// The relation between a metric and the claimed value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    Within(f64),
    AtLeast,
    Above,
    AtMost,
    Below,
}
