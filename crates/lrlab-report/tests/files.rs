//! The files of a report: their names, figures by update, LaTeX and CSV.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

mod common;

use std::sync::Arc;

use common::{cell, check, edge, small, with_accuracy};
use lrlab_report::{figures, summarise};
use lrlab_runs::{Decision, DecisionKind, EpochMetrics, Outcome, RunResult, Updates};
use serde_json::json;

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
        })
        .into();
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
        |it| Arc::make_mut(&mut it.spec)["schedule"] = json!({ "unheard_of": {} }),
        |it| Arc::make_mut(&mut it.spec)["lr"] = json!(0.07),
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
