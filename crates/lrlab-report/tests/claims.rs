//! Claims and their verdicts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{check, small, with_accuracy};
use lrlab_report::{At, Verdict, check as claims, summarise};
use serde_json::json;

/// In claims, `on` is every monitor, unless one has that name.
#[test]
fn on_is_a_name_or_every_monitor() {
    let arms = |monitors: Vec<&'static str>| {
        let grid = common::Grid {
            models: vec![("resnet", "cifar10")],
            schedules: vec!["static"],
            epochs: vec![10],
            seeds: 2,
            monitors,
        };
        let mut plan = common::plan(&grid);
        plan.claims = json!([{ "id": "c", "text": "t", "metric": "val_loss", "where": { "monitor": "on" },
                               "compare": "<", "than": { "monitor": "off" } }]);
        let (_folder, store) = common::full(&plan);
        claims(&summarise(&plan, &store).unwrap())[0].measured.len()
    };
    assert_eq!(arms(vec!["off", "on"]), 1);
    assert_eq!(arms(vec!["off", "on", "sham"]), 1);
    assert_eq!(arms(vec!["off", "plateau", "sham"]), 2);
}

/// Eight seeds of two schedules that differ by one point plus noise.
#[test]
fn claims_are_judged() {
    let mut plan = small(&["static", "cosine"], 8);
    let claim = |id: &str, more: serde_json::Value| {
        let mut it =
            json!({ "id": id, "text": "t", "metric": "val_accuracy", "where": { "schedule": "static" } });
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        it
    };
    let cosine = |id: &str, more: serde_json::Value| {
        let mut it =
            claim(id, json!({ "where": { "schedule": "cosine" }, "than": { "schedule": "static" } }));
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        it
    };
    let cases = [
        (claim("within", json!({ "value": 0.75, "tolerance": 0.01 })), Verdict::Supported),
        (claim("at the edge", json!({ "value": 0.74, "tolerance": 0.01 })), Verdict::Undecided),
        (claim("outside", json!({ "value": 0.8, "tolerance": 0.01 })), Verdict::Contradicted),
        (claim("at least", json!({ "value": 0.74, "compare": ">=" })), Verdict::Supported),
        (claim("above", json!({ "value": 0.76, "compare": "above" })), Verdict::Contradicted),
        (claim("about it", json!({ "value": 0.75, "compare": "above" })), Verdict::Undecided),
        (claim("below", json!({ "than": { "schedule": "cosine" }, "compare": "<" })), Verdict::Supported),
        (cosine("by half a point", json!({ "value": 0.005, "compare": ">=" })), Verdict::Supported),
        (cosine("by two points", json!({ "value": 0.02, "compare": ">=" })), Verdict::Contradicted),
        (cosine("worse", json!({ "compare": "<" })), Verdict::Contradicted),
        (
            cosine("no difference that matters", json!({ "compare": ">", "margin": 0.02 })),
            Verdict::Equivalent,
        ),
        (cosine("a difference that matters", json!({ "compare": ">", "margin": 0.005 })), Verdict::Supported),
        (cosine("a point better", json!({ "value": 0.01, "tolerance": 0.001 })), Verdict::Supported),
        (claim("every arm", json!({ "where": {}, "value": 0.755, "compare": ">=" })), Verdict::Contradicted),
        (
            claim("average", json!({ "where": {}, "value": 0.755, "compare": ">=", "arms": "average" })),
            Verdict::Undecided,
        ),
        (
            claim(
                "lower average",
                json!({ "where": {}, "value": 0.752, "compare": ">=", "arms": "average" }),
            ),
            Verdict::Supported,
        ),
        (
            claim("most arms", json!({ "where": {}, "value": 0.755, "compare": ">=", "arms": "most" })),
            Verdict::Undecided,
        ),
        (
            claim("nowhere", json!({ "where": { "schedule": "rex" }, "value": 0.75, "tolerance": 0.01 })),
            Verdict::NotRun,
        ),
        (
            claim("not measured", json!({ "metric": "best.test_ece", "value": 0.1, "tolerance": 0.01 })),
            Verdict::NotRun,
        ),
        (
            claim("no metric", json!({ "metric": "val_acuracy", "value": 0.75, "tolerance": 0.01 })),
            Verdict::Unreadable,
        ),
        (claim("no value", json!({ "tolerance": 0.01 })), Verdict::Unreadable),
        (claim("no condition", json!({ "value": 0.75 })), Verdict::Unreadable),
        (json!({ "id": 3 }), Verdict::Unreadable),
    ];
    plan.claims = cases.iter().map(|c| c.0.clone()).collect();
    // Noise of mean 0 for the arms, and other noise for the difference.
    let noise = [-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0];
    let (_folder, store) = common::store(&plan, |i, planned| {
        let ours = if i < 8 { 0.0 } else { 0.01 + 0.0003 * noise[(3 * i) % 8] };
        let mut it = with_accuracy(planned, 0.75 + 0.001 * noise[i % 8] + ours);
        it.best.test_ece = None;
        Some(it)
    });
    let report = summarise(&plan, &store).unwrap();
    let verdicts = claims(&report);
    assert_eq!(verdicts.len(), cases.len());
    for (verdict, (claim, expected)) in verdicts.iter().zip(&cases) {
        assert_eq!(verdict.verdict, *expected, "{claim} {verdict:?}");
        assert_eq!(verdict.as_expected(), *expected == Verdict::Supported, "{claim}");
    }
    for (id, condition) in [
        (verdicts[0].id.as_str(), "within 1.00 pp of 75.00 %"),
        ("every arm", "≥ 75.50 %"),
        ("a difference that matters", "difference from schedule = static: > 0"),
        ("a point better", "difference from schedule = static: within 0.10 pp of 1.00 pp"),
    ] {
        assert_eq!(verdicts.iter().find(|verdict| verdict.id == id).unwrap().claimed, condition);
    }
    let half_a_point = verdicts[7].measured[0].judged.as_ref().unwrap();
    assert_eq!((half_a_point.summary.n, half_a_point.p), (8, 2.0 / 256.0));
    let every = &verdicts[13];
    assert_eq!(every.note, "in every arm: supported in 1, contradicted in 1 of 2 arms");
    // Holm's correction over two arms doubles the smaller p.
    let judged: Vec<_> = every.measured.iter().map(|m| m.judged.as_ref().unwrap()).collect();
    let smaller = judged.iter().min_by(|a, b| a.p_uncorrected.total_cmp(&b.p_uncorrected)).unwrap();
    assert!(smaller.p_uncorrected < 0.5);
    assert_eq!((smaller.p, smaller.smallest_p), (2.0 * smaller.p_uncorrected, 4.0 / 256.0));
    // Holm's correction over two tests: the larger p is unchanged, the smaller is doubled.
    assert_eq!(every.measured[0].judged.as_ref().unwrap().p, 4.0 / 256.0);
    assert_eq!(verdicts[14].average.as_ref().unwrap().summary.n, 8);
    check::written(&plan, &store, "claims");
    // The averages over arms have as many pairs as planned seeds.
    let folder = tempfile::tempdir().unwrap();
    lrlab_report::write(&report, &[], folder.path()).unwrap();
    let table = std::fs::read_to_string(folder.path().join("tables/claims.tex")).unwrap();
    assert!(table.contains("average") && !table.contains("/0)"), "{table}");
}

#[test]
fn claims_have_expected_verdicts() {
    let mut plan = small(&["static"], 8);
    let expecting = |expect: &str, value: f64| {
        json!({ "id": expect, "text": "t", "metric": "val_accuracy", "value": value,
        "compare": ">", "margin": 0.002, "expect": expect })
    };
    let cases = [
        ("supported", [true, false, false, false]),
        ("contradicted", [false, false, false, true]),
        ("equivalent", [false, true, false, false]),
        ("any", [true; 4]),
    ];
    let values = [0.74, 0.7501, 0.7519, 0.76];
    plan.claims = cases.iter().flat_map(|(name, _)| values.map(|value| expecting(name, value))).collect();
    let (_folder, store) =
        common::store(&plan, |i, planned| Some(with_accuracy(planned, 0.75 + 0.001 * (i as f64 - 3.5))));
    let found: Vec<bool> = claims(&summarise(&plan, &store).unwrap())
        .iter()
        .map(lrlab_report::ClaimVerdict::as_expected)
        .collect();
    assert_eq!(found, cases.iter().flat_map(|(_, expected)| *expected).collect::<Vec<_>>());
}

#[test]
fn claims_show_the_number_of_runs() {
    let mut plan = small(&["static"], 3);
    plan.claims =
        json!([{ "id": "c", "text": "t", "metric": "max.val_accuracy", "value": 0.75, "tolerance": 0.01 }]);
    let (_folder, store) = common::store(&plan, |i, planned| (i == 0).then(|| with_accuracy(planned, 0.75)));
    let verdict = claims(&summarise(&plan, &store).unwrap()).remove(0);
    let found = (verdict.verdict, verdict.note.as_str());
    // A value with a tolerance is not judged by p.
    assert_eq!(found, (Verdict::Undecided, "1 of 3 runs"));
    assert_eq!(verdict.metric.unwrap().at, At::Max);
}

/// A tolerance of zero, "at least" and "at most" are met by equal numbers.
#[test]
fn equal_numbers_agree() {
    let mut plan = small(&["static", "step"], 3);
    let claim = |more: serde_json::Value| {
        let mut it =
            json!({ "id": "c", "text": "t", "metric": "val_accuracy", "where": { "schedule": "step" } });
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        it
    };
    let cases = [
        (claim(json!({ "value": 0.625, "tolerance": 0.0 })), Verdict::Supported),
        (claim(json!({ "value": 0.625, "compare": ">=" })), Verdict::Supported),
        (claim(json!({ "than": { "schedule": "static" }, "compare": "<=" })), Verdict::Supported),
        (claim(json!({ "than": { "schedule": "static" }, "compare": "<" })), Verdict::Undecided),
        (
            claim(json!({ "than": { "schedule": "static" }, "compare": "<=", "margin": 0.1 })),
            Verdict::Equivalent,
        ),
    ];
    plan.claims = cases.iter().map(|case| case.0.clone()).collect();
    let (_folder, store) = common::store(&plan, |_, planned| Some(with_accuracy(planned, 0.625)));
    for (verdict, (claim, expected)) in claims(&summarise(&plan, &store).unwrap()).iter().zip(&cases) {
        assert_eq!(verdict.verdict, *expected, "{claim}");
    }
}

/// An arm whose reference diverged is undecided, and one that diverged has no average.
#[test]
fn diverged_references_are_said() {
    let mut plan = small(&["static", "step", "cosine"], 3);
    let claim = |schedule: &str, than: &str, arms: &str| {
        json!({ "id": "c", "text": "t", "metric": "val_accuracy", "where": if schedule.is_empty() { json!({}) } else {
                json!({ "schedule": schedule }) }, "compare": ">=", "than": { "schedule": than }, "arms": arms })
    };
    plan.claims = json!([claim("cosine", "static", "every"), claim("static", "cosine", "every"),
        { "id": "a", "text": "t", "metric": "val_accuracy", "where": {}, "value": 0.5, "compare": ">", "arms": "average" },
        claim("step", "static", "every")]);
    let (_folder, store) = common::store(&plan, |i, planned| {
        Some(if i < 6 { common::died(planned) } else { with_accuracy(planned, 0.6 + 0.01 * i as f64) })
    });
    let found: Vec<_> = claims(&summarise(&plan, &store).unwrap())
        .into_iter()
        .map(|verdict| (verdict.verdict, verdict.note))
        .collect();
    assert_eq!(found[0], (Verdict::Undecided, "every run of schedule = static diverged".to_owned()));
    assert_eq!(found[1], (Verdict::Contradicted, "0 of 3 runs; 3 diverged".to_owned()));
    assert_eq!(found[2].0, Verdict::Contradicted, "{}", found[2].1);
    assert_eq!(found[3].0, Verdict::Undecided, "neither arm has a value: {}", found[3].1);
}

/// p is corrected over the planned arms, so that it does not grow when the others are run.
#[test]
fn arms_without_runs_count_in_the_correction() {
    let mut plan = small(&["static", "step", "cosine", "rex"], 8);
    plan.claims = json!([{ "id": "c", "text": "t", "metric": "val_accuracy", "where": { "schedule": "step" },
                           "compare": ">", "than": { "schedule": "static" } },
                         { "id": "d", "text": "t", "metric": "val_accuracy", "where": {}, "compare": ">", "value": 0.5 }]);
    let (_folder, store) = common::store(&plan, |i, planned| {
        (i < 16).then(|| with_accuracy(planned, 0.7 + 0.01 * (i / 8) as f64 + 0.0001 * (i % 5) as f64))
    });
    let report = summarise(&plan, &store).unwrap();
    let verdicts = claims(&report);
    let p = |claim: usize, arm: usize| verdicts[claim].measured[arm].judged.as_ref().map(|judged| judged.p);
    assert_eq!(p(0, 0), Some(2.0 / 256.0));
    assert_eq!([p(1, 0), p(1, 1), p(1, 2)], [Some(8.0 / 256.0), Some(8.0 / 256.0), None]);
    let comparison = report.comparisons.iter().find(|c| c.paired.is_some()).unwrap();
    assert_eq!((comparison.family, comparison.smallest_p()), (3, Some(6.0 / 256.0)));
}

/// Pairs whose runs do not differ up to the selected epoch are counted.
#[test]
fn equal_networks_are_counted() {
    let mut plan = small(&["static", "step"], 4);
    plan.claims = json!([{ "id": "c", "text": "t", "metric": "best.test_accuracy", "where": { "schedule": "step" },
                           "compare": ">", "than": { "schedule": "static" }, "margin": 0.5 }]);
    let (_folder, store) = common::store(&plan, |i, planned| {
        let mut it = with_accuracy(planned, 0.7);
        // The selected epochs of seeds 0 to 2 are equal, the last ones of none.
        it.best.metrics.val_loss = Some(0.5);
        it.best.test_loss = Some(if i == 7 { 0.75 } else { 0.5 });
        it.last.metrics.val_loss = Some(0.5 + i as f64);
        Some(it)
    });
    let report = summarise(&plan, &store).unwrap();
    let verdict = &claims(&report)[0];
    assert_eq!(verdict.measured[0].judged.as_ref().unwrap().same, 3);
    assert_eq!(verdict.note, "the same network in 3 of 4 pairs");
    for comparison in &report.comparisons {
        let expected = if comparison.metric.at == At::Best { 3 } else { 0 };
        assert_eq!(comparison.paired.as_ref().unwrap().same, expected, "{:?}", comparison.metric);
    }
}

/// The runs behind a difference are those of both arms of equal seed; those behind an average, those of every arm.
#[test]
fn differences_name_the_runs_of_both_arms() {
    let mut plan = common::product(
        &[("model", vec![json!("a"), json!("b")]), ("schedule", vec![json!("static"), json!("cosine")])],
        3,
    );
    plan.claims = json!([
        { "id": "average", "text": "t", "metric": "val_loss", "where": { "schedule": "cosine" }, "compare": "<",
          "than": { "schedule": "static" }, "arms": "average" },
        { "id": "value", "text": "t", "metric": "val_loss", "where": { "schedule": "cosine", "model": "a" }, "value": 1.0, "tolerance": 0.1 },
    ]);
    // Seed 2 of the static arms is missing, so that seed 2 of the others has no partner.
    let missing =
        |planned: &lrlab_runs::PlannedRun| planned.cell["schedule"] == "static" && planned.cell["seed"] == 2;
    let (_folder, store) =
        common::store(&plan, |_, planned| (!missing(planned)).then(|| common::result(planned)));
    let report = summarise(&plan, &store).unwrap();
    let table = lrlab_report::tables(&report).into_iter().find(|table| table.name == "claims").unwrap();
    let count = |row: usize, column: &str| {
        let column = table.columns.iter().position(|it| it.key == column).unwrap();
        table.rows[row].cells[column].runs.len()
    };
    // The average, the arms of both models, and the claim about a value.
    assert_eq!([0, 1, 2, 3].map(|row| count(row, "difference")), [8, 4, 4, 3]);
    assert_eq!([0, 1, 2, 3].map(|row| count(row, "measured")), [0, 3, 3, 3]);
    check::written(&plan, &store, "claimed");
}
