//! The files of a report of synthetic results: complete, valid, deterministic and legible.
//!
//! `LRLAB_REPORT_KEEP=DIR cargo test -p lrlab-report` keeps the reports in DIR for inspection in a browser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "the report's own files")]

mod common;

use common::check;
use lrlab_report::{summarise, write};

#[test]
fn whole_grid() {
    let mut plan = common::plan(&common::quickstart());
    plan.call = Some(lrlab_runs::Call {
        program: ["cargo", "xtask", "run-grid"].map(str::to_owned).to_vec(),
        experiment: "experiments/invented.toml".to_owned(),
        folder: "/home/someone".to_owned(),
        set: Vec::new(),
    });
    plan.claims = common::claims();
    let (_folder, store) = common::full(&plan);
    let files = check::written(&plan, &store, "whole");
    for name in [
        "tables/results.csv",
        "tables/results.tex",
        "tables/claims.csv",
        "tables/differences.tex",
        "tables/comparisons.csv",
        "tables/decisions.csv",
        "tables/cost.csv",
        "tables/runs.csv",
        "tables/curves.csv",
        "figures/figure-1-loss.svg",
        "figures/figure-2-training-accuracy.svg",
        "figures/figure-3-validation-accuracy.svg",
        "figures/resnet-synthetic-pictures-val-loss.svg",
        "figures/lstm-synthetic-reviews-val-f1.svg",
        "figures/transformer-synthetic-reviews-learning-rate.svg",
    ] {
        assert!(files.contains_key(name), "{name}");
    }
    for (name, svg) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
        let tex = &files[&name.replace(".svg", ".tex")];
        assert!(tex.contains("\\nextgroupplot") && tex.contains("\\addplot"), "{name}: {tex} beside {svg}");
    }
    assert!(files["figures/answer.tex"].contains("{\\textbf{schedule against static}}"));
    let html = &files["report.html"];
    assert!(html.contains("48 of 48 runs done"));
    assert!(html.contains("With n = 2 seeds no difference can be significant"));
    assert!(html.contains("an invented note: the pictures are JPEG copies"));
    // The forest plot is drawn for a page and for a phone; each panel of every other figure is a separate drawing.
    let panels: usize =
        lrlab_report::figures(&summarise(&plan, &store).unwrap()).iter().map(|it| it.panels.len()).sum();
    assert_eq!(html.matches("<svg").count(), 2 + panels);
    for run in &plan.runs {
        let id = run.run_id.as_str();
        assert!(
            html.contains(&format!("id=\"run-{}\"", &id[..8]))
                && html.contains(&format!("<code>{id}</code>"))
        );
    }
    let plain = html.replace("&#x2f;", "/");
    let command = "cargo xtask run-grid experiments/invented.toml --run RUN_ID --out repeated";
    assert!(plain.contains(&format!("<pre id=\"command-0\"><code>{command}</code></pre>")), "{command}");
    assert!(plain.contains("in the folder <code>/home/someone</code>"));
    // The page omits the constant column of the budget; CSV files have it.
    assert!(!html.contains("<button type=\"button\">epochs</button>"));
    assert!(files["tables/results.csv"].starts_with(
        "model,dataset,epochs,schedule,monitor,runs,runs_planned,runs_diverged,best_test_accuracy_mean"
    ));
    let curves = &files["tables/curves.csv"];
    assert_eq!(curves.lines().count(), 1 + 48 * 10);
    assert!(curves.starts_with(
        "model,dataset,epochs,schedule,monitor,seed,run_id,state,epoch,lr_first,lr_last,train_loss,"
    ));
}

/// A panel has at most four lines, and text is at least 9 pixels high on a page as wide as a phone.
#[test]
fn figures_are_legible() {
    let plan = common::plan(&common::Grid {
        schedules: vec!["static", "step", "exponential", "cosine", "linear", "one_cycle", "warm_restarts"],
        ..common::quickstart()
    });
    let (_folder, store) = common::full(&plan);
    let report = summarise(&plan, &store).unwrap();
    let drawn = lrlab_report::figures(&report);
    let losses = drawn.iter().find(|figure| figure.name == "resnet-synthetic-pictures-val-loss").unwrap();
    // The fixed rate with three other schedules per panel, without and with the monitor.
    assert_eq!(losses.panels.len(), 4);
    for panel in &losses.panels {
        let names: Vec<&str> = panel.lines.iter().map(|line| line.label.as_str()).collect();
        assert!(names.len() == 4 && names[0] == "static", "{names:?}");
    }
    let html = &check::written(&plan, &store, "legible")["report.html"];
    let (wide, rest) = html.split_once("<div class=\"narrow\">").unwrap();
    assert_eq!(wide.matches("<svg").count(), 1);
    for svg in rest.split("<svg").skip(1) {
        let svg = svg.split("</svg>").next().unwrap();
        let number = |text: &str| text.split('"').next().unwrap().parse::<f64>().unwrap();
        let width = number(svg.split(" width=\"").nth(1).unwrap());
        let scale = (358.0 / width).min(1.0);
        for size in svg.split("font-size=\"").skip(1).map(number) {
            assert!(size * scale >= 9.0, "{size} in a width of {width}");
        }
    }
}

/// The paper's grid: several budgets, six seeds, tables longer than a page.
#[test]
fn paper_grid() {
    let mut plan = common::plan(&common::paper());
    plan.claims = common::claims();
    let (_folder, store) = common::full(&plan);
    let files = check::written(&plan, &store, "paper");
    let size = files["report.html"].len();
    assert!(size < 1_500_000, "a page of {size} bytes");
    let document = &files["report.md"];
    for (name, title) in [("10", "Figure 1a. "), ("20", "Figure 1b. ")] {
        assert!(files.contains_key(&format!("figures/figure-1-loss-{name}-epochs.svg")));
        assert!(document.contains(title), "{title}");
    }
    assert!(!files.contains_key("tables/runs.tex"), "288 rows do not fit a float");
    assert!(files["tables/results.tex"].contains("\\resizebox"));
    let svg = &files["figures/lstm-imdb-val-accuracy.svg"];
    assert!(svg.contains("lstm, imdb, 10 epochs") && svg.contains("lstm, imdb, 20 epochs"));
    let curves = curves(&files["report.html"]);
    let names: Vec<&str> =
        curves["panels"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "resnet20, cifar10, 10 epochs");
    assert_eq!((names.len(), names[6]), (7, "all arms"));
    assert_eq!(curves["panels"][0]["arms"][1]["name"], "static, monitor");
    let first: Vec<bool> = curves["panels"][0]["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["first"].as_bool().unwrap())
        .collect();
    assert_eq!(first, [true, false, true, false, true, false, true, false], "four arms, none with a monitor");
    // All runs have their metrics: losses with six digits, fractions in millionths.
    let metrics: Vec<&serde_json::Value> =
        curves["metrics"].as_array().unwrap().iter().filter(|metric| metric["key"] != "lr").collect();
    let listed = |run: &serde_json::Value, key: &str| -> Vec<f64> {
        let place = metrics.iter().position(|metric| metric["key"] == key).unwrap();
        let unit = metrics[place]["unit"].as_f64().unwrap();
        run["values"][place].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() * unit).collect()
    };
    let runs: Vec<&serde_json::Value> =
        curves["arms"].as_array().unwrap().iter().flat_map(|arm| arm.as_array().unwrap()).collect();
    assert_eq!(runs.len(), plan.runs.len());
    for run in runs {
        let planned = plan.runs.iter().find(|planned| run["id"] == planned.run_id.as_str()[..8]).unwrap();
        let result = common::result(planned);
        let (losses, accuracies) = (listed(run, "val_loss"), listed(run, "val_accuracy"));
        assert_eq!((losses.len(), accuracies.len()), (result.history.len(), result.history.len()));
        for ((epoch, loss), accuracy) in result.history.iter().zip(losses).zip(accuracies) {
            let exact = epoch.val_loss.unwrap();
            assert!((exact - loss).abs() <= 5e-6 * exact.abs(), "{exact} {loss}");
            assert!((epoch.val_accuracy.unwrap() - accuracy).abs() <= 5.1e-7, "{accuracy}");
        }
    }
}

/// The data of the page's curves: less than 1.5 kB per run of 20 epochs.
fn curves(html: &str) -> serde_json::Value {
    let text = html.split("id=\"curves-data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let curves: serde_json::Value = serde_json::from_str(text).unwrap();
    let runs: usize =
        curves["arms"].as_array().unwrap().iter().map(|arm| arm.as_array().unwrap().len()).sum();
    assert!(text.len() < 1500 * runs, "{} bytes for {runs} runs", text.len());
    curves
}

/// Own metrics and constants that follow a schedule have curves like the built-in metrics, in the file and on the page; runs
/// without them have none.
#[test]
fn own_metrics_and_scheduled_constants() {
    let plan = common::plan(&common::quickstart());
    let (_folder, store) = common::store(&plan, |i, planned| {
        let mut result = common::result(planned);
        for epoch in result.history.iter_mut().filter(|_| i % 3 == 0) {
            let t = epoch.epoch as f64;
            epoch.extra.insert("top5".to_owned(), 1.0 - 0.125 / t);
            epoch.extra.insert("a&b <c>".to_owned(), -3.5 * t);
            // The name of a metric that is not measured by epoch.
            epoch.extra.insert("test_accuracy".to_owned(), 0.8125);
            epoch.hyperparameters.insert("weight_decay".to_owned(), 5e-4 / t);
        }
        Some(result)
    });
    let files = check::written(&plan, &store, "own");
    let mut lines = files["tables/curves.csv"].lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    assert!(
        header.ends_with(&["grad_norm", "a&b <c>", "test_accuracy", "top5", "weight_decay"]),
        "{header:?}"
    );
    let at = |name: &str| header.iter().position(|other| *other == name).unwrap();
    let (id, epoch, top5, decay) = (at("run_id"), at("epoch"), at("top5"), at("weight_decay"));
    for line in lines {
        let i = plan.runs.iter().position(|run| run.run_id.as_str() == line[id]).unwrap();
        let t: f64 = line[epoch].parse().unwrap();
        let expected = if i % 3 == 0 {
            [(1.0 - 0.125 / t).to_string(), (5e-4 / t).to_string()]
        } else {
            Default::default()
        };
        assert_eq!([line[top5], line[decay]], expected);
    }
    let curves = curves(&files["report.html"]);
    let metrics: Vec<&str> =
        curves["metrics"].as_array().unwrap().iter().map(|metric| metric["key"].as_str().unwrap()).collect();
    assert!(metrics.ends_with(&["a&b <c>", "test_accuracy", "top5", "weight_decay"]), "{metrics:?}");
    assert!(curves["metrics"].as_array().unwrap().last().unwrap()["digits"].is_null());
    let drawn = |key: &str| -> Vec<f64> {
        let place = metrics.iter().filter(|key| **key != "lr").position(|other| *other == key).unwrap();
        let runs = curves["arms"].as_array().unwrap().iter().flat_map(|arm| arm.as_array().unwrap());
        let drawn = runs.filter(|run| !run["values"][place].as_array().unwrap().is_empty());
        drawn.map(|run| run["values"][place][3].as_f64().unwrap()).collect()
    };
    assert_eq!(drawn("weight_decay"), vec![1.25e-4; plan.runs.len().div_ceil(3)]);
    assert_eq!(drawn("test_accuracy"), vec![0.8125; plan.runs.len().div_ceil(3)]);
}

/// A grid with missing runs and a diverged run.
#[test]
fn incomplete_grid() {
    let mut plan = common::plan(&common::quickstart());
    plan.claims = common::claims();
    let (_folder, store) = common::store(&plan, |i, planned| match i {
        3 | 20 | 21 => None,
        6 => Some(common::diverged(planned, 4)),
        _ => Some(common::result(planned)),
    });
    let files = check::written(&plan, &store, "torn");
    let results = &files["report.md"];
    assert!(results.contains("45 of 48 runs done, 1 diverged; 3 missing"));
    assert!(results.contains("(1/2)") && results.contains("– (0/2)") && results.contains("2/2, 1 diverged"));
    assert!(!results.contains("(1/2)**"), "an incomplete cell is never the best");
    let html = &files["report.html"];
    assert!(html.contains("does not contain its command line") && !html.contains("<pre id=\"command"));
    let svg = &files["figures/resnet-synthetic-pictures-val-loss.svg"];
    assert!(svg.contains("l7 7m0-7l-7 7"), "the diverged run ends in a cross");
    assert!(svg.contains("1 diverged (thin lines ending in ×, excluded from means)"));
    assert!(svg.contains("1 of 16 runs missing"));
}

#[test]
fn one_epoch() {
    let grid = common::Grid { epochs: vec![1, 2], seeds: 1, ..common::quickstart() };
    let plan = common::plan(&grid);
    let (_folder, store) = common::full(&plan);
    check::written(&plan, &store, "short");
}

/// Equal inputs give equal bytes, also in another folder and when an earlier report is replaced.
#[test]
fn deterministic() {
    let mut plan = common::plan(&common::quickstart());
    plan.claims = common::claims();
    let (_one, first) = common::full(&plan);
    let (_two, second) = common::full(&plan);
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&summarise(&plan, &first).unwrap(), &[], a.path()).unwrap();
    write(&summarise(&plan, &first).unwrap(), &[], b.path()).unwrap();
    write(&summarise(&plan, &second).unwrap(), &[], b.path()).unwrap();
    assert_eq!(check::files(a.path()), check::files(b.path()));
}

/// The runs of every number in the manifest have digests of existing results.
#[test]
fn manifest_refers_to_results() {
    let plan = common::plan(&common::quickstart());
    let (_folder, store) = common::full(&plan);
    let files = check::written(&plan, &store, "manifest");
    let json: serde_json::Value = serde_json::from_str(&files["manifest.json"]).unwrap();
    for (run, planned) in json["runs"].as_array().unwrap().iter().zip(&plan.runs) {
        let bytes = std::fs::read(store.run_dir(&planned.run_id).join("result.json")).unwrap();
        assert_eq!(run["run_id"], planned.run_id.as_str());
        assert_eq!(run["result_blake3"], blake3::hash(&bytes).to_hex().as_str());
    }
    let first =
        json["numbers"].as_array().unwrap().iter().find(|n| n["column"] == "best_test_accuracy").unwrap();
    assert_eq!(first["table"], "tables/results.csv");
    let runs = &json["run_sets"][first["run_set"].as_u64().unwrap() as usize];
    assert_eq!(*runs, serde_json::json!([plan.runs[0].run_id, plan.runs[1].run_id]));
    let mean =
        plan.runs[..2].iter().map(|p| common::result(p).best.test_accuracy.unwrap()).sum::<f64>() / 2.0;
    assert!((first["value"].as_f64().unwrap() - mean).abs() < 1e-15);
}
