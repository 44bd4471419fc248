//! Performance profiles, compared with directly computed values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::check;
use lrlab_report::{profile, summarise, tables};

#[test]
fn profiles_are_shares_of_tasks() {
    let plan = common::plan(&common::Grid { seeds: 4, ..common::quickstart() });
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    let found = profile(&report).unwrap();
    assert_eq!(
        (found.metric.name().as_str(), found.tasks, found.methods.len()),
        ("best.test_accuracy", 3, 8)
    );

    // Mean errors by task and method, in the order of the plan: 3 models, 4 schedules, 2 monitors, 4 seeds.
    let accuracies: Vec<f64> =
        plan.runs.iter().map(|run| common::result(run).best.test_accuracy.unwrap()).collect();
    let errors: Vec<f64> = accuracies.chunks(4).map(|runs| 1.0 - runs.iter().sum::<f64>() / 4.0).collect();
    for (k, method) in found.methods.iter().enumerate() {
        let ratios: Vec<f64> = (0..3)
            .map(|task| {
                let all = &errors[8 * task..8 * (task + 1)];
                all[k] / all.iter().copied().fold(f64::INFINITY, f64::min)
            })
            .collect();
        for (ours, expected) in method.ratios.iter().zip(&ratios) {
            assert!((ours - expected).abs() < 1e-12, "{k}: {ours} {expected}");
        }
        for tau in [1.0, 1.02, 1.05, 1.1, 2.0] {
            let share = ratios.iter().filter(|ratio| **ratio <= tau + 1e-12).count() as f64 / 3.0;
            assert_eq!(method.within(tau + 1e-12), share, "{k} {tau}");
        }
        // The middle six of twelve runs.
        let mut runs: Vec<f64> =
            (0..3).flat_map(|task| accuracies[32 * task + 4 * k..][..4].to_vec()).collect();
        runs.sort_by(f64::total_cmp);
        let middle = runs[3..9].iter().sum::<f64>() / 6.0;
        assert!((method.interquartile_mean - middle).abs() < 1e-12, "{k}");
    }
    let shares = |tau: f64| found.methods.iter().map(move |method| method.within(tau)).collect::<Vec<_>>();
    assert_eq!((shares(f64::NAN), shares(f64::INFINITY)), (vec![0.0; 8], vec![1.0; 8]));
    let best: f64 = found.methods.iter().map(|method| method.within(1.0)).sum();
    assert!((best - 1.0).abs() < 1e-12, "one method is the best of each task");

    let files = check::written(&plan, &store, "profile");
    assert!(
        files["tables/methods.csv"].starts_with("schedule,monitor,best,within_2,within_5,within_10,worst,")
    );
    assert_eq!(files["tables/methods.csv"].lines().count(), 9);
    assert!(files["figures/profiles.svg"].contains("3 tasks, no monitor"));
}

/// Two tasks or a missing run give no profile.
#[test]
fn incomplete_grids_have_no_profile() {
    let mut grid = common::quickstart();
    grid.models.pop();
    let plan = common::plan(&grid);
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(profile(&report), None);
    assert!(tables(&report).iter().all(|table| table.name != "methods"));

    let plan = common::plan(&common::quickstart());
    let last = plan.runs.last().unwrap().run_id.clone();
    let (_folder, store) = common::store(&plan, |_, run| (run.run_id != last).then(|| common::result(run)));
    assert_eq!(profile(&summarise(&plan, &store).unwrap()), None);
}
