//! Reports of small, empty and unusual grids.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

mod common;

use common::{check, edge, small};
use lrlab_report::{At, Finding, Metric, Unit, Verdict, check as claims, summarise, tables, terminal_table};
use lrlab_runs::{EpochMetrics, Evaluation, Event, Outcome};
use serde_json::json;

#[test]
fn a_report_without_plans() {
    let plan = edge(Vec::new());
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    assert!(report.arms.is_empty() && report.comparisons.is_empty());
    check::written_without_latex_rows(&plan, &store);
}

#[test]
fn a_report_without_runs() {
    let mut plan = small(&["static", "cosine"], 2);
    plan.claims = json!([{ "id": "c", "text": "t", "metric": "val_accuracy", "where": {}, "value": 0.5, "tolerance": 0.1 }]);
    let (_folder, store) = common::store(&plan, |_, _| None);
    let report = summarise(&plan, &store).unwrap();
    assert_eq!((report.counts.done, report.counts.missing), (0, 4));
    assert_eq!(claims(&report)[0].verdict, Verdict::NotRun);
    let table = terminal_table(&report);
    assert!(table.contains("0 of 4 runs done; 4 missing") && table.contains("– (0/2)"), "{table}");
    let files = check::written(&plan, &store, "nothing-run");
    assert!(!files.keys().any(|name| name.ends_with(".svg")), "there is nothing to draw");
}

#[test]
fn one_arm_one_run() {
    let plan = small(&["cosine"], 1);
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    assert!(report.comparisons.is_empty());
    assert!(
        report.warnings.iter().any(|w| w.starts_with("There is one run per arm")),
        "{:?}",
        report.warnings
    );
    let files = check::written(&plan, &store, "one-arm");
    let row = files["report.md"].lines().find(|line| line.starts_with("| m ")).unwrap();
    assert!(row.contains("1/1") && !row.contains('±'), "{row}");
    assert!(!files["tables/results.tex"].contains("textbf"), "one arm is not the best of anything");
    assert!(!files.contains_key("tables/differences.csv"));
}

#[test]
fn null_metrics() {
    let plan = small(&["static", "step"], 2);
    let empty = |planned: &lrlab_runs::PlannedRun| {
        let mut it = common::result(planned);
        it.history = vec![EpochMetrics { epoch: 1, val_loss: Some(f64::NAN), ..EpochMetrics::default() }];
        (it.last, it.best) = (Evaluation::default(), Evaluation::default());
        it
    };
    let (_folder, store) = common::store(&plan, |_, planned| Some(empty(planned)));
    let report = summarise(&plan, &store).unwrap();
    assert!(report.comparisons.iter().all(|c| c.paired.is_none() && c.finding() == Finding::NotRun));
    let results = tables(&report).remove(0);
    assert_eq!(
        results.columns.last().map(|c| c.key.as_str()),
        Some("runs"),
        "metrics that no run has are omitted"
    );
    check::written(&plan, &store, "null");
}

#[test]
fn diverged_runs_are_counted_not_averaged() {
    let plan = small(&["static", "step"], 2);
    let (_folder, store) = common::store(&plan, |i, planned| {
        Some(if i == 1 { common::diverged(planned, 3) } else { common::result(planned) })
    });
    let report = summarise(&plan, &store).unwrap();
    assert_eq!((report.counts.done, report.counts.diverged), (4, 1));
    let estimate = report.arms[0].estimate(Metric::last("val_accuracy"));
    assert_eq!((estimate.n(), estimate.planned), (1, 2));
    assert_eq!(
        estimate.summary.unwrap().mean,
        common::result(&plan.runs[0]).last.metrics.val_accuracy.unwrap()
    );
    assert!(
        report.warnings.iter().any(|w| w.contains("1 of 4 finished runs diverged")),
        "{:?}",
        report.warnings
    );
    let all = |_: usize, planned: &lrlab_runs::PlannedRun| Some(common::diverged(planned, 2));
    let (_folder, store) = common::store(&plan, all);
    assert!(
        summarise(&plan, &store)
            .unwrap()
            .runs()
            .all(|run| run.result().unwrap().outcome == Outcome::Diverged)
    );
    check::written(&plan, &store, "all-diverged");
}

/// Metrics of a diverged run that was evaluated enter no mean.
#[test]
fn diverged_runs_with_metrics_enter_no_mean() {
    let mut plan = small(&["static", "step"], 2);
    let claim = |id: &str, schedule: &str, value: f64| {
        json!({ "id": id, "text": "t", "metric": "best.test_accuracy", "where": { "schedule": schedule },
                "value": value, "compare": "<=" })
    };
    plan.claims = json!([claim("all-died", "static", 0.3), claim("one-held", "step", 0.99)]);
    let (_folder, store) = common::store(&plan, |i, planned| {
        Some(if i == 3 { common::result(planned) } else { common::died(planned) })
    });
    let report = summarise(&plan, &store).unwrap();
    let held = common::result(&plan.runs[3]);
    for metric in [
        Metric::best("test_accuracy"),
        Metric::last("val_loss"),
        Metric { at: At::Max, key: "val_accuracy" },
        Metric { at: At::Min, key: "val_loss" },
        Metric::best("epoch"),
    ] {
        let of = |arm: usize| report.arms[arm].estimate(metric);
        assert_eq!((of(0).n(), of(0).planned, of(0).summary), (0, 2, None), "{metric:?}");
        assert_eq!((of(1).n(), of(1).summary.unwrap().mean), (1, metric.of(&held).unwrap()), "{metric:?}");
    }
    assert!(report.comparisons.iter().all(|c| c.paired.is_none()));
    let verdicts = claims(&report);
    assert_eq!(verdicts[0].verdict, Verdict::Contradicted);
    assert_eq!(verdicts[0].note, "0 of 2 runs; 2 diverged");
    assert_eq!(verdicts[1].verdict, Verdict::Undecided);
    assert_eq!(verdicts[1].note, "1 of 2 runs; 1 diverged; n = 1 is too small for p < 0.05");

    let files = check::written(&plan, &store, "died");
    let row = |table: &str, start: &str| -> String {
        files[table].lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    };
    assert!(!row("tables/results.csv", "m,static").contains("0.25"), "{}", files["tables/results.csv"]);
    assert!(row("tables/cost.csv", "m,step").contains(&held.timing.updates_executed.to_string()));
    assert!(!row("tables/cost.csv", "m,static").contains('3'), "{}", files["tables/cost.csv"]);
    let runs = files["report.md"].split_once("All runs").unwrap().1;
    assert!(runs.contains("| diverged | diverged | diverged |"), "{runs}");
    assert!(files["report.md"].contains("2/2, 2 diverged") && files["report.md"].contains("– (0/2)"));
    for (name, text) in files.iter().filter(|(name, _)| !name.ends_with(".csv") && !name.ends_with(".json")) {
        assert!(!text.contains("12345670"), "{name} has a number of 33 digits");
    }
}

#[test]
fn premiums_are_the_selected_epoch_minus_the_last_update() {
    let plan = small(&["static"], 1);
    let mut result = common::result(&plan.runs[0]);
    for key in ["test_accuracy", "val_loss", "accuracy_gap", "lr"] {
        let premium = Metric { at: At::Premium, key };
        let (best, last) = (Metric::best(key).of(&result).unwrap(), Metric::last(key).of(&result).unwrap());
        assert_eq!(premium.of(&result), Some(best - last), "{key}");
        assert_eq!(Metric::parse(&premium.name()), Some(premium));
    }
    let unit = |key: &'static str| Metric { at: At::Premium, key }.unit();
    assert_eq!((unit("test_accuracy"), unit("val_loss")), (Unit::Points, Unit::Nats));
    result.best.test_accuracy = Some(0.75);
    result.last.test_accuracy = Some(0.5);
    let premium = Metric { at: At::Premium, key: "test_accuracy" };
    assert_eq!(premium.of(&result), Some(0.25));
    result.last.test_accuracy = None;
    assert_eq!(premium.of(&result), None);
}

#[test]
fn notes_on_data_are_those_of_the_last_run() {
    let plan = small(&["static"], 3);
    let (_folder, store) = common::store(&plan, |i, planned| {
        let mut result = common::result(planned);
        result.timing.finished = [10.0, 30.0, 20.0][i];
        result.provenance.dataset_notes = vec![format!("note {i}"), "one for all".to_owned()];
        Some(result)
    });
    assert_eq!(summarise(&plan, &store).unwrap().origin.notes, ["note 1", "one for all"]);
}

#[test]
fn failed_runs_show_their_error() {
    let plan = small(&["static"], 4);
    let (_folder, store) = common::store(&plan, |i, planned| (i == 0).then(|| common::result(planned)));
    let line = |event: &Event| serde_json::to_string(event).unwrap() + "\n";
    let (started, failed) = (
        line(&Event::Started { updates: 1, epochs: 1 }),
        line(&Event::Failed { error: "the <disk> is full".to_owned() }),
    );
    let put = |i: usize, name: &str, text: &str| {
        let folder = store.run_dir(&plan.runs[i].run_id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    };
    put(1, "events.jsonl", &format!("{started}{failed}{{\"torn"));
    put(2, "events.jsonl", &format!("{failed}{started}")); // tried again, not failed yet
    put(3, "failure.json", r#"{ "attempt": 2, "kind": "out_of_memory", "message": "exit code 137" }"#);
    let report = summarise(&plan, &store).unwrap();
    assert_eq!((report.counts.done, report.counts.failed, report.counts.missing), (1, 2, 1));
    let files = check::written(&plan, &store, "failed");
    assert!(files["report.html"].contains("the &lt;disk&gt; is full"));
    assert!(files["report.html"].contains("out_of_memory: exit code 137"));
}

#[test]
fn damaged_results_count_as_missing() {
    let plan = small(&["static"], 2);
    let (_folder, store) = common::store(&plan, |_, _| None);
    let put = |bytes: &[u8]| {
        let folder = store.run_dir(&plan.runs[0].run_id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("result.json"), bytes).unwrap();
        let report = summarise(&plan, &store).unwrap();
        assert_eq!((report.counts.done, report.counts.failed, report.counts.missing), (0, 0, 2));
        assert_eq!(report.runs().next().map(lrlab_report::Run::word), Some("damaged"));
        check::written(&plan, &store, "damaged")["report.html"].clone()
    };
    let broken = put(b"{ \"run_id\": 3 }");
    assert!(broken.contains("result.json: damaged"), "{broken}");
    let other = serde_json::to_vec(&common::result(&plan.runs[1])).unwrap();
    let misplaced = put(&other);
    let words = format!("this is the result of run {}", plan.runs[1].run_id);
    assert!(misplaced.contains(&words), "{misplaced}");
}

/// The best means of a block are those that are printed equal to the best one.
#[test]
fn ties_are_printed_equal() {
    for digit in 0..200 {
        let plan = small(&["static", "step", "cosine"], 2);
        let low = f64::from(7000 + digit) / 1e4;
        let (_folder, store) = common::store(&plan, |i, planned| {
            // Means half a digit apart.
            let accuracy = [low, low, low, low + 1e-4, low + 1e-4, low + 1e-4][i];
            Some(common::with_accuracy(planned, accuracy))
        });
        let report = summarise(&plan, &store).unwrap();
        let table = tables(&report).into_iter().find(|table| table.name == "results").unwrap();
        let column = table.columns.iter().position(|it| it.key == "final_val_accuracy").unwrap();
        let mean = |text: String| text.split(' ').next().unwrap().to_owned();
        let printed = |row: &lrlab_report::Row| mean(row.cells[column].value.to_string());
        let best = table.rows.iter().map(printed).max().unwrap();
        for row in &table.rows {
            assert_eq!(row.cells[column].bold, printed(row) == best, "{digit}: {}", printed(row));
        }
    }
}
