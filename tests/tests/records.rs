//! Runs on record: export from a store, import into a store, and runs that count as done.

mod damage;
mod reports;

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
        "none of the 2 runs of tiny.toml is finished in runs; `lrlab run tiny.toml --out runs` trains them",
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
    assert_eq!(succeeds(folder, &merge).out, "2 runs in c.jsonl\n");
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
    let ran = succeeds(here, &["records", "export", "tiny.toml", "--to", "tiny.jsonl"]);
    assert!(!ran.err.contains("not finished"), "a search does not need all seeds of all trials: {}", ran.err);
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
