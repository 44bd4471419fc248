//! Evaluates claims by differences over seeds.

use std::collections::BTreeMap;

use lrlab_random::{Purpose, Stream};

use super::verdict::{ALPHA, Condition, Judged, Measured, Verdict};
use crate::stats;

/// Evaluates the differences of one arm, without correction for other arms; `None` if there are no differences.
pub(super) fn of(by_seed: Vec<(String, f64)>, condition: Condition, margin: Option<f64>) -> Option<Judged> {
    let differences: Vec<f64> = by_seed.iter().map(|(_, difference)| *difference).collect();
    let summary = stats::summary(&differences)?;
    let test = stats::sign_flip(&differences, Stream::new(0, Purpose::Bootstrap, "claim"))?;
    let bound = if let Condition::Within(tolerance) = condition { Some(tolerance) } else { margin };
    let judged = Judged {
        interval: stats::t_interval(&differences, 1.0 - ALPHA),
        p_uncorrected: test.p,
        p: test.p,
        smallest_p: test.smallest.min(1.0),
        p_equivalent: bound.and_then(|bound| stats::equivalence(&differences, bound)),
        summary,
        by_seed,
        same: 0,
        verdict: Verdict::Undecided,
    };
    Some(Judged { verdict: verdict(&judged, condition), ..judged })
}

/// Applies Holm's correction over a claim's arms and sets the verdict of each arm. Arms without runs count, so that p does
/// not grow when they are run.
pub(super) fn correct(measured: &mut [Measured], condition: Condition) {
    let p: Vec<f64> = measured.iter().map(|m| m.judged.as_ref().map_or(1.0, |judged| judged.p)).collect();
    let arms = p.len() as f64;
    for (m, corrected) in measured.iter_mut().zip(stats::holm(&p)) {
        let Some(judged) = &mut m.judged else { continue };
        judged.p = corrected;
        judged.smallest_p = (judged.smallest_p * arms).min(1.0);
        judged.verdict = verdict(judged, condition);
        m.verdict = judged.verdict;
    }
}

/// Evaluates the mean over the arms, seed by seed, over the seeds that all arms share; `None` if there are none.
pub(super) fn average(measured: &[Measured], condition: Condition, margin: Option<f64>) -> Option<Judged> {
    let mut by_seed: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for m in measured {
        for (seed, difference) in &m.judged.as_ref()?.by_seed {
            by_seed.entry(seed).or_default().push(*difference);
        }
    }
    let means = by_seed
        .into_iter()
        .filter(|(_, differences)| differences.len() == measured.len())
        .filter_map(|(seed, differences)| Some((seed.to_owned(), stats::summary(&differences)?.mean)));
    of(means.collect(), condition, margin)
}

fn verdict(judged: &Judged, condition: Condition) -> Verdict {
    let mean = judged.summary.mean;
    let equivalent = judged.p_equivalent.is_some_and(|p| p < ALPHA);
    let claimed_side = match condition {
        Condition::Within(tolerance) => {
            let outside = |(low, high): (f64, f64)| low > tolerance || high < -tolerance;
            return match judged.interval {
                _ if equivalent => Verdict::Supported,
                Some(interval) if outside(interval) => Verdict::Contradicted,
                _ => Verdict::Undecided,
            };
        }
        Condition::AtLeast | Condition::AtMost
            if !equivalent && judged.by_seed.iter().all(|(_, away)| *away == 0.0) =>
        {
            return Verdict::Supported;
        }
        Condition::AtLeast | Condition::Above => mean > 0.0,
        Condition::AtMost | Condition::Below => mean < 0.0,
    };
    match claimed_side {
        _ if equivalent => Verdict::Equivalent,
        true if judged.p < ALPHA => Verdict::Supported,
        false if judged.p < ALPHA => Verdict::Contradicted,
        _ => Verdict::Undecided,
    }
}
