//! Reports of small, empty and unusual grids.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

mod common;

use common::{cell, check, edge, small, with_accuracy};
use lrlab_report::stats::Bootstrap;
use lrlab_report::{
    At, Comparison, Finding, Metric, Unit, Verdict, check as claims, figures, summarise, tables,
    terminal_table,
};
use lrlab_runs::{Decision, DecisionKind, EpochMetrics, Evaluation, Event, Outcome, RunResult, Updates};
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
fn damaged_results_count_as_failed() {
    let plan = small(&["static"], 2);
    let (_folder, store) = common::store(&plan, |_, _| None);
    let put = |bytes: &[u8]| {
        let folder = store.run_dir(&plan.runs[0].run_id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("result.json"), bytes).unwrap();
        let report = summarise(&plan, &store).unwrap();
        assert_eq!((report.counts.done, report.counts.failed, report.counts.missing), (0, 1, 1));
        check::written(&plan, &store, "damaged")["report.html"].clone()
    };
    let broken = put(b"{ \"run_id\": 3 }");
    assert!(broken.contains("result.json: damaged"), "{broken}");
    let other = serde_json::to_vec(&common::result(&plan.runs[1])).unwrap();
    let misplaced = put(&other);
    let words = format!("this is the result of run {}", plan.runs[1].run_id);
    assert!(misplaced.contains(&words), "{misplaced}");
}

/// Names with special characters of HTML, Markdown, LaTeX, SVG, CSV and the shell.
#[test]
fn odd_names() {
    let odd = "<script>alert(1)</script>|_%&#${}\\^~\"'\u{1},`*\n$(x)";
    let mut cells = Vec::new();
    for schedule in [json!({ "static": {} }), json!(odd), json!({ "cosine": { "eta_min": 0.5 } })] {
        for monitor in [json!(null), json!(odd)] {
            for seed in 0..2 {
                cells.push(cell(&[
                    ("model", json!(odd)),
                    ("schedule", schedule.clone()),
                    ("monitor", monitor.clone()),
                    ("odd <axis> | &", json!([1, "x"])),
                    ("seed", json!(seed)),
                ]));
            }
        }
    }
    let mut plan = edge(cells);
    plan.experiment = odd.to_owned();
    plan.description = odd.to_owned();
    plan.claims = json!([{ "id": odd, "text": odd, "metric": "val_accuracy", "where": { "model": odd }, "value": 0.5, "tolerance": 0.5 }]);
    let (_folder, store) = common::store(&plan, |_, planned| {
        let mut it = common::result(planned);
        it.provenance.dataset = odd.to_owned();
        it.provenance.host = odd.to_owned();
        it.decisions.iter_mut().for_each(|d| d.reason = odd.to_owned());
        Some(it)
    });
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(report.arms.len(), 6);
    assert!(report.arms[0].fixed_rate && !report.arms[0].monitored && report.arms[1].monitored);
    let files = check::written(&plan, &store, "odd");
    for (name, text) in &files {
        assert!(!name.contains(['<', ' ', '$', ';']), "{name}");
        let raw = name.ends_with(".html") || name.ends_with(".svg") || name.ends_with(".md");
        assert!(!raw || !text.contains("<script>alert"), "{name}");
        assert!(!raw || !text.contains('\u{1}'), "{name}");
    }
    assert_eq!(report.arms[4].label("schedule"), "cosine(eta_min=0.5)");
}

/// Names that map to the same file name, exceed its maximum length, or equal the name of one of the paper's figures.
#[test]
fn figure_names_are_unique() {
    let long = "m".repeat(120);
    let models = [
        "net_1".to_owned(),
        "net-1".to_owned(),
        "Net 1".to_owned(),
        "figure-1".to_owned(),
        "сеть".to_owned(),
        "нейро".to_owned(),
        format!("{long}-a"),
        format!("{long}-b"),
        "plain".to_owned(),
    ];
    let cells = models
        .iter()
        .map(|model| cell(&[("model", json!(model)), ("schedule", json!("static")), ("seed", json!(0))]));
    let plan = edge(cells.collect());
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    let drawn = figures(&report);
    assert_eq!(drawn.iter().filter(|figure| figure.paper).count(), 3);
    let files = check::written(&plan, &store, "names");
    for model in &models {
        for figure in ["Training loss (running)", "Validation loss", "Validation accuracy", "Learning rate"] {
            // The page and the Markdown file refer to the file of the figure.
            let title = format!("{figure} by epoch: {model}");
            let titles = |text: &&String| text.contains(&format!("<title>{title}</title>"));
            let svg: Vec<_> =
                files.iter().filter(|(name, text)| name.ends_with(".svg") && titles(text)).collect();
            let [(name, _)] = svg[..] else { panic!("{title}: {svg:?}") };
            assert!(name.len() < 128, "{name}");
            let shown = title.replace('_', "\\_");
            assert!(files["report.md"].contains(&format!("![{shown}]({name})")), "{title}");
        }
    }
    assert!(files.contains_key("figures/plain-val-loss.svg"));
}

/// A step and a cut within epochs are drawn at their updates.
#[test]
fn learning_rates_are_drawn_by_update() {
    let mut plan = small(&["step"], 2);
    for run in &mut plan.runs {
        run.spec = json!({
            "seed": run.cell["seed"], "lr": 0.1, "lr_min": 0.03, "lr_max": 0.08, "epochs": 12,
            "schedule": { "multi_step": { "milestones": ["102 updates"], "gamma": 0.5 } },
        });
    }
    // 25 updates an epoch: the step is at 4.08 epochs; one run halves the rate once more after update 160, and both are
    // held by the bounds.
    let rate = |seed: usize, update: u64| {
        let gain = if seed == 1 && update >= 160 { 0.5 } else { 1.0 };
        (0.1_f64 * if update >= 102 { 0.5 } else { 1.0 } * gain).clamp(0.03, 0.08)
    };
    let with = |seed: usize, planned: &lrlab_runs::PlannedRun| {
        let mut it = common::result(planned);
        it.updates = Some(Updates { made: 300, per_epoch: 25 });
        it.history = (1..=12)
            .map(|epoch| EpochMetrics {
                epoch,
                lr_first: Some(rate(seed, (epoch - 1) * 25)),
                lr: Some(rate(seed, epoch * 25 - 1)),
                ..it.history[0].clone()
            })
            .collect();
        it.decisions = (seed == 1)
            .then(|| Decision {
                update: 160,
                epoch: 6,
                source: "plateau".to_owned(),
                kind: DecisionKind::Cut,
                lr_before: Some(0.05),
                lr_after: Some(0.03),
                gain: 0.5,
                metric: "val_loss".to_owned(),
                value: None,
                reason: "of a test".to_owned(),
            })
            .into_iter()
            .collect();
        it
    };
    let lines = |change: fn(&mut RunResult)| {
        let mut plan = plan.clone();
        let changed = |(i, planned)| {
            let mut it = with(i, planned);
            change(&mut it);
            it
        };
        let results: Vec<RunResult> = plan.runs.iter().enumerate().map(changed).collect();
        // The specification of a run is the plan's.
        for (planned, it) in plan.runs.iter_mut().zip(&results) {
            planned.spec = it.spec.clone();
        }
        let (_folder, store) = common::store(&plan, |i, _| Some(results[i].clone()));
        check::written(&plan, &store, "rate");
        let figure = figures(&summarise(&plan, &store).unwrap()).pop().unwrap();
        assert_eq!(figure.name, "m-learning-rate");
        figure.panels[0].lines.clone()
    };
    let exact = lines(|_| ());
    assert_eq!(exact.len(), 1);
    assert!(exact[0].joined);
    let corners = [(0.0, 0.08), (4.08, 0.08), (4.08, 0.05), (6.4, 0.05), (6.4, 0.04), (12.0, 0.04)];
    assert_eq!(exact[0].points.len(), corners.len(), "{:?}", exact[0].points);
    for (point, corner) in exact[0].points.iter().zip(corners) {
        assert!(
            (point.0 - corner.0).abs() < 1e-12 && (point.1 - corner.1).abs() < 1e-12,
            "{point:?} {corner:?}"
        );
    }
    // Rates that are not known at every update, or differ from the recorded ones, are drawn as unconnected points.
    for change in [
        (|it| it.updates = None) as fn(&mut RunResult),
        |it| it.spec["schedule"] = json!({ "unheard_of": {} }),
        |it| it.spec["lr"] = json!(0.07),
    ] {
        let known = lines(change);
        assert!(!known[0].joined && known[0].marks, "{known:?}");
        assert_eq!(known[0].points.len(), 24);
    }
    // A diverged run is drawn up to its last epoch.
    let died = lines(|it| {
        it.outcome = Outcome::Diverged;
        it.updates = Some(Updates { made: 110, per_epoch: 25 });
        it.history.truncate(4);
        it.decisions.clear();
    });
    assert!(died.iter().all(|line| line.diverged && line.joined && line.points.last() == Some(&(4.4, 0.05))));
}

/// Tables with quotes and letters of any script compile with the packages that their first line lists.
#[test]
fn latex_compiles() {
    let words = [
        "\"quoted\", (\"twice\") and 5\" wide",
        "Škoda, Łódź, gęślą, Ærø, ðþĐ, ĳ, naïve, İı",
        "«guillemets» „low“ ‘single’ — ¿qué? ¡sí! 10 °C, 3 µs, ½",
        "сеть нейро 学習率 مرحبا 🙂 e\u{301} \u{200b}",
        "αβγΔΩ ≥ ≤ ≠ ≈ ∞ ∑ ∇ → ⁷ ₂",
        "\\alpha $x$ {y} [z] a--b ''c'' `d` ,, <<e>> ~^_#%&|",
    ];
    let cells = words.iter().flat_map(|model| {
        ["static", "cosine"].map(|schedule| {
            cell(&[("model", json!(model)), ("schedule", json!(schedule)), ("seed", json!(0))])
        })
    });
    let mut plan = edge(cells.collect());
    plan.claims = words
        .iter()
        .map(|text| json!({ "id": text, "text": text, "metric": "val_accuracy", "value": 0.5, "tolerance": 0.5 }))
        .collect();
    let (_folder, store) = common::full(&plan);
    let files = check::written(&plan, &store, "latex");
    let folder = tempfile::tempdir().unwrap();
    let mut engines = 0;
    for engine in ["pdflatex", "lualatex", "xelatex"] {
        if std::process::Command::new(engine).arg("--version").output().is_err() {
            continue;
        }
        engines += 1;
        let known = std::process::Command::new("kpsewhich").arg("pgfplots.sty").output();
        let pgfplots = known.is_ok_and(|found| found.status.success());
        if !pgfplots {
            eprintln!("skipped figures: pgfplots is not installed");
        }
        // Figures take seconds each, so only two are compiled.
        let wanted = |name: &str| {
            let drawn = pgfplots && (name == "figures/answer.tex" || name.ends_with("val-loss.tex"));
            name.starts_with("tables/") || drawn
        };
        for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".tex") && wanted(name)) {
            let needs = text.lines().next().unwrap().split_once("needs ").unwrap().1;
            let document = format!(
                "\\documentclass{{article}}\n{needs}\n\\begin{{document}}\n\\listoftables\n{text}\\end{{document}}\n"
            );
            std::fs::write(folder.path().join("t.tex"), document).unwrap();
            // The second pass reads the captions from the list of tables.
            for _ in 0..2 {
                let ran = std::process::Command::new(engine)
                    .args(["-halt-on-error", "-interaction=nonstopmode", "t.tex"])
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                let log = String::from_utf8_lossy(&ran.stdout);
                let error = log.split_once("\n!").map_or("", |(_, error)| error);
                assert!(ran.status.success(), "{engine}, {name}: {error}");
            }
            for kind in ["aux", "lot"] {
                std::fs::remove_file(folder.path().join(format!("t.{kind}"))).unwrap();
            }
        }
    }
    if engines == 0 {
        eprintln!("skipped: LaTeX is not installed (pdflatex, lualatex, xelatex)");
    }
}

/// Numbers in CSV files are unrounded, one per column.
#[test]
fn csv_holds_numbers() {
    let mut plan = small(&["static", "cosine"], 3);
    plan.claims = json!([
        { "id": "within", "text": "t", "metric": "val_accuracy", "value": 0.75, "tolerance": 0.01 },
        { "id": "than", "text": "t", "metric": "val_accuracy", "where": { "schedule": "cosine" },
          "than": { "schedule": "static" }, "value": 0.02, "compare": "at_least" },
    ]);
    let (_folder, store) = common::store(&plan, |i, planned| match i {
        2 => Some(common::died(planned)),
        3 => None,
        _ => Some(RunResult {
            timing: lrlab_runs::Timing {
                train_s: 10.0 + i as f64 / 3.0,
                input_share: Some(0.012_345),
                updates_executed: 79,
                ..lrlab_runs::Timing::default()
            },
            decisions: vec![lrlab_runs::Decision {
                update: 79,
                epoch: 1 + i as u64 % 2,
                source: "plateau".to_owned(),
                kind: lrlab_runs::DecisionKind::Cut,
                lr_before: Some(0.1 / 3.0),
                lr_after: None,
                gain: 0.5,
                metric: "val_loss".to_owned(),
                value: None,
                reason: "of a test".to_owned(),
            }],
            ..with_accuracy(planned, 0.7 + 0.01 * i as f64)
        }),
    });
    let files = check::written(&plan, &store, "csv");
    let table = |name: &str| check::records(&files[&format!("tables/{name}.csv")]);
    let get = |name: &str, row: usize, column: &str| -> String {
        let table = table(name);
        let at =
            table[0].iter().position(|c| c == column).unwrap_or_else(|| panic!("{column} in {:?}", table[0]));
        table[row][at].clone()
    };
    let check = |name: &str, row: usize, expected: &[(&str, &str)]| {
        for (column, value) in expected {
            assert_eq!(get(name, row, column), *value, "{name}, row {row}, {column}");
        }
    };
    check("results", 1, &[("runs", "3"), ("runs_planned", "3"), ("runs_diverged", "1")]);
    check("results", 2, &[("runs", "2"), ("runs_planned", "3"), ("runs_diverged", "0")]);
    check(
        "cost",
        1,
        &[
            ("runs", "3"),
            ("runs_planned", "3"),
            ("updates_mean", "79"),
            ("updates_std", "0"),
            ("updates_n", "2"),
            ("input_share_mean", "0.012345"),
            ("eval_s_mean", "0"),
        ],
    );
    let mean: f64 = get("cost", 1, "train_s_mean").parse().unwrap();
    assert!((mean - (10.0 + 0.5 / 3.0)).abs() < 1e-12);
    check(
        "comparisons",
        4,
        &[
            ("pairs", "1"),
            ("pairs_planned", "3"),
            ("positive", "1"),
            ("zero", "0"),
            ("negative", "0"),
            ("t_low", ""),
        ],
    );
    check("decisions", 1, &[("runs", "2"), ("runs_of", "2"), ("after_epochs", "1 2"), ("per_run", "1")]);
    check("decision-log", 1, &[("lr_before", "0.03333333333333333"), ("lr_after", "")]);
    check(
        "claims",
        1,
        &[
            ("claimed_compare", "within"),
            ("claimed_value", "0.75"),
            ("claimed_tolerance", "0.01"),
            ("claimed_than", ""),
        ],
    );
    check(
        "claims",
        3,
        &[
            ("claimed_compare", ">="),
            ("claimed_value", "0.02"),
            ("claimed_tolerance", ""),
            ("claimed_than", "schedule = static"),
        ],
    );
}

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
