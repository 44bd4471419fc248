//! The warnings of a report.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{check, small};
use lrlab_report::summarise;
use serde_json::json;

#[test]
fn validation_on_the_test_split_is_the_first_warning() {
    let mut plan = small(&["static", "cosine"], 1);
    plan.runs[1].spec = json!({ "data": { "validation": "test" } }).into();
    let (_folder, store) = common::store(&plan, |_, planned| Some(common::result(planned)));
    let report = summarise(&plan, &store).unwrap();
    assert!(
        report.warnings[0].starts_with("LEAK: 1 of 2 runs validate on the test split"),
        "{:?}",
        report.warnings
    );
    plan.runs[1].spec = json!({ "data": { "validation": 10 } }).into();
    assert!(!summarise(&plan, &store).unwrap().warnings.join("\n").contains("LEAK"));
}

/// Mixed builds and numerics classes give warnings.
#[test]
fn mixed_origins() {
    let plan = small(&["static"], 2);
    let (_folder, store) = common::store(&plan, |i, planned| {
        let mut it = common::result(planned);
        if i == 1 {
            it.provenance.numerics = "cuda-sm90-f32".to_owned();
            it.provenance.commit = None;
            it.provenance.dirty = Some(true);
            it.provenance.versions = BTreeMap::new();
        }
        Some(it)
    });
    let warnings = summarise(&plan, &store).unwrap().warnings.join("\n");
    assert!(warnings.contains("2 numerics classes") && warnings.contains("uncommitted"), "{warnings}");
}

/// Values set for some seeds only make runs of one arm differ in more than the seed.
#[test]
fn arms_of_different_settings() {
    let mut plan = small(&["static", "cosine"], 3);
    for run in plan.runs.iter_mut().filter(|run| run.cell["schedule"] == "cosine") {
        let gains = if run.cell["seed"] == 1 { json!([[2, 0.5]]) } else { json!([[1, 0.5]]) };
        let spec = Arc::make_mut(&mut run.spec);
        spec["monitor"] = json!({ "scripted": { "gains": gains } });
        spec["lr"] = if run.cell["seed"] == 2 { json!(null) } else { json!(0.1) };
    }
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    let expected =
        "In 1 of 2 arms, the runs differ in more than the seed: in `lr`, `monitor.scripted.gains`.";
    assert!(report.warnings.iter().any(|warning| warning == expected), "{:?}", report.warnings);
    let files = check::written(&plan, &store, "mixed-settings");
    assert!(files["report.md"].contains("in `lr`, `monitor.scripted.gains`."));
    assert!(files["report.html"].contains("in <code>lr</code>, <code>monitor.scripted.gains</code>."));
    plan.runs.retain(|run| run.cell["schedule"] != "cosine");
    let report = summarise(&plan, &store).unwrap();
    assert!(!report.warnings.iter().any(|warning| warning.contains("differ in")), "{:?}", report.warnings);
}
