//! The keys and values of the files, which are stable for their readers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]

use lrlab_runs::{
    Call, Decision, DecisionKind, EpochMetrics, Error, Evaluation, Event, Outcome, Plan, PlannedRun,
    RESERVED_NAMES, RunId, RunResult, RunStore, finite,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn result(lr: f64) -> RunResult {
    let metrics =
        EpochMetrics { epoch: 1, lr: finite(lr), train_loss: finite(f64::NAN), ..EpochMetrics::default() };
    let evaluation = Evaluation { metrics: metrics.clone(), test_f1: Some(0.25), ..Evaluation::default() };
    RunResult {
        run_id: RunId::of("{}", "data"),
        cell: [("seed".to_owned(), json!(3))].into(),
        spec: json!({ "lr": lr }).into(),
        outcome: Outcome::Diverged,
        updates: None,
        history: vec![metrics],
        last: evaluation.clone(),
        best: evaluation,
        decisions: vec![Decision {
            update: 10,
            epoch: 1,
            source: "monitor".to_owned(),
            kind: DecisionKind::Cut,
            lr_before: finite(lr),
            lr_after: finite(lr / 2.0),
            gain: 0.5,
            metric: "val_loss".to_owned(),
            value: finite(f64::INFINITY),
            reason: "because".to_owned(),
        }],
        timing: lrlab_runs::Timing::default(),
        provenance: lrlab_runs::Provenance::default(),
    }
}

/// Pinned ids: stored results have ids of this form. Computed with the Python package `blake3`:
///
/// ```python
/// h = blake3(derive_key_context="lrlab run id v1")
/// h.update(len(spec).to_bytes(8, "little") + spec + digest); h.hexdigest()[:32]
/// ```
#[test]
fn ids_are_pinned() {
    for (spec, digest, id) in GOLDEN {
        assert_eq!(RunId::of(spec, digest).as_str(), id, "{spec} {digest}");
    }
    assert_eq!(RunId::of("{}", "").short().len(), 8);
    for bad in ["", "0123", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
        assert!(matches!(RunId::try_from(bad.to_owned()), Err(Error::BadId(text)) if text == *bad));
        let error = serde_json::from_value::<RunId>(json!(bad)).unwrap_err();
        assert_eq!(error.to_string(), format!("{bad:?} is not a run id, expected 32 hexadecimal digits"));
    }
}

const GOLDEN: [(&str, &str, &str); 3] = [
    ("{}", "", "94e4a8d43f52e9a8ea571af227b2f545"),
    ("{}", "data", "9c321bdd80d901a15145722134c58fdf"),
    (r#"{"lr":0.1,"seed":0}"#, "data", "5d4215ef057ad4bd3ab01a5b6c55c715"),
];

/// A result with custom values that are not finite can be read again, as can one of an earlier version, which wrote `null`.
#[test]
fn custom_values_that_are_not_finite_are_omitted() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let mut result = result(0.1);
    let metrics = EpochMetrics::default().with("perplexity", f64::INFINITY).with("top5", 0.5);
    let hyperparameters = [("momentum".to_owned(), f64::NAN), ("weight_decay".to_owned(), 0.01)].into();
    result.history = vec![EpochMetrics { hyperparameters, ..metrics }];
    result.last.metrics.extra = [("perplexity".to_owned(), f64::NEG_INFINITY)].into();
    store.commit(&result).unwrap();
    let text = std::fs::read_to_string(store.run_dir(&result.run_id).join("result.json")).unwrap();
    assert!(!text.contains("perplexity"), "{text}");
    let older = text.replace("\"top5\"", "\"perplexity\": null,\n        \"top5\"");
    assert_ne!(older, text);
    for text in [text, older] {
        std::fs::write(store.run_dir(&result.run_id).join("result.json"), text).unwrap();
        assert!(store.damage(&result.run_id).unwrap().is_none());
        let read = store.result(&result.run_id).unwrap().unwrap();
        assert_eq!(read.history[0].extra, [("top5".to_owned(), 0.5)].into());
        assert_eq!(read.history[0].hyperparameters, [("weight_decay".to_owned(), 0.01)].into());
        assert!(read.last.metrics.extra.is_empty());
    }
}

#[test]
fn a_built_in_name_sets_its_field() {
    let metrics = EpochMetrics::default().with("val_loss", 0.4).with("top5", 0.9);
    assert_eq!((metrics.val_loss, metrics.get("top5")), (Some(0.4), Some(Some(0.9))));
    assert_eq!(metrics.own_names().collect::<Vec<_>>(), ["top5"]);
}

#[test]
fn results_have_the_documented_keys() {
    let json = serde_json::to_value(result(0.1)).unwrap();
    for key in
        ["run_id", "cell", "spec", "outcome", "history", "final", "best", "decisions", "timing", "provenance"]
    {
        assert!(json.get(key).is_some(), "{key}");
    }
    for (pointer, expected) in [
        ("/outcome", json!("diverged")),
        ("/cell/seed", json!(3)),
        ("/history/0/epoch", json!(1)),
        ("/history/0/lr", json!(0.1)),
        ("/history/0/train_loss", Value::Null),
        ("/final/epoch", json!(1)),
        ("/best/test_f1", json!(0.25)),
        ("/decisions/0/kind", json!("cut")),
        ("/decisions/0/value", Value::Null),
    ] {
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
    }
    for name in ["lr_first", "val_accuracy", "val_f1"] {
        assert!(json["history"][0].get(name).is_some(), "{name}");
    }
    for name in ["train_eval_loss", "train_eval_accuracy", "test_loss", "test_accuracy", "test_f1"] {
        assert!(json["final"].get(name).is_some() && json["best"].get(name).is_some(), "{name}");
    }
}

#[test]
fn results_without_later_keys_can_be_read() {
    let mut json = serde_json::to_value(result(0.1)).unwrap();
    for (part, key) in [
        ("timing", "eval_s"),
        ("timing", "input_s"),
        ("timing", "input_share"),
        ("timing", "device_peak_mib"),
        ("provenance", "numerics"),
        ("final", "test_ece"),
    ] {
        json[part].as_object_mut().unwrap().remove(key).unwrap();
    }
    let read: RunResult = serde_json::from_value(json).unwrap();
    assert_eq!(read, result(0.1));
}

#[test]
fn metrics_have_names() {
    let metrics = EpochMetrics { val_loss: Some(0.5), ..EpochMetrics::default() };
    assert_eq!(
        (metrics.get("val_loss"), metrics.get("val_f1"), metrics.get("loss")),
        (Some(Some(0.5)), Some(None), None)
    );
    let json = serde_json::to_value(&metrics).unwrap();
    for name in EpochMetrics::NAMES {
        assert!(metrics.get(name).is_some() && json.get(name).is_some(), "{name}");
    }
    // Every key except the epoch is a metric.
    assert_eq!(json.as_object().unwrap().len(), EpochMetrics::NAMES.len() + 1);
    for (name, expected) in [("val_loss", Some(false)), ("val_f1", Some(true)), ("lr", None), ("x", None)] {
        assert_eq!(EpochMetrics::higher_is_better(name), expected, "{name}");
    }
}

#[test]
fn events_are_one_line_each() {
    for (event, expected) in [
        (Event::Started { updates: 7, epochs: 2 }, r#"{"event":"started","updates":7,"epochs":2}"#),
        (
            Event::Progress { update: 3, loss: None, lr: 0.1, grad_norm: Some(2.5), extra: [].into() },
            r#"{"event":"progress","update":3,"loss":null,"lr":0.1,"grad_norm":2.5}"#,
        ),
        (Event::Finished { outcome: Outcome::Stopped }, r#"{"event":"finished","outcome":"stopped"}"#),
        (Event::Failed { error: "two\nlines".to_owned() }, r#"{"event":"failed","error":"two\nlines"}"#),
    ] {
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}

#[test]
fn stores_keep_the_first_result_and_report_unreadable_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let (first, id) = (result(0.1), result(0.1).run_id);
    assert_eq!((store.is_done(&id), store.result(&id).unwrap()), (false, None));
    assert_eq!(store.done().unwrap(), []);
    assert!(store.commit(&first).unwrap());
    // A folder without a result, and a folder that is not a run's.
    std::fs::create_dir(store.run_dir(&RunId::of("{}", "other data"))).unwrap();
    std::fs::create_dir(store.runs_dir().join("notes")).unwrap();
    assert_eq!(store.done().unwrap(), std::slice::from_ref(&id));
    assert!(!store.commit(&result(0.2)).unwrap());
    assert_eq!((store.is_done(&id), store.result(&id).unwrap()), (true, Some(first)));
    std::fs::write(store.run_dir(&id).join("result.json"), "{\"run_id\"").unwrap();
    let error = store.result(&id).unwrap_err().to_string();
    assert!(error.contains("result.json: damaged (EOF"), "{error}");

    // Another result takes the place of a damaged one, or of that of another run, and no file is lost.
    let path = |name: &str| store.run_dir(&id).join(name);
    let other = RunResult { run_id: RunId::of("{}", "other data"), ..result(0.3) };
    for (n, damaged) in [(1, b"{\"run_id\"".to_vec()), (2, serde_json::to_vec(&other).unwrap())] {
        std::fs::write(path("result.json"), &damaged).unwrap();
        std::fs::write(path("best.safetensors"), "weights").unwrap();
        assert!(!store.put(&result(0.2)).unwrap());
        assert!(store.damage(&id).unwrap().is_some());
        let moved = store.set_damage_aside(&id).unwrap();
        let aside = path(&format!("damaged/{n}"));
        assert_eq!(moved, ["best.safetensors", "result.json"].map(|name| aside.join(name)));
        assert!(store.put(&result(0.2)).unwrap());
        assert_eq!(store.result(&id).unwrap(), Some(result(0.2)));
        assert_eq!(std::fs::read(aside.join("result.json")).unwrap(), damaged);
        assert_eq!(std::fs::read(aside.join("best.safetensors")).unwrap(), b"weights");
        assert!(!path("best.safetensors").exists());
        assert_eq!(store.set_damage_aside(&id).unwrap(), [""; 0].map(std::path::PathBuf::from));
    }

    let plan = Plan {
        experiment: "e".to_owned(),
        description: "why".to_owned(),
        runs: vec![PlannedRun {
            run_id: id,
            cell: [].into(),
            spec: json!({}).into(),
            dataset_digest: "d".to_owned(),
        }],
        claims: json!([{ "value": 0.9951 }]),
        ..Plan::default()
    };
    assert_eq!(store.plan("e").unwrap(), None);
    store.write_plan(&plan).unwrap();
    assert_eq!(store.plan("e").unwrap(), Some(plan));
}

/// A torn `paused.json` is no damage of the result: a complete one stays, and a pruned one can still be replaced.
#[test]
fn damaged_pauses_leave_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let (whole, id) = (result(0.1), result(0.1).run_id);
    let path = |name: &str| store.run_dir(&id).join(name);
    let pruned = RunResult { outcome: Outcome::Pruned, ..whole.clone() };
    assert!(store.put(&pruned).unwrap());
    for (n, (replaces, expected)) in [(true, &pruned), (false, &whole)].into_iter().enumerate() {
        // The file may be the same as the result, which stays whole.
        let _ = std::fs::remove_file(path("paused.json"));
        std::fs::write(path("paused.json"), "{").unwrap();
        std::fs::write(path("best.safetensors"), "weights").unwrap();
        let moved = store.set_damage_aside(&id).unwrap();
        assert_eq!(moved, [path(&format!("damaged/{}/paused.json", n + 1))]);
        assert_eq!(store.result(&id).unwrap().as_ref(), Some(expected));
        assert!(store.damage(&id).unwrap().is_none() && path("best.safetensors").exists());
        assert_eq!((store.is_finished(&id), store.put(&whole).unwrap()), (!replaces, replaces));
    }
    assert_eq!(store.result(&id).unwrap(), Some(whole));
}

/// A plan names its command; a plan of an earlier version does not, and can still be read.
#[test]
fn plans_of_earlier_versions_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let call = Call {
        program: vec!["lrlab".to_owned(), "run".to_owned()],
        experiment: "it's mine.toml".to_owned(),
        folder: "/home/me".to_owned(),
        set: vec!["defaults.lr=0.1".to_owned(), r#"description=say "so" $HOME"#.to_owned()],
    };
    let id = result(0.1).run_id;
    let command = call.command(&id, "repeated");
    let words = [
        "lrlab",
        "run",
        "it's mine.toml",
        "--set",
        "defaults.lr=0.1",
        "--set",
        r#"description=say "so" $HOME"#,
    ];
    let words = words.into_iter().chain(["--run", id.as_str(), "--out", "repeated"]);
    assert_eq!(shlex::split(&command).unwrap(), words.collect::<Vec<_>>());

    let plan = Plan { experiment: "e".to_owned(), call: Some(call), ..Plan::default() };
    store.write_plan(&plan).unwrap();
    assert_eq!(store.plan("e").unwrap().unwrap(), plan);
    let path = store.experiment_dir("e").join("plan.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("call").unwrap();
    std::fs::write(&path, json.to_string()).unwrap();
    assert_eq!(store.plan("e").unwrap().unwrap(), Plan { call: None, ..plan });
}

/// No experiment may have the name of a folder beside the experiments' folders.
#[test]
fn names_of_the_stores_folders_are_reserved() {
    let store = RunStore::new("s");
    let folders = [store.runs_dir(), store.cache_dir(), store.bin_dir()];
    assert_eq!(folders, RESERVED_NAMES.map(|name| store.experiment_dir(name)));
}

proptest! {
    /// Numbers read back unchanged, to the bit.
    #[test]
    fn numbers_survive(bits in any::<u64>()) {
        let lr = f64::from_bits(bits);
        prop_assume!(lr.is_finite());
        let text = serde_json::to_string(&result(lr)).unwrap();
        let read: RunResult = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.history[0].lr.map(f64::to_bits), Some(bits));
        prop_assert_eq!(read, result(lr));
    }
}
