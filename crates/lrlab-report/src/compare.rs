//! Paired comparisons: runs with one seed share initialisation, batch order, augmentation and dropout, so two arms
//! are compared by the differences between runs of equal seed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use lrlab_random::{Purpose, Stream};
use rayon::prelude::*;

use crate::stats::{self, Bootstrap, Resamples, SignFlip, SignedRank, Summary};
use crate::{Arm, Contrast, Metric};

/// Confidence level of intervals; the significance level is 1 − `LEVEL`.
const LEVEL: f64 = 0.95;
const RESAMPLES: u64 = 10_000;

/// The paired differences between two arms.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Arm minus baseline, in the plan's order of seeds.
    pub differences: Vec<f64>,
    /// The number of pairs with the same network at the metric's epoch: the runs do not differ up to there.
    pub same: usize,
    /// Mean and standard deviation of the differences.
    pub summary: Summary,
    /// 95 % t-interval of the mean; `None` for fewer than two pairs.
    pub t_interval: Option<(f64, f64)>,
    /// 95 % bias-corrected and accelerated (`BCa`) bootstrap interval of the mean, from 10,000 resamples; requires three
    /// pairs.
    pub bootstrap: Bootstrap,
    /// Two-sided sign-flip test.
    pub test: SignFlip,
    /// Two-sided signed-rank test; `None` if every difference is zero.
    pub signed_rank: Option<SignedRank>,
    /// Standardised mean difference: mean over standard deviation of the differences, with small-sample correction.
    pub effect: Option<f64>,
    /// The probability that a run of the arm exceeds one of the baseline, over all pairs of runs.
    pub superiority: Option<f64>,
    /// p of the sign-flip test after Holm's correction over its family.
    pub p_holm: f64,
}

/// The comparison of an arm with its baseline by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Index into the report's contrasts.
    pub contrast: usize,
    /// The metric.
    pub metric: Metric,
    /// Index of the arm in the report's arms.
    pub arm: usize,
    /// Index of the baseline in the report's arms.
    pub baseline: usize,
    /// The number of planned pairs.
    pub planned: usize,
    /// The number of comparisons in the family of Holm's correction: those of equal contrast, metric, model, data set and
    /// budget.
    pub family: usize,
    /// The equivalence margin: the smallest margin of the claims about this metric.
    pub margin: Option<f64>,
    /// The differences; `None` if no seed has the metric in both arms.
    pub paired: Option<Paired>,
}

impl Comparison {
    /// The compared metrics beside the [leading](crate::Report::metrics) ones: accuracy and F1 on the test split, and accuracy, loss
    /// and generalisation gap on the validation split.
    pub const METRICS: [Metric; 8] = [
        Metric::best("test_accuracy"),
        Metric::best("test_f1"),
        Metric::last("test_accuracy"),
        Metric::last("test_f1"),
        Metric::best("val_accuracy"),
        Metric::last("val_accuracy"),
        Metric::last("val_loss"),
        Metric::last("accuracy_gap"),
    ];

    /// The smallest p that this number of pairs can reach after Holm's correction over the family, if no other comparison of
    /// the family has a smaller p.
    #[must_use]
    pub fn smallest_p(&self) -> Option<f64> {
        self.paired.as_ref().map(|paired| (paired.test.smallest * self.family as f64).min(1.0))
    }

    /// Whether [`Self::smallest_p`] is significant.
    #[must_use]
    pub fn can_be_significant(&self) -> bool {
        self.smallest_p().is_some_and(|p| p < 1.0 - LEVEL)
    }

    /// The conclusion.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let Some(paired) = &self.paired else { return Finding::NotRun };
        let alpha = 1.0 - LEVEL;
        let within = |margin| stats::equivalence(&paired.differences, margin).is_some_and(|p| p < alpha);
        if self.margin.is_some_and(within) {
            return Finding::Equivalent;
        }
        if paired.p_holm >= alpha {
            return if self.can_be_significant() { Finding::Undecided } else { Finding::TooFew };
        }
        match self.metric.higher_is_better() {
            Some(higher) if higher == (paired.summary.mean > 0.0) => Finding::Better,
            Some(_) => Finding::Worse,
            None => Finding::Different,
        }
    }
}

/// The conclusion from a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// No two runs of equal seed have the metric.
    NotRun,
    /// There are too few pairs for any outcome to be significant.
    TooFew,
    /// The difference is not significant.
    Undecided,
    /// No difference larger than the margin, by two one-sided t-tests (p < 0.05).
    Equivalent,
    /// Better than the baseline.
    Better,
    /// Worse than the baseline.
    Worse,
    /// Different, by a metric without a preferred direction.
    Different,
}

impl Finding {
    /// The conclusion in words, for tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotRun => "not run",
            Self::TooFew => "n too small",
            Self::Undecided => "not significant",
            Self::Equivalent => "equivalent",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Different => "different",
        }
    }
}

/// The smallest number of pairs that can reach p < 0.05 after Holm's correction over `family` comparisons.
#[must_use]
pub(crate) fn pairs_needed(family: usize) -> usize {
    (1..=64).find(|n| 2.0_f64.powi(1 - n) * (family.max(1) as f64) < 1.0 - LEVEL).unwrap_or(0) as usize
}

/// Every comparison of the grid by `metrics`. Arms whose metric is measured on different examples are not compared by it.
/// `margin` returns the equivalence margin of a metric, if it has one.
pub(crate) fn comparisons(
    arms: &[Arm],
    contrasts: &[Contrast],
    metrics: &[Metric],
    margin: impl Fn(Metric) -> Option<f64> + Sync,
) -> Vec<Comparison> {
    let mut pairs_of_families = Vec::new();
    for (index, contrast) in contrasts.iter().enumerate() {
        let mut families: BTreeMap<Vec<String>, Vec<(usize, usize)>> = BTreeMap::new();
        let condition = contrast.condition();
        for (arm, baseline) in contrast.pairs(arms) {
            let family = condition.iter().map(|axis| arms[arm].label(axis)).collect();
            families.entry(family).or_default().push((arm, baseline));
        }
        let mut families: Vec<_> = families.into_values().collect();
        families.sort_unstable();
        pairs_of_families.extend(families.into_iter().map(|pairs| (index, pairs)));
    }
    let resamples = ByPairs::default();
    let family = |contrast: usize, pairs: &[(usize, usize)], metric: Metric| {
        let comparable =
            pairs.iter().filter(|(arm, baseline)| arms[*arm].shares_examples(&arms[*baseline], metric));
        let compared = comparable.map(|pair| Comparison {
            contrast,
            margin: margin(metric),
            ..compare(arms, metric, *pair, &resamples)
        });
        let mut family: Vec<_> = compared.collect();
        correct(&mut family);
        family
    };
    let families = pairs_of_families.par_iter().flat_map(|(contrast, pairs)| {
        metrics.par_iter().flat_map_iter(|metric| family(*contrast, pairs, *metric))
    });
    families.collect()
}

/// Resamples by the number of pairs, drawn once for each number.
#[derive(Default)]
struct ByPairs(Mutex<BTreeMap<usize, Arc<Resamples>>>);

impl ByPairs {
    fn of(&self, pairs: usize) -> Arc<Resamples> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let resamples = drawn.entry(pairs).or_insert_with(|| {
            let stream = Stream::new(pairs as u64, Purpose::Bootstrap, "pairs");
            Arc::new(Resamples::new(pairs, RESAMPLES, stream))
        });
        Arc::clone(resamples)
    }
}

fn compare(arms: &[Arm], metric: Metric, (arm, baseline): (usize, usize), resamples: &ByPairs) -> Comparison {
    let (ours, theirs) = (&arms[arm], &arms[baseline]);
    let reference: HashMap<&str, f64> = theirs.values(metric).into_iter().collect();
    let differences: Vec<f64> =
        ours.values(metric).into_iter().filter_map(|(seed, x)| reference.get(seed).map(|y| x - y)).collect();
    let seeds: HashSet<&str> = theirs.runs.iter().map(|run| run.seed.as_str()).collect();
    let planned = ours.runs.iter().filter(|run| seeds.contains(run.seed.as_str())).count();
    let stream = Stream::new(arm as u64, Purpose::Bootstrap, &metric.name()).child(baseline as u64);
    let resamples = resamples.of(differences.len());
    let paired =
        stats::summary(&differences).zip(stats::sign_flip(&differences, stream)).map(|(summary, test)| {
            Paired {
                t_interval: stats::t_interval(&differences, LEVEL),
                bootstrap: stats::bootstrap_interval(&differences, LEVEL, &resamples),
                signed_rank: stats::signed_rank(&differences),
                effect: stats::standardised(&differences),
                superiority: superiority(ours, theirs, metric),
                same: same_networks(ours, theirs, metric),
                summary,
                test,
                p_holm: test.p,
                differences,
            }
        });
    Comparison { contrast: 0, metric, arm, baseline, planned, family: 1, margin: None, paired }
}

fn superiority(ours: &Arm, theirs: &Arm, metric: Metric) -> Option<f64> {
    let figures = |arm: &Arm| arm.values(metric).into_iter().map(|(_, x)| x).collect::<Vec<_>>();
    stats::superiority(&figures(ours), &figures(theirs))
}

/// The number of seeds whose runs have the same network in both arms where `metric` is measured, by their losses to the
/// last bit.
pub(crate) fn same_networks(ours: &Arm, theirs: &Arm, metric: Metric) -> usize {
    let losses = |arm| {
        let mut by_seed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for loss in metric.losses() {
            for (seed, x) in Arm::values(arm, loss) {
                by_seed.entry(seed.to_owned()).or_default().push(x.to_bits());
            }
        }
        by_seed
    };
    let theirs = losses(theirs);
    losses(ours).iter().filter(|(seed, bits)| theirs.get(*seed) == Some(bits)).count()
}

/// Applies Holm's correction over a family. Comparisons without runs count, so that p does not grow when they are run.
fn correct(family: &mut [Comparison]) {
    let p: Vec<f64> = family.iter().map(|c| c.paired.as_ref().map_or(1.0, |paired| paired.test.p)).collect();
    for (comparison, adjusted) in family.iter_mut().zip(stats::holm(&p)) {
        comparison.family = p.len();
        if let Some(paired) = &mut comparison.paired {
            paired.p_holm = adjusted;
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
