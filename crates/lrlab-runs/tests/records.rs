//! Files of records read back unchanged, and mistakes are reported with file and line.
#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use lrlab_runs::{EpochMetrics, Records, RunId, RunResult, RunStore, write_records};
use serde_json::json;

fn result(n: u64, val_loss: f64, outcome: &str) -> RunResult {
    serde_json::from_value(json!({
        "run_id": RunId::of(&n.to_string(), ""), "cell": { "seed": n }, "spec": {}, "outcome": outcome,
        "history": [{ "epoch": 1, "val_loss": val_loss }], "final": {}, "best": {}, "decisions": [],
        "timing": { "train_s": 0.1 }, "provenance": { "host": "here" },
    }))
    .unwrap()
}

#[test]
fn files_have_complete_results_ordered_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let results: Vec<RunResult> = (0..5).map(|n| result(n, 1.0 / (n as f64 + 3.0), "completed")).collect();
    let [a, b] = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
    write_records(&a, &results).unwrap();
    write_records(&b, results.iter().rev()).unwrap();
    let text = std::fs::read_to_string(&a).unwrap();
    assert_eq!(text, std::fs::read_to_string(&b).unwrap());
    let ids: Vec<&str> = text.lines().map(|line| &line[11..43]).collect();
    assert!(ids.len() == 5 && ids.is_sorted(), "{text}");
    // Both files of the folder, with each run once, as in the first record.
    let read = Records::read(&[folder.path().to_path_buf()]).unwrap();
    assert_eq!(read.len(), 5);
    for result in &results {
        let record = read.get(&result.run_id).unwrap();
        assert_eq!((&*record.result, &record.path), (result, &a));
        assert_eq!(ids[record.line - 1], result.run_id.as_str());
    }
    let again = folder.path().join("c.jsonl");
    write_records(&again, read.iter().map(|record| &*record.result)).unwrap();
    assert_eq!(std::fs::read_to_string(&again).unwrap(), text);
}

/// Some editors begin a file with a byte-order mark, which is then also within joined files.
#[test]
fn byte_order_marks_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("marked.jsonl");
    let lines = [1, 2].map(|n| serde_json::to_string(&result(n, 0.5, "completed")).unwrap());
    std::fs::write(&path, format!("\u{feff}{}\n\u{feff}{}\n", lines[0], lines[1])).unwrap();
    assert_eq!(Records::read(std::slice::from_ref(&path)).unwrap().len(), 2);
    std::fs::write(&path, "\u{feff}{}").unwrap();
    let error = Records::read(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(error.contains("marked.jsonl:1:2: not a record of a run (missing field `run_id`)"), "{error}");
    std::fs::write(&path, "\u{feff}\n").unwrap();
    let error = Records::read(&[path]).unwrap_err().to_string();
    assert!(error.contains("marked.jsonl: no record of a run, expected"), "{error}");
}

#[test]
fn mistakes_have_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let fails = |names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
        let error = Records::read(&paths).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    let line = |n, loss, outcome: &str| serde_json::to_string(&result(n, loss, outcome)).unwrap();
    let whole = line(1, 0.5, "completed");
    std::fs::write(path("cut.jsonl"), format!("{whole}\n\n{}", &whole[..100])).unwrap();
    let printed = fails(&["cut.jsonl"]);
    assert!(printed.starts_with("cut.jsonl:3:100: not a record of a run (EOF while parsing"), "{printed}");
    assert!(printed.ends_with("), expected a complete result.json on one line"), "{printed}");
    std::fs::write(path("packed.jsonl.gz"), b"\x1f\x8b\x08\0").unwrap();
    assert_eq!(
        fails(&["packed.jsonl.gz"]),
        "packed.jsonl.gz: a file compressed by gzip, expected lines of JSON: decompress it first (`gunzip --keep \
         packed.jsonl.gz`)"
    );
    // Also as a file of a folder.
    std::fs::create_dir(path("packed")).unwrap();
    std::fs::rename(path("packed.jsonl.gz"), path("packed/all.jsonl.gz")).unwrap();
    assert!(fails(&["packed"]).contains("all.jsonl.gz: a file compressed by gzip"), "{}", fails(&["packed"]));
    std::fs::write(
        path("other.jsonl"),
        format!("{}\n{}\n", line(2, 0.5, "completed"), line(1, 0.25, "completed")),
    )
    .unwrap();
    std::fs::write(path("whole.jsonl"), &whole).unwrap();
    let id = result(1, 0.0, "completed").run_id;
    assert_eq!(
        fails(&["whole.jsonl", "other.jsonl"]),
        format!(
            "other.jsonl:2: another result of run {id} (seed 1) than in whole.jsonl:1: history[0].val_loss is 0.25 here and 0.5 \
             there; keep one of the two lines"
        )
    );
    std::fs::write(path("empty.jsonl"), "\n").unwrap();
    assert!(fails(&["empty.jsonl"]).starts_with("empty.jsonl: no record of a run, expected"));
    std::fs::create_dir(path("nothing")).unwrap();
    assert!(fails(&["nothing"]).starts_with("nothing: no record of a run, expected"));
    assert!(fails(&["absent.jsonl"]).starts_with("absent.jsonl: No such file"));
}

/// Of a run and its beginning, which a search pruned, the longer one is kept, in any order. Results that differ in an epoch
/// that both have are an error.
#[test]
fn pruned_runs_are_beginnings_of_longer_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, losses: &[f64], outcome: &str| {
        let mut result = result(1, 0.5, outcome);
        let first = result.history[0].clone();
        let epoch = |(i, loss): (usize, &f64)| EpochMetrics {
            epoch: i as u64 + 1,
            val_loss: Some(*loss),
            ..first.clone()
        };
        result.history = losses.iter().enumerate().map(epoch).collect();
        result.last.metrics = result.history.last().unwrap().clone();
        write_records(&path(name), [&result]).unwrap();
        result
    };
    let id = write("one.jsonl", &[0.5], "pruned").run_id;
    write("two.jsonl", &[0.5, 0.25], "pruned");
    write("whole.jsonl", &[0.5, 0.25], "completed");
    write("three.jsonl", &[0.5, 0.25, 0.125], "completed");
    let names = ["one.jsonl", "two.jsonl", "whole.jsonl"];
    for (i, short) in names.iter().enumerate() {
        for long in &names[i..] {
            for order in [[short, long], [long, short]] {
                let read = Records::read(&order.map(|name| path(name))).unwrap();
                assert_eq!(read.get(&id).unwrap().path, path(long), "{order:?}");
            }
        }
    }
    // In a store too.
    let records = Records::read(&names.map(path)[..2]).unwrap();
    let store = RunStore::new(path("store"));
    for (name, is_new) in [
        ("one.jsonl", true),
        ("two.jsonl", true),
        ("one.jsonl", false),
        ("whole.jsonl", true),
        ("two.jsonl", false),
    ] {
        let record = Records::read(&[path(name)]).unwrap();
        assert_eq!(store.put(&record.get(&id).unwrap().result).unwrap(), is_new, "{name}");
        if name == "two.jsonl" && is_new {
            assert_eq!(store.result(&id).unwrap().as_ref(), records.get(&id).map(|record| &*record.result));
        }
    }

    write("other.jsonl", &[0.75, 0.25], "pruned");
    let differs = |first: &str, other: &str, expected: &str| {
        let error = Records::read(&[path(first), path(other)]).unwrap_err().to_string();
        let expected = format!(
            "{other}:1: another result of run {id} (seed 1) than in {first}:1: {expected}; keep one of the two lines"
        );
        assert_eq!(error.replace(&format!("{}/", folder.path().display()), ""), expected);
    };
    differs(
        "other.jsonl",
        "three.jsonl",
        "it is completed after 3 epochs here and pruned after 2 epochs there, and history[0].val_loss is 0.5 here and 0.75 \
         there",
    );
    differs(
        "other.jsonl",
        "one.jsonl",
        "it is pruned after 1 epoch here and pruned after 2 epochs there, and history[0].val_loss is 0.5 here and 0.75 there",
    );
    differs(
        "three.jsonl",
        "whole.jsonl",
        "it is completed after 2 epochs here and completed after 3 epochs there",
    );
    write("stopped.jsonl", &[0.5, 0.25], "stopped");
    differs(
        "whole.jsonl",
        "stopped.jsonl",
        "it is stopped after 2 epochs here and completed after 2 epochs there",
    );
}
