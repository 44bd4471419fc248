//! Damaged results, and records that contradict one another or were changed.

use lrlab_tests::{results, run};
use serde_json::{Value, json};

use super::{fails, place, read, succeeds};

#[test]
fn conflicting_results_of_a_run_are_rejected() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "a.jsonl"]);
    let text = read(folder, "a.jsonl");
    let mut other: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let id = other["run_id"].as_str().unwrap().to_owned();
    let loss = other["history"][0]["val_loss"].as_f64().unwrap();
    // Other clocks and machines do not make another result.
    other["timing"]["train_s"] = 1e3.into();
    other["provenance"]["host"] = "elsewhere".into();
    std::fs::write(folder.join("b.jsonl"), other.to_string()).unwrap();
    let ran = succeeds(folder, &["records", "merge", "b.jsonl", "a.jsonl", "--to", "c.jsonl"]);
    assert_eq!(ran.out, "2 runs in c.jsonl\n");
    let merged: Vec<Value> =
        read(folder, "c.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&merged[1], merged.len()), (&other, 2));
    assert!(
        succeeds(folder, &["records", "import", "b.jsonl"])
            .out
            .starts_with("imported 0 runs into runs, 1 already there")
    );

    other["history"][0]["val_loss"] = json!(f64::from_bits(loss.to_bits() + 1));
    let changed = other["history"][0]["val_loss"].clone();
    let label = "(dataset pictures, epochs 1, model linear, monitor off, schedule static, seed 1)";
    std::fs::write(folder.join("b.jsonl"), format!("\n{other}\n")).unwrap();
    fails(
        folder,
        &["records", "merge", "a.jsonl", "b.jsonl", "--to", "d.jsonl"],
        &format!(
            "b.jsonl:2: another result of run {id} {label} than in a.jsonl:2: history[0].val_loss is {changed} here and {loss} \
             there; keep one of the two lines"
        ),
    );
    let expected = format!(
        "b.jsonl:2: another result of run {id} {label} than in runs/store/{id}: history[0].val_loss is {changed} here and \
         {loss} there\nkeep one of the two"
    );
    fails(folder, &["records", "import", "b.jsonl"], &expected);
    for verb in ["plan", "status", "report", "run"] {
        let device: &[&str] = if verb == "run" { &["--device", "cpu"] } else { &[] };
        fails(folder, &[&[verb, "tiny.toml", "--records", "b.jsonl"], device].concat(), &expected);
    }
    // `verify` shows which of the two results is right.
    let ran = run(folder, &["verify", "--records", "b.jsonl", "--device", "cpu"]);
    assert!(
        ran.code == 4 && ran.out.contains(&format!("val_loss: {changed} on record, {loss} here")),
        "{}",
        ran.out
    );

    fails(folder, &["records", "import", "none"], "none: No such file");
    for target in ["/dev/null", "runs"] {
        let expected =
            format!("--to {target}: is a folder, a device or a pipe, expected a file or a new path");
        fails(folder, &["records", "merge", "a.jsonl", "--to", target], &expected);
        fails(folder, &["records", "export", "tiny.toml", "--to", target], &expected);
    }
    std::fs::write(folder.join("empty.jsonl"), "").unwrap();
    fails(folder, &["records", "import", "empty.jsonl"], "empty.jsonl: no record of a run, expected");
    std::fs::write(folder.join("torn.jsonl"), &text[..text.len() / 4]).unwrap();
    fails(folder, &["report", "tiny.toml", "--records", "torn.jsonl"], "torn.jsonl:1:");
}

/// The result on record takes the place of a damaged one, and the run is not trained again.
#[test]
fn records_replace_damaged_results() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "a.jsonl"]);
    let ids: Vec<String> = results(&folder.join("runs")).into_keys().collect();
    let path = |id: &str, name: &str| format!("runs/store/{id}/{name}");
    let [good, other] = [0, 1].map(|i| read(folder, &path(&ids[i], "result.json")));
    let train = ["run", "tiny.toml", "--records", "a.jsonl", "--device", "cpu"];
    for (n, (args, damaged)) in [
        (&["records", "import", "a.jsonl"][..], &good[..good.len() / 2]),
        (&["records", "import", "a.jsonl"], &other),
        (&train, &good[..good.len() / 2]),
        (&train, &other),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(folder.join(path(&ids[0], "best.safetensors")), "weights").unwrap();
        std::fs::write(folder.join(path(&ids[0], "result.json")), damaged).unwrap();
        let ran = succeeds(folder, args);
        let note = format!(
            "note: runs/store/{id}: the result is damaged and is replaced with the one on record in a.jsonl:1; the damaged \
             files are now in runs/store/{id}/damaged/{}\n",
            n + 1,
            id = ids[0]
        );
        assert!(ran.err.contains(&note), "{}", ran.err);
        let done = ["imported 1 run into runs, 1 already there", "2 of 2 runs are done (0 in this call)"];
        assert!(done.iter().any(|done| ran.out.contains(done)), "{}", ran.out);
        assert_eq!(read(folder, &path(&ids[0], "result.json")), good);
        let aside = |name: &str| path(&ids[0], &format!("damaged/{}/{name}", n + 1));
        assert_eq!(read(folder, &aside("result.json")), damaged);
        // The weights of the damaged result are not beside the recorded one.
        assert_eq!(read(folder, &aside("best.safetensors")), "weights");
        for name in ["best.safetensors", "superseded"] {
            assert!(!folder.join(path(&ids[0], name)).exists(), "{name}");
        }
    }

    // A torn pause beside a complete result.
    std::fs::write(folder.join(path(&ids[0], "paused.json")), "{").unwrap();
    let ran = succeeds(folder, &train);
    let note = format!(
        "the state at its last pause is damaged; the damaged files are now in {}\n",
        path(&ids[0], "damaged/5")
    );
    assert!(ran.err.contains(&note) && ran.out.contains("(0 in this call)"), "{}{}", ran.err, ran.out);
    assert_eq!(read(folder, &path(&ids[0], "result.json")), good);
}

/// Commands that read all results report a damaged one and go on with the others.
#[test]
fn a_damaged_result_does_not_hide_the_others() {
    let folder = place(true);
    let folder = folder.path();
    let id = results(&folder.join("runs")).into_keys().next().unwrap();
    std::fs::write(folder.join(format!("runs/store/{id}/result.json")), "{\"run_id\": 7").unwrap();
    for (args, out, note) in [
        (
            &["records", "export", "tiny.toml", "--to", "a.jsonl"][..],
            "1 run of tiny in a.jsonl\n",
            "1 of 2 runs are not finished",
        ),
        (&["tensorboard", "tiny.toml"], "tensorboard: 1 run\n", "1 run not done and not exported"),
        (&["report", "tiny.toml"], "report: ", ""),
    ] {
        let ran = succeeds(folder, args);
        let damage = format!(": runs/store/{id}/result.json: ");
        assert!(
            ran.out.contains(out) && ran.err.contains(&damage) && ran.err.contains(note),
            "{}{}",
            ran.out,
            ran.err
        );
    }
    assert_eq!(read(folder, "a.jsonl").lines().count(), 1);
}

/// A torn `paused.json` does not hide a conflict, and a complete record replaces the pruned result beside it.
#[test]
fn records_replace_pruned_results_with_a_damaged_pause() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "a.jsonl"]);
    let (id, whole) = results(&folder.join("runs")).into_iter().next().unwrap();
    let run = folder.join("runs/store").join(&id);
    let mut pruned = whole.clone();
    pruned["outcome"] = "pruned".into();
    let loss = std::mem::replace(&mut pruned["history"][0]["val_loss"], json!(7.0));
    std::fs::write(run.join("result.json"), pruned.to_string()).unwrap();
    std::fs::write(run.join("paused.json"), "{").unwrap();
    let import = ["records", "import", "a.jsonl"];
    fails(folder, &import, "history[0].val_loss is ");
    pruned["history"][0]["val_loss"] = loss;
    std::fs::write(run.join("result.json"), pruned.to_string()).unwrap();
    let ran = succeeds(folder, &import);
    assert_eq!(ran.out, "imported 1 run into runs, 1 already there\n");
    assert!(ran.err.contains("the state at its last pause is damaged"), "{}", ran.err);
    assert_eq!(results(&folder.join("runs"))[&id], whole);
    assert_eq!(std::fs::read(run.join("damaged/1/paused.json")).unwrap(), b"{");
}

/// A call that is refused leaves damaged results in their places.
#[test]
fn refused_calls_move_no_damaged_results() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "a.jsonl"]);
    let mut records: Vec<Value> =
        read(folder, "a.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let path = |i: usize| format!("runs/store/{}/result.json", records[i]["run_id"].as_str().unwrap());
    let (first, second) = (path(0), path(1));
    std::fs::write(folder.join(&first), "{").unwrap();
    let train = ["run", "tiny.toml", "--records", "a.jsonl", "--device", "cpu", "--threads", "1"];
    let refused = |records: &[Value], expected: &str| {
        let lines: Vec<String> = records.iter().map(Value::to_string).collect();
        std::fs::write(folder.join("a.jsonl"), lines.join("\n")).unwrap();
        fails(folder, &train, expected);
        assert_eq!(read(folder, &first), "{");
    };
    // Another result of the intact run.
    let good = records.clone();
    records[1]["history"][0]["val_loss"] = json!(7.0);
    refused(&records, "another result of run ");
    refused(&records[1..], "another result of run ");
    // The recorded result, or the only intact one, has another numerics class, and a run is missing.
    records.clone_from(&good);
    records[0]["provenance"]["numerics"] = json!("gpu/f32/0");
    std::fs::remove_file(folder.join(&second)).unwrap();
    refused(&records[..1], "numerics class \"gpu/f32/0\"");
    records[1]["provenance"]["numerics"] = json!("gpu/f32/0");
    refused(&records[1..], "numerics class \"gpu/f32/0\"");
    // The damaged run is repeated once nothing is in the way.
    std::fs::write(folder.join("a.jsonl"), format!("{}\n", good[1])).unwrap();
    let ran = succeeds(folder, &train);
    assert!(ran.err.contains("its files are now in `superseded`"), "{}", ran.err);
    assert!(ran.out.contains("2 of 2 runs are done (1 in this call)"), "{}", ran.out);
}

/// A folder whose runs are in the store and on record in `a.jsonl`, and the id of one of them.
fn on_record() -> (tempfile::TempDir, String) {
    let folder = place(true);
    succeeds(folder.path(), &["records", "export", "tiny.toml", "--to", "a.jsonl"]);
    let id = results(&folder.path().join("runs")).into_keys().next().unwrap();
    (folder, id)
}

/// A run that is to be repeated does not count as done because its earlier results cannot be read.
#[test]
fn unreadable_earlier_results_are_errors() {
    let (here, id) = on_record();
    let here = here.path();
    let run_dir = here.join("runs/store").join(&id);
    std::fs::remove_file(run_dir.join("result.json")).unwrap();
    std::fs::write(run_dir.join("superseded"), "").unwrap();
    let expected = format!("{id}/superseded: ");
    for command in ["plan", "report", "run"] {
        fails(here, &[command, "tiny.toml", "--records", "a.jsonl"], &expected);
    }
    std::fs::remove_file(run_dir.join("superseded")).unwrap();
    let earlier = run_dir.join("superseded/1/result.json");
    // A folder in the place of the result was damage, which says nothing about the record.
    std::fs::create_dir_all(&earlier).unwrap();
    let plan = succeeds(here, &["plan", "tiny.toml", "--records", "a.jsonl"]);
    assert!(plan.out.contains("2 runs, 2 done"), "{}", plan.out);
}

/// A result that was set aside because it was damaged says nothing about a record, which counts and can be in conflict.
#[test]
fn records_count_after_damage() {
    let (folder, id) = on_record();
    let folder = folder.path();
    let path = format!("runs/store/{id}/result.json");
    std::fs::write(folder.join(&path), "{").unwrap();
    succeeds(folder, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    assert!(folder.join("runs/store").join(&id).join("superseded").is_dir());
    let ran = succeeds(folder, &["plan", "tiny.toml", "--records", "a.jsonl"]);
    assert!(ran.err.contains("2 of 2 runs are on record"), "{}", ran.err);
    let changed = read(folder, "a.jsonl").replace("\"val_loss\":", "\"val_loss\":1");
    std::fs::write(folder.join("a.jsonl"), &changed).unwrap();
    fails(folder, &["records", "export", "tiny.toml", "--to", "a.jsonl"], "another result of run ");
    assert_eq!(read(folder, "a.jsonl"), changed);
}

/// A record has the id of its specification and its data, unless somebody changed it.
#[test]
fn changed_records_are_rejected() {
    let folder = place(true);
    let folder = folder.path();
    succeeds(folder, &["records", "export", "tiny.toml", "--to", "good.jsonl"]);
    let lines = read(folder, "good.jsonl");
    let changes: [(&str, Value); 4] = [
        ("/spec/lr", json!(0.02)),
        ("/spec/optimizer/sgd/momentum", json!(0.5)),
        ("/run_id", json!("0123456789abcdef0123456789abcdef")),
        ("/provenance/dataset_digest", json!("0".repeat(64))),
    ];
    for (place, value) in changes {
        let mut records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        *records[1].pointer_mut(place).unwrap() = value;
        let text: Vec<String> = records.iter().map(Value::to_string).collect();
        std::fs::write(folder.join("bad.jsonl"), text.join("\n")).unwrap();
        let expected = "bad.jsonl:2: the record of run ";
        fails(folder, &["records", "import", "bad.jsonl", "--out", "there"], expected);
        fails(folder, &["records", "merge", "bad.jsonl", "--to", "new/all.jsonl"], expected);
        assert!(!folder.join("new").exists(), "a refused merge leaves nothing");
        fails(folder, &["records", "export", "tiny.toml", "--to", "bad.jsonl"], expected);
        fails(folder, &["run", "tiny.toml", "--records", "bad.jsonl", "--out", "there"], expected);
    }
}
