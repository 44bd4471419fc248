//! Several experiments in one report.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::check;
use lrlab_report::{Error, Plan, RunStore, summarise_together, write};
use serde_json::{Value, json};

/// Two experiments with all runs done, the second without the cosine.
fn two() -> (tempfile::TempDir, RunStore, [Plan; 2]) {
    let grid = |schedules: &[&'static str]| common::Grid {
        models: vec![("resnet", "synthetic_pictures")],
        schedules: schedules.to_vec(),
        monitors: vec!["off"],
        seeds: 8,
        ..common::quickstart()
    };
    let named = |name: &str, schedules: &[&'static str]| Plan {
        experiment: name.to_owned(),
        claims: json!([{ "id": "step", "text": "Step decay helps", "metric": "final.val_accuracy",
                         "where": { "schedule": "step" }, "compare": ">", "than": { "schedule": "static" } }]),
        call: Some(lrlab_runs::Call {
            program: vec!["lrlab".to_owned(), "run".to_owned()],
            experiment: format!("{name}.toml"),
            folder: "/home/someone".to_owned(),
            set: Vec::new(),
        }),
        ..common::plan(&grid(schedules))
    };
    let mut plans = [named("first", &["static", "step", "cosine"]), named("second", &["static", "step"])];
    // The same arms with other runs.
    for run in &mut plans[1].runs {
        run.spec = json!({ "other": run.spec }).into();
        run.run_id = lrlab_runs::RunId::of(&run.spec.to_string(), "invented");
    }
    let (folder, store) = common::full(&plans[0]);
    for run in &plans[1].runs {
        store.put(&common::result(run)).unwrap();
    }
    (folder, store, plans)
}

/// The report leads with the metrics that any of the experiments names.
#[test]
fn leading_metrics_are_joined() {
    let (_folder, store, mut plans) = two();
    let names = |plans: &[Plan]| -> Vec<String> {
        summarise_together(plans, &store).unwrap().metrics.iter().map(|metric| metric.name()).collect()
    };
    let default = names(&plans);
    assert_eq!(default.len(), 3, "{default:?}");
    plans[1].metrics = ["best.test_f1", "val_loss"].map(str::to_owned).into();
    assert_eq!(names(&plans)[..3], default[..]);
    assert_eq!(names(&plans)[3..], ["best.test_f1"]);
    plans[0].metrics = ["val_loss", "update_ms"].map(str::to_owned).into();
    assert_eq!(names(&plans), ["final.val_loss", "final.update_ms", "best.test_f1"]);
}

#[test]
fn the_experiment_is_an_axis() {
    let (_folder, store, plans) = two();
    let report = summarise_together(&plans, &store).unwrap();
    assert_eq!(report.experiment, "first+second");
    assert_eq!(report.axes[0], "experiment");
    assert_eq!((report.arms.len(), report.counts.done), (5, 40));
    let contrasts: Vec<String> = report.contrasts.iter().map(lrlab_report::Contrast::word).collect();
    assert_eq!(contrasts, ["schedule vs static", "experiment vs first"]);
    let pairs = |contrast| {
        let of =
            |c: &&lrlab_report::Comparison| c.contrast == contrast && c.metric.name() == "final.val_loss";
        report.comparisons.iter().filter(of).count()
    };
    assert_eq!((pairs(0), pairs(1)), (3, 2));
    // Each claim covers its own experiment.
    let claims: Vec<(&str, usize)> =
        report.claims.iter().map(|claim| (claim.id.as_str(), claim.measured.len())).collect();
    assert_eq!(claims, [("first/step", 1), ("second/step", 1)]);

    let folder = tempfile::tempdir().unwrap();
    write(&report, &[], folder.path()).unwrap();
    let page = &check::files(folder.path())["report.html"].replace("&#x2f;", "/");
    check::markup("report.html", page);
    for (i, name) in ["first", "second"].into_iter().enumerate() {
        let command = format!("lrlab run {name}.toml --run RUN_ID --out repeated");
        assert!(page.contains(&format!("<pre id=\"command-{i}\"><code>{command}</code></pre>")), "{name}");
    }
    assert_eq!(page.matches("data-command=\"1\"").count(), 2, "the arms of the second");
}

/// A run that two experiments share is listed in both, and links lead to the first.
#[test]
fn a_shared_run_is_in_both() {
    let (_folder, store, [first, mut second]) = two();
    second.runs = first.runs[..8].to_vec();
    let report = summarise_together(&[first, second], &store).unwrap();
    assert_eq!((report.arms.len(), report.counts.planned), (4, 32));
    let folder = tempfile::tempdir().unwrap();
    write(&report, &[], folder.path()).unwrap();
    let page = &check::files(folder.path())["report.html"];
    check::markup("report.html", page);
    // The curves name a prefix of the id.
    let id = report.arms[0].runs[0].id.as_str();
    assert!(page.contains(&format!("{{\"id\":\"{}\"", &id[..8])), "no run {id} in the curves");
}

#[test]
fn incompatible_experiments_are_an_error() {
    let (_folder, store, plans) = two();
    let check = |change: fn(&mut [Plan; 2]), expected: &str| {
        let mut plans = plans.clone();
        change(&mut plans);
        let error = summarise_together(&plans, &store).unwrap_err();
        assert!(matches!(error, Error::Together(_)), "{error}");
        assert_eq!(error.to_string(), format!("cannot combine these experiments in one report: {expected}"));
    };
    check(
        |plans| plans[1].experiment = "first".to_owned(),
        "two experiments are named \"first\": expected different names",
    );
    check(
        |plans| {
            for (plan, schedule) in plans.iter_mut().zip(["static", "step"]) {
                plan.baseline.insert("schedule".to_owned(), schedule.into());
            }
        },
        "the baseline of schedule is static in first and step in second: expected equal baselines",
    );
    check(
        |plans| {
            plans[1].runs[0].cell.insert("experiment".to_owned(), Value::from("x"));
        },
        "second has an axis `experiment`, a name that is reserved in reports of several experiments",
    );
}
