//! Reports of searches.

#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

mod common;

use std::collections::BTreeMap;

use common::check;
use lrlab_report::{Plan, RunStore, State, summarise};
use lrlab_runs::{Cell, Outcome, PlannedRun, RunResult, Search};
use serde_json::{Value, json};

/// Four trials of each schedule over four epochs, ranked after two.
fn plan(schedules: &[&str]) -> Plan {
    let mut cells = Vec::new();
    for schedule in schedules {
        for (trial, lr) in [0.1, 0.2, 0.4, 0.8].into_iter().enumerate() {
            cells.push(common::cell(&[
                ("schedule", json!(schedule)),
                ("epochs", json!(4)),
                ("lr", json!(lr)),
                ("trial", json!(trial)),
                ("seed", json!(0)),
            ]));
        }
    }
    let mut plan = common::edge(cells);
    for run in &mut plan.runs {
        let mut spec = (*run.spec).clone();
        spec["select"] = json!("val_accuracy");
        spec["epochs"] = json!(4);
        spec["lr"] = run.cell["lr"].clone();
        run.spec = spec.into();
    }
    plan.search = Some(Search {
        method: "halving".to_owned(),
        keys: vec!["lr".to_owned()],
        metric: Some("val_accuracy".to_owned()),
        seeds: 1,
        rungs: BTreeMap::from([(4, vec![2])]),
        eta: 4,
    });
    plan
}

/// The first two epochs of a run, with an accuracy that grows with the trial.
fn half(planned: &PlannedRun) -> RunResult {
    let mut it = common::result(planned);
    let accuracy = 0.5 + 0.1 * planned.cell["trial"].as_f64().unwrap();
    it.history.truncate(2);
    it.history.iter_mut().for_each(|epoch| epoch.val_accuracy = Some(accuracy));
    it.outcome = Outcome::Pruned;
    it
}

fn is_trial(cell: &Cell, schedule: &str, trial: u64) -> bool {
    cell["schedule"] == schedule && cell["trial"] == trial
}

/// The state and the digest of every run in the manifest.
fn states(manifest: &str) -> BTreeMap<String, (String, bool)> {
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    let entry = |run: &Value| {
        let state = run["state"].as_str().unwrap().to_owned();
        (run["run_id"].as_str().unwrap().to_owned(), (state, run["result_blake3"].is_string()))
    };
    manifest["runs"].as_array().unwrap().iter().map(entry).collect()
}

/// While a search is in progress, the manifest has the state of every trial, also of the one that stands for the arm.
#[test]
fn trials_in_progress_have_their_states() {
    let plan = plan(&["static"]);
    let (_folder, store) = common::store(&plan, |_, _| None);
    let of = |trial: u64| plan.runs.iter().find(|run| is_trial(&run.cell, "static", trial)).unwrap();
    store.put(&half(of(0))).unwrap();
    store.pause(&half(of(1))).unwrap();
    std::fs::create_dir_all(store.run_dir(&of(2).run_id)).unwrap();
    std::fs::write(store.run_dir(&of(2).run_id).join("failure.json"), r#"{"kind":"io","message":"full"}"#)
        .unwrap();
    let files = check::written(&plan, &store, "search-in-progress");
    let known = states(&files["manifest.json"]);
    let state = |trial| {
        let (state, has_digest) = &known[of(trial).run_id.as_str()];
        (state.as_str(), *has_digest)
    };
    assert_eq!(
        [0, 1, 2, 3].map(state),
        [("pruned", true), ("paused", false), ("failed", false), ("missing", false)]
    );
    let report = summarise(&plan, &store).unwrap();
    assert_eq!((report.counts.planned, report.counts.missing, report.counts.pruned), (1, 1, 1));

    // All trials are ranked, and the best one continues.
    store.put(&half(of(1))).unwrap();
    store.put(&half(of(2))).unwrap();
    store.pause(&half(of(3))).unwrap();
    let files = check::written(&plan, &store, "search-at-rung");
    let rows = check::records(&files["tables/trials.csv"]);
    let column = rows[0].iter().position(|name| name == "stage_1").unwrap();
    let shown: Vec<f64> = rows[1..].iter().map(|row| row[column].parse().unwrap()).collect();
    assert_eq!(shown, [0.5, 0.6, 0.7, 0.5 + 0.1 * 3.0]);
    let known = states(&files["manifest.json"]);
    let states: Vec<&str> = (0..4).map(|trial| known[of(trial).run_id.as_str()].0.as_str()).collect();
    assert_eq!(states, ["pruned", "pruned", "pruned", "paused"]);
}

/// A damaged result of one trial is a failed run, and the searches of all arms are reported.
#[test]
fn a_damaged_trial_does_not_hide_the_others() {
    let plan = plan(&["static", "cosine"]);
    let (_folder, store) = common::store(&plan, |_, planned| {
        Some(if planned.cell["trial"] == 3 { common::with_accuracy(planned, 0.9) } else { half(planned) })
    });
    let of = |schedule: &str, trial: u64| {
        plan.runs.iter().find(|run| is_trial(&run.cell, schedule, trial)).unwrap().run_id.clone()
    };
    let write = |store: &RunStore, schedule, trial, text: &str| {
        std::fs::write(store.run_dir(&of(schedule, trial)).join("result.json"), text).unwrap();
    };
    let sound = summarise(&plan, &store).unwrap();
    assert_eq!(sound.counts.pruned, 6);
    assert!(sound.searches.iter().all(|search| search.winner == Some(3)), "{:?}", sound.searches);
    write(&store, "static", 1, "{");
    let report = summarise(&plan, &store).unwrap();
    assert_eq!(report.searches[1].winner, Some(3));
    let damaged = &report.searches[0].trials[1].runs[0];
    let State::Damaged { error } = &damaged.state else { unreachable!("{damaged:?}") };
    assert!(error.contains("result.json"), "{error}");
    let files = check::written(&plan, &store, "search-damaged");
    assert_eq!(states(&files["manifest.json"])[damaged.id.as_str()], ("damaged".to_owned(), false));
}
