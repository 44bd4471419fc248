//! Paired comparisons: runs with one seed share initialisation, batch order, augmentation and dropout, so two arms
//! are compared by the differences between runs of equal seed.

use std::collections::BTreeMap;

use lrlab_random::{Purpose, Stream};

use crate::stats::{self, Bootstrap, Resamples, SignFlip, SignedRank, Summary};
use crate::{Arm, Metric, arm, label};

/// Level of the intervals and of the word "significant".
const LEVEL: f64 = 0.95;
const RESAMPLES: u64 = 10_000;

/// What is held against what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contrast {
    /// A schedule against the fixed rate, everything else equal.
    Schedule,
    /// The monitor on against off, everything else equal.
    Monitor,
}

impl Contrast {
    /// For a table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Schedule => "schedule vs static",
            Self::Monitor => "monitor vs none",
        }
    }
}

/// The differences of two arms, seed by seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Arm minus baseline, in the plan's order of seeds.
    pub differences: Vec<f64>,
    /// Their mean and spread.
    pub summary: Summary,
    /// 95 % t-interval of the mean; from two pairs on.
    pub t_interval: Option<(f64, f64)>,
    /// 95 % bias-corrected and accelerated (`BCa`) bootstrap interval of the mean, 10,000 resamples; from three pairs on.
    pub bootstrap: Bootstrap,
    /// Exact two-sided sign-flip test.
    pub test: SignFlip,
    /// Exact two-sided signed-rank test; `None` where every difference is zero.
    pub signed_rank: Option<SignedRank>,
    /// Mean over standard deviation of the differences, corrected for few pairs.
    pub effect: Option<f64>,
    /// The probability that a run of the arm exceeds one of the baseline, over all pairs of runs.
    pub superiority: Option<f64>,
    /// The test's p after Holm's correction over its family.
    pub p_holm: f64,
}

/// One arm against its baseline by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is held against what.
    pub contrast: Contrast,
    /// By which figure.
    pub metric: Metric,
    /// Index into the report's arms.
    pub arm: usize,
    /// Index into the report's arms.
    pub baseline: usize,
    /// Pairs the plan asks for.
    pub planned: usize,
    /// Comparisons in the family that Holm's correction is over: equal contrast, metric and everything but
    /// schedule and monitor.
    pub family: usize,
    /// The differences; `None` where no seed has both figures.
    pub paired: Option<Paired>,
}

impl Comparison {
    /// The metrics that are compared: the three ways in which a schedule might help (accuracy, loss, gap) and the
    /// test split.
    pub const METRICS: [Metric; 6] = [
        Metric::best("test_accuracy"),
        Metric::best("test_f1"),
        Metric::best("val_accuracy"),
        Metric::last("val_accuracy"),
        Metric::last("val_loss"),
        Metric::last("accuracy_gap"),
    ];

    /// The smallest p that so many pairs can reach after Holm's correction over the family.
    #[must_use]
    pub fn smallest_p(&self) -> Option<f64> {
        self.paired.as_ref().map(|paired| (paired.test.smallest * self.family as f64).min(1.0))
    }

    /// In a few words what may be concluded.
    #[must_use]
    pub fn conclusion(&self) -> &'static str {
        let Some(paired) = &self.paired else { return "not run" };
        if self.smallest_p().is_none_or(|p| p >= 1.0 - LEVEL) {
            return "n too small";
        }
        if paired.p_holm >= 1.0 - LEVEL {
            return "no evidence";
        }
        match self.metric.higher_is_better() {
            Some(higher) if higher == (paired.summary.mean > 0.0) => "better",
            Some(_) => "worse",
            None => "different",
        }
    }
}

/// The fewest pairs whose smallest possible p stays below 0.05 after Holm's correction over `family` comparisons.
#[must_use]
pub(crate) fn pairs_needed(family: usize) -> usize {
    (1..=64).find(|n| 2.0_f64.powi(1 - n) * (family.max(1) as f64) < 1.0 - LEVEL).unwrap_or(0) as usize
}

/// Every comparison of the grid.
pub(crate) fn comparisons(arms: &[Arm]) -> Vec<Comparison> {
    let (mut out, mut resamples) = (Vec::new(), BTreeMap::new());
    for block in arm::blocks(arms) {
        for contrast in [Contrast::Schedule, Contrast::Monitor] {
            let pairs = pairs(arms, &block, contrast);
            for metric in Comparison::METRICS {
                let family = out.len();
                let compared = pairs
                    .iter()
                    .map(|&(arm, baseline)| compare(arms, contrast, metric, (arm, baseline), &mut resamples));
                out.extend(compared);
                correct(&mut out[family..]);
            }
        }
    }
    out
}

fn pairs(arms: &[Arm], block: &[usize], contrast: Contrast) -> Vec<(usize, usize)> {
    let baseline = |arm: usize| {
        let fits = |other: usize| match contrast {
            Contrast::Schedule => {
                !arms[arm].fixed_rate
                    && arms[other].fixed_rate
                    && arms[arm].agrees(&arms[other], &[label::SCHEDULE])
            }
            Contrast::Monitor => {
                arms[arm].monitored
                    && !arms[other].monitored
                    && arms[arm].agrees(&arms[other], &[label::MONITOR])
            }
        };
        block.iter().copied().find(|&other| fits(other))
    };
    block.iter().filter_map(|&arm| Some((arm, baseline(arm)?))).collect()
}

/// Resamples by the number of pairs.
type ByPairs = BTreeMap<usize, Resamples>;

fn compare(
    arms: &[Arm],
    contrast: Contrast,
    metric: Metric,
    (arm, baseline): (usize, usize),
    resamples: &mut ByPairs,
) -> Comparison {
    let (ours, theirs) = (&arms[arm], &arms[baseline]);
    let before = theirs.values(metric);
    let differences: Vec<f64> = ours
        .values(metric)
        .into_iter()
        .filter_map(|(seed, x)| before.iter().find(|(other, _)| *other == seed).map(|(_, y)| x - y))
        .collect();
    let shared =
        ours.runs.iter().filter(|run| theirs.runs.iter().any(|other| other.seed == run.seed)).count();
    let stream = Stream::new(arm as u64, Purpose::Bootstrap, &metric.name()).child(baseline as u64);
    let resamples = resamples.entry(differences.len()).or_insert_with_key(|pairs| {
        Resamples::new(*pairs, RESAMPLES, Stream::new(*pairs as u64, Purpose::Bootstrap, "pairs"))
    });
    let paired =
        stats::summary(&differences).zip(stats::sign_flip(&differences, stream)).map(|(summary, test)| {
            Paired {
                t_interval: stats::t_interval(&differences, LEVEL),
                bootstrap: stats::bootstrap_interval(&differences, LEVEL, resamples),
                signed_rank: stats::signed_rank(&differences),
                effect: stats::standardised(&differences),
                superiority: superiority(ours, theirs, metric),
                summary,
                test,
                p_holm: test.p,
                differences,
            }
        });
    Comparison { contrast, metric, arm, baseline, planned: shared, family: 1, paired }
}

fn superiority(ours: &Arm, theirs: &Arm, metric: Metric) -> Option<f64> {
    let figures = |arm: &Arm| arm.values(metric).into_iter().map(|(_, x)| x).collect::<Vec<_>>();
    stats::superiority(&figures(ours), &figures(theirs))
}

/// Holm's correction over the comparisons that could be made.
fn correct(family: &mut [Comparison]) {
    let p: Vec<f64> = family.iter().filter_map(|c| c.paired.as_ref()).map(|paired| paired.test.p).collect();
    let mut adjusted = stats::holm(&p).into_iter();
    for comparison in family {
        comparison.family = p.len();
        if let Some(paired) = &mut comparison.paired {
            paired.p_holm = adjusted.next().unwrap_or(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_needed() {
        let check = |family, n| assert_eq!(pairs_needed(family), n, "{family}");
        check(1, 6);
        check(3, 7);
        check(6, 8);
        check(18, 10);
    }
}
