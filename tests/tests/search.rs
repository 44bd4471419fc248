//! A search from end to end: rungs, promoted and pruned runs, repeatability, and interruptions.

use std::collections::BTreeMap;
use std::path::Path;

use lrlab_tests::{Ran, accounts_add_up, run, runner};
use serde_json::Value;

/// One of nine rates is far better than the others: a linear model learns nothing at tiny ones.
const EXPERIMENT: &str = r#"name = "found"
[axes]
model = ["linear"]
schedule = ["static", "cosine"]
seed = [0, 1]
[defaults]
epochs = 9
batch_size = 32
optimizer = { sgd = { momentum = 0.0 } }
[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 160, test = 40, size = 8 } }
[schedules]
static = { static = {} }
cosine = { cosine = {} }
[search]
method = METHOD
metric = "val_loss"
space.lr = { log = { min = 1e-6, max = 1e-1, points = 9 } }
"#;

const HALVING: &str = r#"{ halving = { rungs = ["1 epoch", "3 epochs"], eta = 3 } }"#;

fn arguments(folder: &Path, method: &str) -> Vec<String> {
    std::fs::write(folder.join("found.toml"), EXPERIMENT.replace("METHOD", method)).unwrap();
    ["run", "found.toml", "--device", "cpu", "--threads", "1"].map(str::to_owned).to_vec()
}

fn search(folder: &Path, method: &str, jobs: &str) -> Ran {
    let mut args = arguments(folder, method);
    args.extend(["--jobs".to_owned(), jobs.to_owned()]);
    run(folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Every result by run id, without its clocks.
fn results(folder: &Path) -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(folder.join("runs/store")).unwrap().map(Result::unwrap);
    let result = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("result.json")).ok()?;
        let mut result: Value = serde_json::from_str(&text).unwrap();
        result.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "timing" | "provenance"));
        Some((entry.file_name().to_string_lossy().into_owned(), result))
    };
    entries.filter_map(result).collect()
}

fn table(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join("runs/found/report/tables").join(format!("{name}.csv"))).unwrap()
}

fn epochs(results: &BTreeMap<String, Value>) -> usize {
    let first_seed = results.values().filter(|result| result["cell"]["seed"] == 0);
    first_seed.map(|result| result["history"].as_array().unwrap().len()).sum()
}

#[test]
fn halving_finds_the_winners_of_the_grid_repeatably() {
    let (halved, again, whole) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, method, jobs) in
        [(&halved, HALVING, "1"), (&again, HALVING, "2"), (&whole, "{ grid = {} }", "2")]
    {
        let ran = search(folder.path(), method, jobs);
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        assert!(ran.out.contains("20 of 20 runs are done (20 in this call)"), "{}", ran.out);
    }
    let (first, second, grid) = (results(halved.path()), results(again.path()), results(whole.path()));
    assert_eq!(first, second, "the order in which runs end does not matter");
    for name in ["search", "trials"] {
        assert_eq!(table(halved.path(), name), table(again.path(), name), "{name}");
    }

    // In each of two arms, 9 trials run for one epoch, 3 for three and 1 for nine.
    assert_eq!(first.values().filter(|result| result["outcome"] == "pruned").count(), 2 * 8);
    assert_eq!(epochs(&first), 2 * (6 + 2 * 3 + 9));
    assert_eq!(epochs(&grid), 2 * 9 * 9);
    for (id, result) in &first {
        if result["outcome"] == "pruned" {
            assert!(
                result["final"]["test_accuracy"].is_null() && result["best"]["test_loss"].is_null(),
                "{result}"
            );
            let trained = result["history"].as_array().unwrap();
            let full = grid[id]["history"].as_array().unwrap();
            assert_eq!(trained[..], full[..trained.len()], "a trial is the first part of the whole run");
        } else {
            assert_eq!(Some(result), grid.get(id).or(Some(result)), "a promoted trial is the same run");
            assert!(result["final"]["test_accuracy"].is_f64());
        }
    }
    // The best of the whole grid, by the same rule.
    for schedule in ["static", "cosine"] {
        let trials = grid.values().filter(|r| r["cell"]["schedule"] == schedule && r["cell"]["seed"] == 0);
        let loss = |r: &Value| {
            let losses =
                r["history"].as_array().unwrap().iter().filter_map(|epoch| epoch["val_loss"].as_f64());
            losses.fold(f64::INFINITY, f64::min)
        };
        let best = trials.min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
        let found: Vec<&Value> = first
            .values()
            .filter(|r| r["outcome"] == "completed" && r["cell"]["schedule"] == schedule)
            .map(|r| &r["cell"]["lr"])
            .collect();
        assert_eq!(found, [&best["cell"]["lr"]; 2], "the winner, with both seeds");
    }
    let trials = table(halved.path(), "trials");
    assert_eq!(trials.lines().count(), 1 + 2 * 9);
    assert_eq!(trials.matches(",1,pruned,").count(), 2 * 6, "{trials}");
    assert_eq!(trials.matches(",3,pruned,").count(), 2 * 2, "{trials}");
    assert_eq!(trials.matches("won").count(), 2, "{trials}");

    // A later call has nothing to do, and a search that keeps more trials continues pruned ones.
    let more = r#"{ halving = { rungs = ["1 epoch", "3 epochs"], eta = 2 } }"#;
    let ran = search(halved.path(), more, "2");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    for (id, result) in &results(halved.path()) {
        if result["outcome"] == "completed" && result["cell"]["seed"] == 0 {
            assert_eq!(Some(result), grid.get(id));
        }
    }
}

/// The only checkpoint of a trial is the one at its pause: the trial continues there, and no update is repeated.
#[test]
fn paused_trials_continue_from_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = arguments(folder.path(), HALVING);
    args.extend(["--checkpoint-every", "never", "--jobs", "2"].map(str::to_owned));
    let ran = run(folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let mut whole = lrlab_tests::results(&folder.path().join("runs"));
    whole.retain(|_, result| result["outcome"] == "completed");
    assert_eq!(whole.len(), 4);
    accounts_add_up(&whole);
}

/// After an interruption at any moment, the same command continues and ends with the same bits.
#[cfg(unix)]
#[test]
fn a_search_continues_after_interruptions() {
    let (quiet, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ran = search(quiet.path(), HALVING, "2");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    for wait in [60, 150, 240, 350, 500] {
        let mut command = runner(stopped.path());
        command.args(arguments(stopped.path(), HALVING)).args(["--jobs", "2"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = search(stopped.path(), HALVING, "2");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert_eq!(results(stopped.path()), results(quiet.path()));
    assert_eq!(table(stopped.path(), "trials"), table(quiet.path(), "trials"));
}

/// A pruned trial is not a finished run: a grid without a search continues it, to the same bits as a grid that was
/// never searched. A search does not change the finished runs of another grid.
#[test]
fn a_grid_completes_pruned_trials() {
    let (folder, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ran = search(folder.path(), HALVING, "2");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let status = |folder: &Path, name: &str| -> Value {
        let ran = run(folder, &["status", name, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    };
    let searched = status(folder.path(), "found.toml");
    let counts = |status: &Value| {
        ["total", "done", "missing", "pruned", "paused", "unneeded"]
            .map(|key| status["status"][key].as_u64().unwrap())
    };
    // Of 2 × 9 trials 2 × 8 were pruned; of the further seeds only the winners are run.
    assert_eq!(counts(&searched), [20, 20, 0, 16, 0, 16]);
    assert_eq!(searched["left"]["runs"], 0);
    let arm = &searched["search"][0];
    let rungs: Vec<[u64; 4]> = arm["rungs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rung| ["epochs", "trials", "reached", "promoted"].map(|key| rung[key].as_u64().unwrap()))
        .collect();
    assert_eq!(rungs, [[1, 9, 9, 3], [3, 3, 3, 1], [9, 1, 1, 1]]);
    let states = |status: &Value, kind: &str| {
        let runs = status["runs"].as_array().unwrap().iter();
        runs.filter(|run| run["state"] == kind || run["state"].get(kind).is_some()).count()
    };
    assert_eq!(["done", "pruned", "unneeded"].map(|kind| states(&searched, kind)), [4, 16, 16]);

    // The same cells without the search, at the first two of its rates.
    let trials = results(folder.path());
    let mut rates: Vec<f64> = trials
        .values()
        .filter(|trial| trial["outcome"] == "pruned" && trial["cell"]["schedule"] == "static")
        .map(|trial| trial["cell"]["lr"].as_f64().unwrap())
        .collect();
    rates.truncate(2);
    let grid = EXPERIMENT
        .split("[search]")
        .next()
        .unwrap()
        .replace("name = \"found\"", "name = \"plain\"")
        .replace("seed = [0, 1]", &format!("seed = [0]\nlr = {rates:?}"))
        .replace("schedule = [\"static\", \"cosine\"]", "schedule = [\"static\"]");
    let call = |folder: &Path, verb: &str| {
        std::fs::write(folder.join("plain.toml"), &grid).unwrap();
        let ran = run(folder, &[verb, "plain.toml"]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        ran
    };
    let planned = call(folder.path(), "plan");
    assert!(
        planned.out.contains("0 done, 0 running, 0 failed, 2 missing (2 of them paused)"),
        "{}",
        planned.out
    );
    // The report does not include metrics of pruned trials.
    call(folder.path(), "report");
    let page = std::fs::read_to_string(folder.path().join("runs/plain/report/report.md")).unwrap();
    assert!(page.contains("0 of 2 runs are done (2 missing, 0 failed)"), "{page}");
    let export = run(folder.path(), &["records", "export", "plain.toml", "--to", "plain.jsonl"]);
    assert!(export.code == 2 && export.err.contains("none of the 2 runs"), "{}{}", export.out, export.err);
    call(folder.path(), "run");
    call(alone.path(), "run");
    let (together, alone) = (results(folder.path()), results(alone.path()));
    assert_eq!(alone.len(), 2);
    for (id, result) in &alone {
        assert_eq!((&result["outcome"], result), (&"completed".into(), &together[id]));
    }
    let ran = search(folder.path(), HALVING, "2");
    assert!(ran.code == 0 && ran.out.contains("(0 in this call)"), "{}\n{}", ran.out, ran.err);
    assert_eq!(results(folder.path()), together, "the search comes to the same");
    // Nothing is left to do, although the search did not need all of its trials.
    let dry = run(folder.path(), &["run", "found.toml", "--dry-run", "--device", "cpu"]);
    assert!(dry.code == 0 && !dry.err.contains("to do"), "{}\n{}", dry.out, dry.err);
}

/// Commands for GNU parallel: those of the current rung, then those of the next, then none.
#[cfg(unix)]
#[test]
fn commands_of_a_search_are_listed_rung_by_rung() {
    let (folder, quiet) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(search(quiet.path(), HALVING, "2").code, 0);
    let mut args = arguments(folder.path(), HALVING);
    args.extend(["--emit".to_owned(), "commands".to_owned()]);
    let mut rungs = Vec::new();
    loop {
        let listed = run(folder.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(listed.code, 0, "{}", listed.err);
        let word = if listed.out.is_empty() { "the search is complete" } else { "those of the next stage" };
        assert!(listed.err.contains(word), "{}", listed.err);
        if listed.out.is_empty() {
            break;
        }
        rungs.push(listed.out.lines().count());
        for line in listed.out.lines() {
            let status = std::process::Command::new("sh").args(["-c", line]).status().unwrap();
            assert_eq!(status.code(), Some(0), "{line}");
        }
    }
    assert_eq!(rungs, [18, 6, 2, 2]);
    assert_eq!(results(folder.path()), results(quiet.path()));
}
