//! `lrlab lr-find` as a user calls it.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]

use std::path::Path;

use lrlab_tests::{Ran, quickstart, results, run};
use serde_json::Value;

const ARGS: [&str; 4] = ["lr-find", "experiments/quickstart.toml", "--device", "cpu"];

/// The first number after `words`.
fn number(ran: &Ran, words: &str) -> f64 {
    let line = ran.out.lines().find_map(|line| line.split_once(words)).map(|(_, rest)| rest);
    line.and_then(|rest| rest.split([' ', ':']).next()?.parse().ok())
        .unwrap_or_else(|| panic!("{words}: {}", ran.out))
}

/// The mean test accuracy of the network's runs with a constant rate: `lr`, or that of the file.
fn accuracy(folder: &Path, model: &str, lr: Option<f64>) -> f64 {
    let out = if lr.is_some() { "suggested" } else { "runs" };
    let model_is = format!("model={model}");
    let set = format!("models.{model}.set.lr={}", lr.unwrap_or_default());
    let mut args = vec!["run", "--device", "cpu", "--out", out, "--filter", &model_is];
    args.extend(["--filter", "schedule=static", "--filter", "monitor=off"]);
    if lr.is_some() {
        args.extend(["--set", &set]);
    }
    let ran = run(folder, &args);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let results = results(&folder.join(out));
    let seen = results.values().filter(|result| result["cell"]["model"] == *model);
    let accuracies: Vec<f64> = seen.map(|result| result["best"]["test_accuracy"].as_f64().unwrap()).collect();
    assert_eq!(accuracies.len(), 2, "{model}: one for each seed");
    accuracies.iter().sum::<f64>() / 2.0
}

/// With the rate that the README's command suggests, the accuracy is at least half as far above chance as with the
/// file's rate.
#[test]
fn a_run_at_the_suggested_rate_learns() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    for (model, chance) in [("resnet", 0.25), ("lstm", 0.5), ("transformer", 0.5)] {
        let ran = run(folder.path(), &[&ARGS[..2], &["--filter", &format!("model={model}")]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let (lr, lowest) = (number(&ran, "suggested lr: "), number(&ran, " at lr "));
        assert!(lr > 1e-7 && lr <= lowest / 3.99, "{model}: {lr} of {lowest}");
        let (own, found) = (accuracy(folder.path(), model, None), accuracy(folder.path(), model, Some(lr)));
        assert!(own > chance + 0.15, "{model} learns at the file's own rate: {own}");
        assert!(found - chance >= 0.5 * (own - chance), "{model} at {lr}: {found}, at the file's rate {own}");
    }
}

#[test]
fn the_plot_shows_the_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let more = ["--filter", "model=resnet", "--plot", "sweep.svg", "--updates", "200"];
    let ran = run(folder.path(), &[&ARGS[..], &more].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("200 rates from 1e-7 to 1e1"), "{}", ran.err);
    assert!(ran.out.lines().count() > 12 && ran.out.contains("logarithmic"), "{}", ran.out);
    assert!(number(&ran, "suggested lr: ") > 1e-4, "{}", ran.out);
    let picture = std::fs::read_to_string(folder.path().join("sweep.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("stroke-dasharray"), "the suggestion is marked");
    // No run is made: there are neither plans nor results.
    assert!(!folder.path().join("runs/store").exists());
}

/// Without a suggestion, the output gives a reason and the plot has no mark.
#[test]
fn missing_suggestions_have_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    for (model, more, words) in [
        ("lstm", &["--max-lr", "1e-5", "--updates", "60"][..], "within its noise"),
        ("resnet", &["--updates", "5"], "the number of finite losses is 5, expected at least 10"),
        (
            "transformer",
            &["--min-lr", "1", "--max-lr", "1e4", "--divergence", "1e9", "--updates", "50"],
            "try more updates or a wider range of rates",
        ),
    ] {
        let select = ["--filter", &format!("model={model}"), "--plot", "sweep.svg"];
        let ran = run(folder.path(), &[&ARGS[..], &select, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("no suggestion: ") && ran.out.contains(words), "{model}: {}", ran.out);
        assert!(!ran.out.contains("suggested lr"), "{}", ran.out);
        let picture = std::fs::read_to_string(folder.path().join("sweep.svg")).unwrap();
        assert!(
            picture.starts_with("<svg") && !picture.contains("stroke-dasharray"),
            "{model}: nothing to mark"
        );
    }
}

/// JSON output: the tested rates, and the suggestion or the reason why there is none.
#[test]
fn json_output_has_the_curve_and_the_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let call = |more: &[&str]| run(folder.path(), &[&ARGS[..], more].concat());
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(Value::as_f64).collect::<Vec<_>>();
    let ran = call(&["--filter", "model=resnet", "--updates", "200", "--json", "found.json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let found: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("found.json")).unwrap()).unwrap();
    assert_eq!((&found["cell"]["model"], &found["reason"]), (&"resnet".into(), &Value::Null));
    let lr = found["suggestion"]["lr"].as_f64().unwrap();
    assert!((lr / number(&ran, "suggested lr: ") - 1.0).abs() < 1e-3, "{lr}: {}", ran.out);
    let lowest = found["suggestion"]["lowest_lr"].as_f64().unwrap();
    assert!((lowest / number(&ran, " at lr ") - 1.0).abs() < 1e-3, "{lowest}: {}", ran.out);
    let [rates, losses, smoothed] = ["rates", "losses", "smoothed"].map(|key| numbers(&found[key]));
    assert!(rates.len() > 10 && rates.len() == losses.len() && rates.len() == smoothed.len());
    assert!((rates[0].unwrap() / 1e-7 - 1.0).abs() < 1e-9 && rates.is_sorted(), "{rates:?}");
    // The bias-corrected moving average of the losses.
    let mut average = 0.0;
    for (i, (loss, smoothed)) in losses.iter().zip(&smoothed).enumerate() {
        average = 0.9 * average + 0.1 * loss.unwrap();
        let expected = average / (1.0 - 0.9_f64.powi(i as i32 + 1));
        assert!((smoothed.unwrap() / expected - 1.0).abs() < 1e-9, "{i}: {smoothed:?} {expected}");
    }
    // With JSON on standard output, nothing else is printed there.
    let ran = call(&["--filter", "model=resnet", "--updates", "5", "--json", "-"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, numbers(&found["rates"]).len()), (0, 5), "{}", ran.err);
    let reason = found["reason"].as_str().unwrap_or_default();
    assert!(
        found["suggestion"].is_null() && reason.starts_with("the number of finite losses is 5"),
        "{found:#}"
    );
}

/// The test varies the rate of the updates; for an optimizer that scales the rate, the output has the value for the file.
#[test]
fn names_the_rate_to_write_under_a_scale() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"scaled\"\n[axes]\nmodel = [\"linear\"]\nschedule = [\"static\"]\n\
        optimizer = [\"plain\", \"tenth\"]\nseed = [4]\n[defaults]\nlr = 0.2\nepochs = 1\nbatch_size = 16\n\
        [models.linear]\nnetwork = { linear = {} }\ndata = \"p\"\n[data.p]\n\
        source = { synthetic_pictures = { train = 200, test = 40, size = 8 } }\n[schedules.static]\nstatic = {}\n\
        [optimizers]\nplain.sgd = {}\ntenth = { sgd = {}, lr_scale = 0.125 }\n";
    std::fs::write(folder.path().join("scaled.toml"), text).unwrap();
    let find = |filter: &[&str]| {
        let args = ["lr-find", "scaled.toml", "--device", "cpu", "--updates", "200", "--json", "found.json"];
        let ran = run(folder.path(), &[&args[..], filter].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let json = std::fs::read(folder.path().join("found.json")).unwrap();
        (ran, serde_json::from_slice::<Value>(&json).unwrap())
    };
    let (plain, json) = find(&["--filter", "optimizer=plain"]);
    assert!(!plain.out.contains("lr_scale") && json["lr_scale"] == serde_json::json!({}), "{}", plain.out);
    let suggested = number(&plain, "suggested lr: ");
    for filter in [&["--filter", "optimizer=tenth"][..], &[]] {
        let (ran, json) = find(filter);
        assert_eq!(json["lr_scale"], serde_json::json!({ "tenth": 0.125 }));
        assert_eq!(number(&ran, "suggested lr: "), suggested);
        let written = number(&ran, "for optimizer tenth, write lr = ");
        assert!((written * 0.125 / suggested - 1.0).abs() < 1e-2, "{}", ran.out);
    }
}

#[test]
fn one_network_must_be_selected() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    let ran = run(folder.path(), &ARGS);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("select one with --filter") && ran.err.contains("resnet"), "{}", ran.err);
}

/// Options out of their range are rejected with their value.
#[test]
fn options_out_of_range_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    quickstart(folder.path());
    for (options, words) in [
        (
            ["--min-lr", "1", "--max-lr", "0.1"],
            "0 < --min-lr < --max-lr, both finite, found --min-lr = 1e0 and --max-lr = 1e-1",
        ),
        (["--min-lr", "0", "--max-lr", "1"], "found --min-lr = 0e0 and --max-lr = 1e0"),
        (
            ["--min-lr", "0.1", "--max-lr", "1e308"],
            "from 1e-30 to 1e30, found --min-lr = 1e-1 and --max-lr = 1e308",
        ),
        (["--updates", "1", "--smoothing", "0.5"], "--updates above 1, found 1"),
        (["--updates", "40", "--smoothing", "1"], "--smoothing from 0 to below 1, found 1"),
        (["--updates", "40", "--divergence", "NaN"], "--divergence above 1, found NaN"),
    ] {
        let ran = run(folder.path(), &[&ARGS[..], &["--filter", "model=resnet"], &options].concat());
        assert_eq!(ran.code, 2, "{options:?}: {}", ran.out);
        assert!(ran.err.contains(words), "{options:?}: {}", ran.err);
        assert!(!ran.err.contains('{') && !ran.err.contains("RangeTest"), "{}", ran.err);
    }
}

/// Outputs are checked before the sweep, and no other file is overwritten.
#[test]
fn outputs_are_checked_before_the_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "mine").unwrap();
    std::fs::create_dir(folder.path().join("taken.json")).unwrap();
    for (args, expected) in [
        (["--json", "mine.toml"], "expected a name that ends in .json, such as mine.json, or -"),
        (["--json", "taken.json"], "taken.json: is a folder, expected a file"),
        (["--json", "mine.toml/found.json"], "mine.toml/found.json cannot be written"),
        (["--plot", "mine.toml/new/found.svg"], "mine.toml/new/found.svg cannot be written"),
    ] {
        let all = [&["lr-find", "--filter", "model=resnet", "--updates", "5"][..], &args].concat();
        let ran = run(folder.path(), &all);
        assert!(ran.code == 2 && ran.err.contains(expected), "{args:?}: {}", ran.err);
        assert!(!ran.err.contains("5 rates"), "the sweep started: {}", ran.err);
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
