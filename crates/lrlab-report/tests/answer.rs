//! The summary of the results.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use common::{check, ending, noise, product};
use lrlab_report::{Finding, Plan, Reason, Report, Verdict, answer, forest, summarise, tables};
use lrlab_runs::Cell;
use serde_json::{Value, json};

fn sentences(report: &Report) -> Vec<String> {
    let one = |s: lrlab_report::Sentence| {
        if s.about.is_empty() { s.text } else { format!("{}: {}", s.about, s.text) }
    };
    answer(report).into_iter().map(one).collect()
}

#[test]
fn single_comparisons_are_reported_in_full() {
    let schedules = ("schedule", vec![json!("static"), json!("cosine")]);
    let plan = product(&[("model", vec![json!("resnet")]), ("epochs", vec![json!(20)]), schedules], 8);
    let (_folder, store) = ending(&plan, |cell| {
        let helped = if cell["schedule"] == "cosine" { 1.0 } else { 0.0 };
        let more = helped * (0.02 + noise(cell));
        [0.7 + more, 0.9 - more, 0.1 + helped * (0.001 * (cell["seed"].as_u64().unwrap() as f64 - 3.5))]
    });
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(
        sentences(&report),
        ["cosine against static: validation accuracy +2.2 points [+2.1, +2.2], p = 0.008, better; \
          validation loss −0.022 nats [−0.022, −0.021], p = 0.008, better; gap between training and \
          validation accuracy 0.0 points [−0.2, +0.2], p = 1.000, not significant; n = 8."]
    );
    let drawn = forest(&report).unwrap();
    assert_eq!(drawn.groups.len(), 1);
    assert_eq!(
        (drawn.groups[0].title.as_str(), drawn.groups[0].rows[0].label.as_str()),
        ("schedule against static", "cosine")
    );
    let findings: Vec<Finding> =
        drawn.groups[0].rows[0].points.iter().map(|point| point.unwrap().finding).collect();
    assert_eq!(findings, [Finding::Better, Finding::Better, Finding::Undecided]);
    let files = check::written(&plan, &store, "one-answer");
    let svg = &files["figures/answer.svg"];
    // Findings are distinguished by shape as well as by colour, and the legend names them.
    assert!(
        svg.contains(">better<") && svg.contains(">not significant<") && !svg.contains(">worse<"),
        "{svg}"
    );
    assert!(svg.contains("+2.2 [+2.1, +2.2]"), "{svg}");
    let html = &files["report.html"];
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("Does it help?") < at("cosine against static"));
    assert!(at("cosine against static") < at("id=\"answer-figure\""));
    assert!(at("id=\"answer-figure\"") < at("id=\"figures\"") && at("id=\"figures\"") < at("id=\"results\""));
    assert!(at("id=\"results\"") < at("id=\"provenance\""));
}

#[test]
fn many_arms_are_summarised_and_ranked() {
    let models = ["a", "b", "c"].map(Value::from).to_vec();
    let schedules = ["static", "step", "cosine"].map(Value::from).to_vec();
    let plan = product(&[("model", models), ("schedule", schedules)], 8);
    let (_folder, store) = ending(&plan, |cell| {
        let lift = match (cell["schedule"].as_str(), cell["model"].as_str()) {
            (Some("cosine"), Some("c")) => 0.06,
            (Some("cosine"), _) => 0.02,
            (Some("step"), Some("c")) => -0.03,
            _ => 0.0,
        };
        let more = if lift == 0.0 { 0.0 } else { lift + noise(cell) };
        [0.7 + more, 0.9, 0.1]
    });
    let report = summarise(&plan, &store).unwrap();
    let sentences = sentences(&report);
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(
        sentences[0].starts_with(
            "Schedule against static, 6 arms, after the last update: validation accuracy +1.3 points on average (cosine +3.5, step −1.0), \
             significantly better in 3, significantly worse in 1 of 6 arms. Validation loss 0.000 nats on average, not significant in any of \
             6 arms."
        ),
        "{sentences:?}"
    );
    assert!(
        sentences[0].ends_with(
            "Largest difference: cosine (c), validation accuracy +6.2 points [+6.1, +6.2], p = 0.016 (p = 0.008 before Holm's correction over 2 comparisons), better, n = 8."
        ),
        "{sentences:?}"
    );
    let rows = &forest(&report).unwrap().groups[0].rows;
    let labels: Vec<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!((labels[0], labels[5], rows.len()), ("cosine: c", "step: c", 6), "{labels:?}");
}

#[test]
fn too_few_runs_are_pointed_out() {
    let schedules = ("schedule", ["static", "cosine"].map(Value::from).to_vec());
    let of = |seeds: u64, done: bool| {
        let plan = product(std::slice::from_ref(&schedules), seeds);
        let (_folder, store) = if done { common::full(&plan) } else { common::store(&plan, |_, _| None) };
        sentences(&summarise(&plan, &store).unwrap())
    };
    assert_eq!(of(2, false), ["No run has finished yet."]);
    let one = of(1, true);
    assert!(
        one[0].starts_with("There is one seed per arm, so no difference can be tested for significance"),
        "{one:?}"
    );
    assert!(!one[1].contains('[') && one[1].ends_with("n = 1."), "one pair has no interval: {one:?}");
    let two = of(2, true);
    assert!(
        two[0].starts_with(
            "With 2 seeds per arm no difference can be significant; at least 6 seeds are needed."
        ),
        "{two:?}"
    );
    assert!(!two[1].contains(", p ") && two[1].contains('['), "{two:?}");

    // A difference within a margin is a finding with any number of seeds; the others still need more.
    let epochs = ("epochs", [3, 5, 10].map(Value::from).to_vec());
    let mut some = product(&[epochs, schedules.clone()], 4);
    some.claims = json!([{
        "id": "accuracy", "text": "Cosine helps", "metric": "final.val_accuracy",
        "where": { "schedule": "cosine" }, "compare": ">", "than": { "schedule": "static" }, "margin": 0.01,
    }]);
    let (_folder, kept) = ending(&some, |cell| {
        let helps = cell["schedule"] == "cosine" && cell["epochs"] != 3;
        [0.7 + if helps { 0.03 + noise(cell) } else { 0.1 * noise(cell) }, 0.5, 0.1]
    });
    let four = sentences(&summarise(&some, &kept).unwrap());
    assert!(four[0].starts_with("With 4 seeds per arm no difference can be significant"), "{four:?}");
    assert!(four[1].contains("higher in 2 of 3 arms, equivalent in 1."), "{four:?}");

    let alone = product(&[("model", vec![json!("m")]), ("schedule", vec![json!("cosine")])], 2);
    let (_folder, store) = ending(&alone, |_| [0.75, 0.5, 0.1]);
    let report = summarise(&alone, &store).unwrap();
    assert_eq!(
        sentences(&report),
        [
            "There is nothing to compare: only one arm has results. m, cosine: validation accuracy 75.00 ± 0.00 % (n = 2)."
        ]
    );
    assert!(forest(&report).is_none());
}

/// In claims, a whole number matches the same number on an axis of floats, and the other way round.
#[test]
fn whole_numbers_match_floats() {
    let floats = |values: &[f64]| values.iter().map(|x| json!(x)).collect::<Vec<_>>();
    let mut plan = product(
        &[
            ("lr", floats(&[2.0, 0.5])),
            ("momentum", floats(&[0.0, 0.9])),
            ("epochs", vec![json!(3), json!(6)]),
        ],
        8,
    );
    let places = [
        (json!({ "lr": 0.5 }), json!({ "lr": 2 })),
        (json!({ "lr": 2, "momentum": 0.9 }), json!({ "momentum": 0 })),
        (json!({ "epochs": 6.0, "lr": 2.0 }), json!({ "epochs": 3.0 })),
    ];
    let claim = |(place, than): &(Value, Value)| {
        json!({ "id": place.to_string(), "text": "t", "metric": "final.val_accuracy", "where": place,
            "compare": ">", "than": than })
    };
    plan.claims = places.iter().map(claim).collect::<Vec<_>>().into();
    let (_folder, store) = ending(&plan, |cell| [0.7 + noise(cell), 0.9, 0.1]);
    let report = summarise(&plan, &store).unwrap();
    let arms: Vec<_> = report.claims.iter().map(|claim| (claim.verdict, claim.measured.len())).collect();
    assert_eq!(arms, [(Verdict::Undecided, 4), (Verdict::Undecided, 2), (Verdict::Undecided, 2)]);
}

/// Any axis is compared with the baseline that the file names, or else with its first value, which the report states.
#[test]
fn other_axes_are_compared_too() {
    let rates = ("lr", vec![json!(0.01), json!(0.1), json!(1.0)]);
    let precision = ("precision", ["f32", "bf16"].map(Value::from).to_vec());
    let mut plan =
        product(&[("model", vec![json!("m")]), rates, precision, ("schedule", vec![json!("cosine")])], 8);
    let (_folder, store) = ending(&plan, |cell| {
        let lr = cell["lr"].as_f64().unwrap();
        let lift = if lr > 0.5 { 0.03 + noise(cell) } else { 0.0 };
        [0.7 + lift, 0.9, 0.1]
    });
    let words = |report: &Report| -> Vec<(String, Reason)> {
        report.contrasts.iter().map(|contrast| (contrast.word(), contrast.reason)).collect()
    };
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(
        words(&report),
        [("lr vs 0.01".to_owned(), Reason::First), ("precision vs f32".to_owned(), Reason::First)]
    );
    let first = &sentences(&report)[0];
    assert!(
        first.starts_with(
            "lr against 0.01 (the first value of the axis; no baseline is named), 4 arms, after the last update: validation accuracy +1.6 points \
             on average (lr 1 +3.2, lr 0.1 0.0), significantly better in 2, significantly worse in none of 4 arms."
        ),
        "{first}"
    );
    plan.baseline = Cell::from([("lr".to_owned(), json!(1.0))]);
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(words(&report)[0], ("lr vs 1".to_owned(), Reason::Named));
    assert!(
        sentences(&report)[0]
            .starts_with("lr against 1, 4 arms, after the last update: validation accuracy −3.2 points"),
        "{:?}",
        sentences(&report)
    );
    let files = check::written(&plan, &store, "rates");
    // The axis has its own column in addition to the rates of the epochs.
    assert!(
        files["tables/curves.csv"]
            .starts_with("model,lr,precision,schedule,seed,run_id,state,epoch,lr_first,lr_last,")
    );
}

/// Axes of a `zip` form one contrast; models are compared if nothing else varies.
#[test]
fn zipped_axes_and_models() {
    let mut zipped =
        product(&[("lr", vec![json!(0.1), json!(0.2)]), ("batch_size", vec![json!(32), json!(64)])], 2);
    zipped.runs.retain(|run| (run.cell["lr"] == 0.1) == (run.cell["batch_size"] == 32));
    let (_folder, store) = common::full(&zipped);
    let report = summarise(&zipped, &store).unwrap();
    let words: Vec<String> = report.contrasts.iter().map(lrlab_report::Contrast::word).collect();
    assert_eq!(words, ["batch_size, lr vs 32, 0.1"]);
    assert_eq!(report.comparisons.len(), lrlab_report::Comparison::METRICS.len());

    let models = product(
        &[("model", ["small", "large"].map(Value::from).to_vec()), ("schedule", vec![json!("static")])],
        2,
    );
    let (_folder, store) = common::full(&models);
    let report = summarise(&models, &store).unwrap();
    assert_eq!(report.contrasts[0].word(), "model vs small");
}

/// The file names the metrics of the summary and the figure, which are also the first columns of the tables.
#[test]
fn the_file_names_the_leading_metrics() {
    let schedules = ("schedule", ["static", "cosine"].map(Value::from).to_vec());
    let mut plan = product(std::slice::from_ref(&schedules), 8);
    plan.metrics = ["update_ms", "best.test_f1"].map(str::to_owned).into();
    let (_folder, store) = common::store(&plan, |_, planned| {
        let mut it = common::result(planned);
        let slower = if planned.cell["schedule"] == "cosine" { 1.0 + noise(&planned.cell) } else { 0.0 };
        it.timing.train_s = (2.0 + slower) * it.timing.updates_executed as f64 / 1000.0;
        Some(it)
    });
    let report = summarise(&plan, &store).unwrap();
    let text = &sentences(&report)[0];
    assert!(
        text.starts_with(
            "cosine against static: training time per update +1.001 ms [+1.001, +1.002], p = 0.008, worse; test F1 at the selected epoch +"
        ),
        "{text}"
    );
    let titles: Vec<&str> = forest(&report).unwrap().metrics.iter().map(|metric| metric.title()).collect();
    assert_eq!(titles, ["training time per update", "test F1"]);
    let files = check::written(&plan, &store, "leading");
    for (table, column) in [("results", "final_update_ms_mean,"), ("differences", "final_update_ms_mean,")] {
        let header = files[&format!("tables/{table}.csv")].lines().next().unwrap().to_owned();
        assert!(header.find(column).unwrap() < header.find("best_test_accuracy_mean").unwrap(), "{header}");
    }
    assert!(files["tables/comparisons.csv"].contains("training time per update"));

    let alone = Plan { metrics: plan.metrics.clone(), ..product(&[("schedule", vec![json!("cosine")])], 2) };
    let (_folder, store) = common::full(&alone);
    let text = sentences(&summarise(&alone, &store).unwrap()).remove(0);
    assert!(text.starts_with(
        "There is nothing to compare: only one arm has results. cosine: training time per update "
    ));
    assert!(text.ends_with(" ms (n = 2)."), "{text}");
}

/// Validation metrics are compared on the same examples only, and runs that validate on the test split do not enter averages
/// of others.
#[test]
fn metrics_of_different_examples_are_not_compared() {
    let validation = ("data.validation", ["off", "test", "more"].map(Value::from).to_vec());
    let schedules = ("schedule", ["static", "step", "cosine", "linear"].map(Value::from).to_vec());
    let mut plan = product(&[validation, schedules], 10);
    for run in &mut plan.runs {
        let validation = match run.cell["data.validation"].as_str() {
            Some("test") => json!("test"),
            Some("more") => json!(500),
            _ => Value::Null,
        };
        run.spec =
            json!({ "data": { "source": { "cifar10": {} }, "validation": validation, "split_seed": 1 } })
                .into();
    }
    let (_folder, store) = ending(&plan, |cell| {
        let leak = cell["data.validation"] == "test";
        let lift = if cell["schedule"] == "static" { 0.0 } else { 0.01 + noise(cell) };
        [0.7 + if leak { 10.0 * lift } else { lift }, 0.9, 0.1]
    });
    let report = summarise(&plan, &store).unwrap();
    let along = |word: &str| {
        let contrast = report.contrasts.iter().position(|it| it.word() == word).unwrap();
        let compared = report.comparisons.iter().filter(|c| c.contrast == contrast);
        compared.map(|c| c.metric.name()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        along("data.validation vs off").into_iter().collect::<Vec<_>>(),
        ["best.test_accuracy", "best.test_f1", "final.test_accuracy", "final.test_f1"]
    );
    assert_eq!(along("schedule vs static").len(), lrlab_report::Comparison::METRICS.len());
    let all = sentences(&report);
    assert!(
        all[0].starts_with(
            "Schedule against static, 6 arms, after the last update: validation accuracy +1.1 points on average (step +1.1, cosine +1.1, linear \
             +1.1), significantly better in 6"
        ),
        "{all:?}"
    );
    assert!(all[1].starts_with("data.validation against off (the first value of the axis; no baseline is named), 4 arms: test accuracy at the \
             selected epoch "), "{all:?}");
    assert!(
        report.warnings[0].ends_with("The summary leaves them out where it has others."),
        "{:?}",
        report.warnings
    );
    // The differences without a common metric are missing, and each validation set has its own best.
    let files = check::written(&plan, &store, "examples");
    let rows = check::records(&files["tables/differences.csv"]);
    let column = rows[0].iter().position(|name| name == "final_val_loss_mean").unwrap();
    let missing = rows[1..].iter().filter(|row| row[0].starts_with("data.validation"));
    assert!(missing.clone().all(|row| row[column].is_empty()) && missing.count() == 8);
    let results = tables(&report).into_iter().find(|table| table.name == "results").unwrap();
    let column = results.columns.iter().position(|it| it.key == "final_val_accuracy").unwrap();
    let bold: Vec<String> = results
        .rows
        .iter()
        .filter(|row| row.cells[column].bold)
        .map(|row| row.cells[0].value.to_string())
        .collect();
    for validation in ["off", "test", "more"] {
        assert!(bold.iter().any(|of| of == validation), "{validation}: {bold:?}");
    }
}

/// Means over arms cover those with all seeds.
#[test]
fn incomplete_arms_are_left_out_of_averages() {
    let models = ["a", "b", "c", "d"].map(Value::from).to_vec();
    let plan = product(&[("model", models), ("schedule", vec![json!("static"), json!("cosine")])], 8);
    let (_folder, store) = common::store(&plan, |_, planned| {
        let (last, first) = (planned.cell["model"] == "d", planned.cell["seed"] == 0);
        let mut it = common::result(planned);
        let lift = if planned.cell["schedule"] == "cosine" { 0.02 + noise(&planned.cell) } else { 0.0 };
        it.last.metrics.val_accuracy = Some(0.7 + if last { 10.0 * lift } else { lift });
        (first || !last).then_some(it)
    });
    let text = sentences(&summarise(&plan, &store).unwrap()).remove(0);
    assert!(
        text.starts_with(
            "Schedule against static, 3 arms, after the last update: validation accuracy +2.2 points on average, significantly better in 3"
        ),
        "{text}"
    );
    assert!(text.ends_with(" 1 more arm (d) has fewer seeds and is left out."), "{text}");
}

/// Significant differences of a metric without a preferred direction are different, neither better nor worse.
#[test]
fn metrics_without_a_direction_are_different() {
    let models = ["a", "b", "c", "d"].map(Value::from).to_vec();
    let mut plan = product(&[("model", models), ("schedule", vec![json!("static"), json!("cosine")])], 8);
    plan.metrics = vec!["final.lr".to_owned()];
    let (_folder, store) = common::store(&plan, |_, planned| {
        let mut it = common::result(planned);
        let lower = planned.cell["schedule"] == "cosine" && planned.cell["model"] != "d";
        it.last.metrics.lr = Some(if lower { 0.01 + noise(&planned.cell) } else { 0.05 });
        Some(it)
    });
    let text = sentences(&summarise(&plan, &store).unwrap()).remove(0);
    assert!(text.contains("significantly different in 3 of 4 arms. Largest difference: cosine ("), "{text}");
    assert!(text.ends_with(", different, n = 8."), "{text}");
    let files = check::written(&plan, &store, "no-direction");
    assert!(files["figures/answer.svg"].contains(">different<"));
}
