//! Paired comparisons of arms.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{small, with_accuracy};
use lrlab_report::stats::Bootstrap;
use lrlab_report::{Comparison, Finding, Metric, summarise};

/// Six seeds with known differences; expected values computed by hand and with `SciPy` (see the crate's statistics).
#[test]
fn paired_differences() {
    let plan = small(&["static", "cosine", "step"], 6);
    let base = [0.70, 0.71, 0.69, 0.72, 0.70, 0.705];
    let cosine = [0.012, 0.021, 0.008, 0.015, 0.019, 0.011];
    let step = [0.012, -0.021, 0.008, 0.015, 0.019, 0.011];
    let (_folder, store) = common::store(&plan, |i, planned| {
        let lift = [[0.0; 6], cosine, step][i / 6][i % 6];
        Some(with_accuracy(planned, base[i % 6] + lift))
    });
    let report = summarise(&plan, &store).unwrap();
    let find = |arm: usize| -> Comparison {
        let fits = |c: &&Comparison| c.metric == Metric::last("val_accuracy") && c.arm == arm;
        report.comparisons.iter().find(fits).unwrap().clone()
    };
    let (up, mixed) = (find(1), find(2));
    assert_eq!(
        (report.contrasts[up.contrast].word().as_str(), up.baseline, up.planned, up.family),
        ("schedule vs static", 0, 6, 2)
    );
    let (up_paired, mixed_paired) = (up.paired.clone().unwrap(), mixed.paired.unwrap());
    assert!(up_paired.differences.iter().zip(cosine).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!((up_paired.test.p, up_paired.p_holm), (0.031_25, 0.0625));
    assert_eq!((mixed_paired.test.p, mixed_paired.p_holm), (0.281_25, 0.281_25));
    let (low, high) = mixed_paired.t_interval.unwrap();
    assert!((low + 0.007_753_254_536).abs() < 1e-9 && (high - 0.022_419_921_203).abs() < 1e-9);
    // 2 × 2/2⁶ = 0.0625: six seeds are too few for two comparisons.
    assert_eq!(up.smallest_p(), Some(0.0625));
    assert_eq!(up.finding(), Finding::TooFew);
}

#[test]
fn pairs_are_runs_of_equal_seed() {
    let plan = small(&["static", "cosine"], 3);
    // static has seeds 0 and 1, cosine 1 and 2: one pair.
    let (_folder, store) =
        common::store(&plan, |i, planned| (i != 2 && i != 3).then(|| with_accuracy(planned, 0.1 * i as f64)));
    let report = summarise(&plan, &store).unwrap();
    let c = report.comparisons.iter().find(|c| c.metric == Metric::last("val_accuracy")).unwrap();
    let paired = c.paired.as_ref().unwrap();
    assert_eq!((paired.summary.n, c.planned), (1, 3));
    assert!((paired.differences[0] - 0.3).abs() < 1e-12);
    assert_eq!((paired.t_interval, paired.bootstrap, paired.test.p), (None, Bootstrap::TooFew, 1.0));
}

#[test]
fn enough_seeds_can_be_significant() {
    let plan = small(&["static", "cosine"], 8);
    let (_folder, store) = common::store(&plan, |i, planned| {
        Some(with_accuracy(
            planned,
            0.7 + 0.001 * (i % 8) as f64 + if i >= 8 { 0.01 + 0.0003 * i as f64 } else { 0.0 },
        ))
    });
    let report = summarise(&plan, &store).unwrap();
    let c = report.comparisons.iter().find(|c| c.metric == Metric::last("val_accuracy")).unwrap();
    assert_eq!(c.finding(), Finding::Better);
    assert_eq!(c.paired.as_ref().unwrap().p_holm, 2.0 / 256.0);
    assert!(c.paired.as_ref().unwrap().bootstrap.interval().unwrap().0 > 0.01);
}

/// Comparisons are computed in parallel: their order, their resamples and their tests do not depend on the threads.
#[test]
fn the_number_of_threads_changes_nothing() {
    // With more than 20 pairs, the signs of the sign-flip test are sampled.
    let plan = small(&["static", "cosine", "step"], 24);
    let (_folder, store) = common::full(&plan);
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| summarise(&plan, &store).unwrap().comparisons)
    };
    let one = of(1);
    let sampled = one.iter().filter_map(|c| c.paired.as_ref()).filter(|paired| !paired.test.exact);
    assert!(sampled.count() > 10);
    assert_eq!(one, of(4));
}

/// Holm's correction is milder for the larger p of a family: few pairs then suffice.
#[test]
fn fewer_pairs_suffice_after_smaller_p() {
    let plan = small(&["static", "step", "exponential", "cosine"], 8);
    let lifts = |step: f64| {
        let (_folder, store) = common::store(&plan, |i, planned| {
            let (arm, seed) = (i / 8, i % 8);
            let lift = [0.0, step, step, 0.03][arm] * (1.0 + 0.01 * seed as f64);
            (arm != 3 || seed < 6).then(|| with_accuracy(planned, 0.7 + lift))
        });
        let report = summarise(&plan, &store).unwrap();
        let cosine = |c: &&Comparison| c.metric == Metric::last("val_accuracy") && c.arm == 3;
        let c = report.comparisons.iter().find(cosine).unwrap();
        (c.paired.as_ref().unwrap().p_holm, c.smallest_p(), c.finding())
    };
    assert_eq!(lifts(0.02), (0.031_25, Some(0.093_75), Finding::Better));
    assert_eq!(lifts(0.0), (0.093_75, Some(0.093_75), Finding::TooFew));
}

/// Whether any difference can be significant depends on the smallest family, not on the largest.
#[test]
fn families_of_different_sizes() {
    let monitors = ["off", "on"].map(serde_json::Value::from).to_vec();
    let schedules = ["static", "step", "cosine"].map(serde_json::Value::from).to_vec();
    let plan = common::product(&[("schedule", schedules), ("monitor", monitors)], 7);
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    let families: std::collections::BTreeSet<usize> = report.comparisons.iter().map(|c| c.family).collect();
    assert_eq!(families.into_iter().collect::<Vec<_>>(), [3, 4]);
    let table = lrlab_report::tables(&report).into_iter().find(|table| table.name == "differences").unwrap();
    assert!(table.caption.ends_with("n = 7 pairs, up to 4 comparisons per family."), "{}", table.caption);
}
