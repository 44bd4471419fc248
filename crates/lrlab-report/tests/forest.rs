//! The rows of the forest plot.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{ending, noise, product};
use lrlab_report::{Finding, forest, summarise};
use lrlab_runs::{Cell, PlannedRun};
use serde_json::{Value, json};

/// A network with fewer seeds than planned is not drawn beside complete ones, and nothing is concluded from two seeds.
#[test]
fn arms_with_fewer_seeds_are_not_drawn_beside_complete_ones() {
    let models = ["whole", "partial"].map(Value::from).to_vec();
    let schedules = ["static", "step", "cosine"].map(Value::from).to_vec();
    let mut plan = product(&[("model", models), ("schedule", schedules)], 8);
    plan.claims = json!([{
        "id": "step", "text": "Step decay helps", "metric": "final.val_accuracy", "where": { "schedule": "step" },
        "compare": ">", "than": { "schedule": "static" }, "margin": 0.9,
    }]);
    let drawn = |partial: u64| {
        let done = |cell: &Cell| cell["model"] == "whole" || cell["seed"].as_u64() < Some(partial);
        let result = |planned: &PlannedRun| done(&planned.cell).then(|| common::result(planned));
        let (_folder, store) = common::store(&plan, |_, planned| result(planned));
        let report = summarise(&plan, &store).unwrap();
        let few = report.comparisons.iter().filter(|c| c.paired.as_ref().is_some_and(|it| it.summary.n == 2));
        assert!(few.clone().all(|c| c.finding() == Finding::TooFew) && (partial == 8 || few.count() > 0));
        forest(&report).unwrap()
    };
    let whole = drawn(8);
    assert_eq!(whole.groups[0].rows.len(), 4);
    assert!(whole.caption.contains("(n = 8)") && !whole.caption.contains("Shown"), "{}", whole.caption);
    let partial = drawn(2);
    let labels: Vec<&str> = partial.groups[0].rows.iter().map(|row| row.label.as_str()).collect();
    assert!(labels.len() == 2 && labels.iter().all(|label| label.ends_with(": whole")), "{labels:?}");
    let words = "(n = 8): mean and 95 % t-interval";
    assert!(partial.caption.contains(words), "{}", partial.caption);
    let words = " 2 of 4 differences are left out, because runs of theirs are missing. tables/differences.csv lists all.";
    assert!(partial.caption.ends_with(words), "{}", partial.caption);
}

/// Where not every row fits, an arm that is worse by any of the metrics is drawn, however small its difference by the first.
#[test]
fn worse_arms_are_always_drawn() {
    let models = (0..40).map(|m| json!(format!("m{m:02}"))).collect();
    let plan = product(&[("model", models), ("schedule", ["static", "cosine"].map(Value::from).to_vec())], 6);
    let (_folder, store) = ending(&plan, |cell| match (cell["schedule"].as_str(), cell["model"].as_str()) {
        (Some("static"), _) => [0.7, 0.9, 0.1],
        (_, Some("m17")) => [0.7, 0.95 + noise(cell), 0.1],
        _ => [0.72 + noise(cell), 0.9, 0.1],
    });
    let drawn = forest(&summarise(&plan, &store).unwrap()).unwrap();
    let rows = &drawn.groups[0].rows;
    let worse = rows.iter().find(|row| row.label == "cosine: m17").unwrap();
    assert_eq!(worse.points[1].unwrap().finding, Finding::Worse);
    assert_eq!(rows.len(), 36);
    let words = "Shown: 36 of the 40 differences, of each contrast those that are worse by a metric of the figure, then the \
                 largest by";
    assert!(drawn.caption.contains(words), "{}", drawn.caption);
}

/// A short group leaves its rows to the others, and no worse arm is left out.
#[test]
fn groups_share_the_rows() {
    let drawn = |lift: f64, models: u64| {
        let models = (0..models).map(|m| json!(m)).collect();
        let schedules = ["static", "cosine"].map(Value::from).to_vec();
        let monitors = ["off", "on"].map(Value::from).to_vec();
        let plan = product(&[("model", models), ("schedule", schedules), ("monitor", monitors)], 8);
        let result = |planned: &PlannedRun| {
            let cell = &planned.cell;
            let mut it = common::result(planned);
            let more = if cell["schedule"] == "static" { 0.0 } else { lift * (1.0 + noise(cell)) };
            it.last.metrics.val_accuracy = Some(0.7 + more);
            // The monitor ran with the fixed rate of the first five models only.
            let ran =
                cell["monitor"] == "off" || cell["schedule"] == "static" && cell["model"].as_u64() < Some(5);
            ran.then_some(it)
        };
        let (_folder, store) = common::store(&plan, |_, planned| result(planned));
        let groups = forest(&summarise(&plan, &store).unwrap()).unwrap().groups;
        groups.iter().map(|group| group.rows.len()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(0.02, 25), [25, 5]);
    assert_eq!(drawn(0.02, 40), [31, 5]);
    assert_eq!(drawn(-0.02, 40), [40, 5]);
}
