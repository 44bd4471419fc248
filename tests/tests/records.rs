//! Runs on record: export from a store, import into a store, and runs that count as done.

use std::path::Path;

use lrlab_tests::{Ran, TINY, files, results, run};
use serde_json::{Value, json};

/// A user's folder with the experiment and optionally its runs.
fn place(done: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    if done {
        succeeds(folder.path(), &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    }
    folder
}

fn succeeds(folder: &Path, args: &[&str]) -> Ran {
    let ran = run(folder, args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
    ran
}

fn fails(folder: &Path, args: &[&str], expected: &str) {
    let before = files(folder);
    let ran = run(folder, args);
    assert!(ran.code == 2 && ran.err.contains(expected), "{args:?}: {}{}", ran.out, ran.err);
    // Digests of data sets may be cached; results, reports and records are not written.
    let new = files(folder)
        .into_iter()
        .filter(|path| !before.contains(path) && !path.starts_with(folder.join("runs/cache")));
    assert_eq!(new.collect::<Vec<_>>(), [""; 0].map(std::path::PathBuf::from), "{args:?}");
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn export_and_import_keep_results() {
    let (here, there) = (place(true), place(false));
    let (here, there) = (here.path(), there.path());
    let ran = succeeds(here, &["records", "export", "tiny.toml", "--to", "results/tiny.jsonl"]);
    assert_eq!(ran.out, "2 runs of tiny in results/tiny.jsonl\n");
    succeeds(here, &["records", "export", "tiny.toml", "--to", "again.jsonl"]);
    let text = read(here, "results/tiny.jsonl");
    assert_eq!(text, read(here, "again.jsonl"));
    let ids: Vec<String> = results(&here.join("runs")).into_keys().collect();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["run_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);

    // Imported into another store, the files are the same byte by byte, and no run is missing.
    std::fs::copy(here.join("again.jsonl"), there.join("tiny.jsonl")).unwrap();
    let import = ["records", "import", "tiny.jsonl"];
    assert_eq!(succeeds(there, &import).out, "imported 2 runs into runs, 0 already there\n");
    assert_eq!(succeeds(there, &import).out, "imported 0 runs into runs, 2 already there\n");
    for id in &ids {
        let name = format!("runs/store/{id}/result.json");
        assert_eq!(read(here, &name), read(there, &name));
    }
    let ran = succeeds(there, &["run", "tiny.toml", "--device", "cpu"]);
    assert!(ran.out.contains("2 of 2 runs are done (0 in this call)"), "{}", ran.out);
    succeeds(there, &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]);
    assert_eq!(read(there, "tiny.jsonl"), text);
    succeeds(there, &["verify", "--records", "tiny.jsonl", "--device", "cpu"]);

    // A selection of the experiment, and a selection without finished runs.
    let ran = succeeds(here, &["records", "export", "tiny.toml", "--seeds", "1", "--to", "part.jsonl"]);
    assert!(ran.err.is_empty() || !ran.err.contains("not finished"), "{}", ran.err);
    assert_eq!(read(here, "part.jsonl").lines().count(), 1);
    let nothing = ["records", "export", "tiny.toml", "--set", "defaults.lr=0.5", "--to", "none.jsonl"];
    fails(
        here,
        &nothing,
        "none of the 2 runs of tiny.toml is finished in runs; `lrlab run tiny.toml` trains them",
    );
    std::fs::remove_dir_all(here.join("runs/store").join(&ids[0])).unwrap();
    let ran = succeeds(here, &["records", "export", "tiny.toml", "--to", "one.jsonl"]);
    assert!(ran.err.contains("note: 1 of 2 runs are not finished and not in the file"), "{}", ran.err);
}

/// Writing a file again keeps the runs that only it has.
#[test]
fn export_keeps_other_runs_of_the_file() {
    let folder = place(true);
    let folder = folder.path();
    let export = ["records", "export", "tiny.toml", "--to", "a.jsonl"];
    succeeds(folder, &export);
    let text = read(folder, "a.jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let id = results(&folder.join("runs")).into_keys().next().unwrap();
    let (run, away) = (folder.join("runs/store").join(&id), folder.join("away"));
    std::fs::rename(&run, &away).unwrap();
    let ran = succeeds(folder, &export);
    assert!(ran.err.contains("note: a.jsonl keeps 1 other run"), "{}", ran.err);
    assert!(ran.out.contains("1 run of tiny in a.jsonl"), "{}", ran.out);
    assert_eq!(read(folder, "a.jsonl"), text);

    std::fs::write(folder.join("b.jsonl"), lines[1]).unwrap();
    std::fs::write(folder.join("c.jsonl"), lines[0]).unwrap();
    let merge = ["records", "merge", "b.jsonl", "--to", "c.jsonl"];
    assert_eq!(succeeds(folder, &merge).out, "2 runs of 2 files in c.jsonl\n");
    assert_eq!(read(folder, "c.jsonl"), text);
    succeeds(folder, &["records", "merge", "c.jsonl", "--to", "c.jsonl"]);
    assert_eq!(read(folder, "c.jsonl"), text);

    // Another result of a run, and another kind of file: nothing is replaced.
    std::fs::rename(&away, &run).unwrap();
    let mut other: Value = serde_json::from_str(lines[0]).unwrap();
    other["history"][0]["val_loss"] = json!(7.0);
    std::fs::write(folder.join("a.jsonl"), format!("{other}\n")).unwrap();
    std::fs::write(folder.join("d.jsonl"), lines[0]).unwrap();
    std::fs::write(folder.join("notes.txt"), "mine\n").unwrap();
    let different = format!("than in runs/store/{id}: history[0].val_loss is 7.0 here and ");
    for (args, expected) in [
        (&export[..], different.as_str()),
        (&["records", "merge", "d.jsonl", "--to", "a.jsonl"], "a.jsonl:1: another result of run "),
        (
            &["records", "export", "tiny.toml", "--to", "notes.txt"],
            "--to notes.txt is not a file of records and is not replaced: notes.txt:1:",
        ),
        (&["records", "merge", "d.jsonl", "--to", "notes.txt"], "--to notes.txt is not a file of records"),
    ] {
        fails(folder, args, expected);
    }
    assert_eq!(read(folder, "a.jsonl"), format!("{other}\n"));
    assert_eq!(read(folder, "notes.txt"), "mine\n");
}

#[test]
fn runs_on_record_count_as_done() {
    let (here, there) = (place(true), place(false));
    let (here, there) = (here.path(), there.path());
    std::fs::create_dir(there.join("results")).unwrap();
    for (seed, name) in [("0", "a.jsonl"), ("1", "b.jsonl")] {
        let filter = format!("seed={seed}");
        succeeds(here, &["records", "export", "tiny.toml", "--filter", &filter, "--to", name]);
        std::fs::copy(here.join(name), there.join("results").join(name)).unwrap();
    }
    // Commands that only read write no result.
    let plan = succeeds(there, &["plan", "tiny.toml", "--records", "results/a.jsonl"]);
    assert!(plan.out.contains("2 runs, 1 done, 0 running, 0 failed, 1 missing"), "{}", plan.out);
    assert!(plan.err.contains("tiny: 1 of 2 runs are on record"), "{}", plan.err);
    let status = succeeds(there, &["status", "tiny.toml", "--records", "results"]);
    assert!(status.out.contains("tiny: 2 runs, 2 done"), "{}", status.out);
    let dry = succeeds(
        there,
        &["run", "tiny.toml", "--dry-run", "--records", "results/b.jsonl", "--device", "cpu"],
    );
    assert!(dry.out.contains("1 done") && dry.err.contains("1 run to do"), "{}{}", dry.out, dry.err);
    let report = succeeds(there, &["report", "tiny.toml", "--records", "results", "--to", "page"]);
    assert!(!there.join("runs").exists(), "{}", report.err);
    // The report equals that of the store, including the digests of the results.
    for name in files(&here.join("runs/tiny/report/tables")) {
        let name = name.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            read(there, &format!("page/tables/{name}")),
            read(here, &format!("runs/tiny/report/tables/{name}"))
        );
    }

    // `run` does the missing run, and its store then has all results.
    let args = ["run", "tiny.toml", "--records", "results/a.jsonl", "--device", "cpu", "--threads", "1"];
    let ran = succeeds(there, &args);
    assert!(ran.out.contains("2 of 2 runs are done (1 in this call)"), "{}", ran.out);
    assert_eq!(results(&there.join("runs")).len(), 2);
    let ran = succeeds(there, &args);
    assert!(ran.out.contains("2 of 2 runs are done (0 in this call)"), "{}", ran.out);
    // Records in other folders are used only if they are named.
    let ran = succeeds(there, &["plan", "tiny.toml", "--out", "other"]);
    assert!(ran.out.contains("2 runs, 0 done"), "{}", ran.out);
}

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
    assert_eq!(ran.out, "2 runs of 2 files in c.jsonl\n");
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

/// Runs on record do not need the data: their digest is used, as long as nothing is trained.
#[test]
fn reports_of_runs_on_record_need_no_data() {
    let folder = place(true);
    let folder = folder.path();
    let text = TINY.replace(
        "source = { synthetic_pictures = { train = 40, test = 10 } }",
        "source = { cifar10 = { folder = \"nowhere\" } }",
    );
    std::fs::write(folder.join("cifar.toml"), &text).unwrap();
    let experiment = lrlab_spec::read(&text, "cifar.toml", &[], &lrlab_spec::Catalog::default()).unwrap();
    let mut record = results(&folder.join("runs")).into_values().next().unwrap();
    record["provenance"]["dataset_digest"] = "made up".into();
    let lines = experiment.cells(&[], None).unwrap().into_iter().map(|(cell, mut spec)| {
        record["run_id"] = lrlab_spec::run_id(&spec, "made up").unwrap().to_string().into();
        // The folder of the files on the machine that trained.
        if let lrlab_config::Source::Cifar10(files) = &mut spec.data.source {
            files.folder = Some("/elsewhere".into());
        }
        record["cell"] = json!(cell);
        record["spec"] = json!(spec);
        format!("{record}\n")
    });
    std::fs::write(folder.join("cifar.jsonl"), lines.collect::<String>()).unwrap();
    fails(folder, &["run", "cifar.toml", "--device", "cpu"], "nowhere/data_batch_1.bin: not found");
    let ran = succeeds(folder, &["report", "cifar.toml", "--out", "none"]);
    assert!(ran.err.contains("nowhere/data_batch_1.bin: not found") && ran.err.contains("count as not run"));
    assert!(ran.out.contains("0 of 2 runs done; 2 missing"), "{}", ran.out);
    let args = ["report", "cifar.toml", "--records", "cifar.jsonl", "--out", "empty"];
    succeeds(folder, &args);
    assert!(read(folder, "empty/tiny/report/report.md").contains("(digest made up…)"));
    assert!(!folder.join("empty/store").exists());
    let ran = succeeds(
        folder,
        &["run", "cifar.toml", "--records", "cifar.jsonl", "--out", "full", "--device", "cpu"],
    );
    assert!(ran.out.contains("2 of 2 runs are done (0 in this call)"), "{}", ran.out);
    // Runs that cannot be redone on this machine are not a difference.
    let ran = run(folder, &["verify", "--records", "cifar.jsonl", "--device", "cpu"]);
    assert!(ran.code == 2 && ran.out.matches("cannot be verified: failed to read its data: ").count() == 2);
}

/// The pruned trials of a search are on record too, so that its report is complete.
#[test]
fn a_search_on_record_is_finished() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (here.path(), there.path());
    let search = "\n[search]\nmethod = { halving = { trials = 3, rungs = [\"1 epoch\"], eta = 3 } }\n[search.space]\n\
                  lr = { log = { min = 1e-3, max = 1.0 } }\n";
    let text = format!("{}{search}", TINY.replace("epochs = [1]", "epochs = [3]"));
    for folder in [here, there] {
        std::fs::write(folder.join("tiny.toml"), &text).unwrap();
    }
    succeeds(here, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    succeeds(here, &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]);
    std::fs::copy(here.join("tiny.jsonl"), there.join("tiny.jsonl")).unwrap();
    let on_record = ["tiny.toml", "--records", "tiny.jsonl"];
    let expected = succeeds(here, &["status", "tiny.toml"]).out;
    assert_eq!(succeeds(there, &[&["status"], &on_record[..]].concat()).out, expected);
    succeeds(there, &[&["report"], &on_record[..], &["--to", "page"]].concat());
    let tables = |folder: &Path| {
        files(&folder.join("tables"))
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(tables(&there.join("page")), tables(&here.join("runs/tiny/report")));
    let ran = succeeds(there, &[&["run"], &on_record[..], &["--device", "cpu"]].concat());
    assert!(ran.out.contains("(0 in this call)"), "{}", ran.out);
    succeeds(there, &["records", "export", "tiny.toml", "--to", "back.jsonl"]);
    assert_eq!(read(there, "back.jsonl"), read(there, "tiny.jsonl"));
}

/// `results/tiny/*.jsonl` beside `tiny.toml` are used without an option, and neither store nor data are needed.
#[test]
fn records_beside_an_experiment_are_used_by_default() {
    let (here, there) = (place(true), place(false));
    let (here, there) = (here.path(), there.path());
    succeeds(here, &["records", "export", "tiny.toml", "--to", "one.jsonl", "--seeds", "1"]);
    std::fs::create_dir_all(there.join("results/tiny")).unwrap();
    // A folder without records has no effect.
    std::fs::write(there.join("results/tiny/results.csv"), "").unwrap();
    let ran = succeeds(there, &["plan", "tiny.toml"]);
    assert!(ran.out.contains("2 missing") && !ran.err.contains("on record"), "{}{}", ran.out, ran.err);
    std::fs::copy(here.join("one.jsonl"), there.join("results/tiny/part.jsonl")).unwrap();

    let ran = succeeds(there, &["plan", "tiny.toml"]);
    assert!(
        ran.out.contains("1 done") && ran.err.contains("tiny: 1 of 2 runs are on record"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = succeeds(there, &["plan", "tiny.toml", "--no-records"]);
    assert!(ran.out.contains("2 missing"), "{}", ran.out);
    let ran = succeeds(there, &["verify", "tiny.toml", "--device", "cpu"]);
    assert!(
        ran.out.contains("1 of 1") && ran.err.contains("those on record in results/tiny"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = succeeds(there, &["status", "tiny.toml"]);
    assert!(ran.out.contains("1 done"), "{}", ran.out);
    let ran = succeeds(there, &["report", "tiny.toml", "--to", "made"]);
    assert!(ran.err.contains("1 of 2 runs are on record"), "{}", ran.err);
    assert!(!there.join("runs/store").exists(), "a report leaves the store alone");
    let ran = succeeds(there, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    assert!(ran.out.contains("2 of 2 runs are done (1 in this call)"), "{}", ran.out);
    let both = ["--records", "one.jsonl", "--no-records"];
    let ran = run(here, &[&["plan", "tiny.toml"][..], &both].concat());
    assert!(ran.code == 2 && ran.err.contains("cannot be used with '--no-records'"), "{}", ran.err);
}

/// The numbers of an experiment's document come from the runs.
#[test]
fn reports_render_the_documents_of_the_experiment() {
    let folder = place(false);
    let folder = folder.path();
    let with = |documents: &str| format!("{TINY}[report]\ndocuments = {documents}\n");
    std::fs::create_dir(folder.join("paper")).unwrap();
    // A byte-order mark is not part of the text.
    let template = "\u{feff}{{ experiment }}: {{ estimate(\"final.val_accuracy\") }}\n";
    std::fs::write(folder.join("paper/paper.md.jinja"), template).unwrap();
    std::fs::write(folder.join("tiny.toml"), with("[\"paper/paper.md.jinja\"]")).unwrap();
    succeeds(folder, &["run", "tiny.toml", "--device", "cpu", "--threads", "1"]);
    let made = read(folder, "runs/tiny/report/paper.md");
    assert!(made.starts_with("tiny: ") && made.ends_with(" % (n = 2)\n"), "{made}");
    let ran = succeeds(folder, &["report", "tiny.toml", "--to", "made"]);
    assert!(ran.out.contains("document: made/paper.md\n"), "{}", ran.out);
    assert_eq!(read(folder, "made/paper.md"), made);

    std::fs::write(folder.join("paper/paper.md.jinja"), "one\n{{ estimate(\"final.val_acuracy\") }}\n")
        .unwrap();
    let ran = run(folder, &["report", "tiny.toml", "--to", "made"]);
    assert!(
        ran.code == 2 && ran.err.contains("paper.md.jinja:2: unknown metric \"final.val_acuracy\""),
        "{}",
        ran.err
    );
    assert!(!folder.join("made/paper.md").exists(), "the document of the report before is gone");
    assert!(read(folder, "made/report.md").contains("tiny"), "the rest of the report is written");
    for (documents, expected) in [
        ("[\"paper.md\"]", "`paper.md` does not end in `.jinja`"),
        ("[\"../paper.md.jinja\"]", "`../paper.md.jinja` leads out of the experiment's folder"),
        ("[\"report.md.jinja\"]", "the report has its own file `report.md`"),
        ("[\"a/x.md.jinja\", \"b/x.md.jinja\"]", "two templates render to `x.md`"),
    ] {
        std::fs::write(folder.join("tiny.toml"), with(documents)).unwrap();
        fails(folder, &["report", "tiny.toml", "--to", "other"], expected);
    }
    std::fs::write(folder.join("tiny.toml"), with("[\"paper/none.md.jinja\"]")).unwrap();
    fails(folder, &["run", "tiny.toml", "--out", "other"], "paper/none.md.jinja");
    std::fs::write(folder.join("paper/none.md.jinja"), "{% for run in runs() %}\n").unwrap();
    fails(folder, &["run", "tiny.toml", "--out", "other"], "none.md.jinja:1: ");
    fails(folder, &["plan", "tiny.toml", "--out", "other"], "none.md.jinja:1: ");
    std::fs::write(folder.join("paper/none.md.jinja"), "\n{{ experimnt }}\n").unwrap();
    let expected = "none.md.jinja:2: unknown name `experimnt`: did you mean `experiment`?";
    fails(folder, &["run", "tiny.toml", "--out", "other"], expected);
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
        fails(folder, &["run", "tiny.toml", "--records", "bad.jsonl", "--out", "there"], expected);
    }
}

/// Imported runs of an experiment that has no plan in the store belong to it.
#[test]
fn imported_runs_are_kept() {
    let (here, there) = (place(true), place(false));
    succeeds(here.path(), &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]);
    std::fs::copy(here.path().join("tiny.jsonl"), there.path().join("tiny.jsonl")).unwrap();
    succeeds(there.path(), &["records", "import", "tiny.jsonl"]);
    let ran = succeeds(there.path(), &["gc", "tiny.toml", "--yes"]);
    assert!(
        ran.out.contains("tiny keeps 2 selected runs") && ran.out.contains("nothing to remove"),
        "{}",
        ran.out
    );
    assert_eq!(results(&there.path().join("runs")).len(), 2);
}

/// Results of another numerics class on record: a refused call imports nothing, and `--rerun-others` repeats them, after
/// which the results of the store take their place.
#[test]
fn results_of_other_classes_on_record_are_repeated() {
    let (here, there) = (place(true), place(false));
    let there = there.path();
    succeeds(here.path(), &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]);
    let mut record: Value =
        serde_json::from_str(read(here.path(), "tiny.jsonl").lines().next().unwrap()).unwrap();
    record["provenance"]["numerics"] = json!("gpu/f32/0");
    record["final"]["val_loss"] = json!(1.25);
    std::fs::create_dir_all(there.join("results/tiny")).unwrap();
    std::fs::write(there.join("results/tiny/r.jsonl"), format!("{record}\n")).unwrap();
    let train = ["run", "tiny.toml", "--device", "cpu", "--threads", "1"];
    fails(there, &train, "numerics class \"gpu/f32/0\"");
    succeeds(there, &[&train[..], &["--rerun-others"]].concat());
    for command in ["run", "status", "plan", "report"] {
        let ran = succeeds(there, &[command, "tiny.toml"]);
        assert!(!ran.out.contains("1.25"), "{}", ran.out);
    }
    succeeds(there, &["records", "export", "tiny.toml", "--to", "results/tiny/r.jsonl"]);
    assert_eq!(read(there, "results/tiny/r.jsonl").lines().count(), 2);
    assert!(!read(there, "results/tiny/r.jsonl").contains("gpu/f32/0"));
}

#[test]
fn exports_to_one_file_at_the_same_time_lose_nothing() {
    let folder = place(true);
    for _ in 0..5 {
        let _ = std::fs::remove_file(folder.path().join("all.jsonl"));
        let export = |seed: &str| {
            let args = ["records", "export", "tiny.toml", "--to", "all.jsonl", "--filter", seed];
            lrlab_tests::runner(folder.path()).args(args).stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        for mut child in [export("seed=0"), export("seed=1")] {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(read(folder.path(), "all.jsonl").lines().count(), 2);
    }
}
