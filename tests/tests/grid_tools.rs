//! Commands around a grid: status, lists of commands, weights, damage, and checks before the start.

mod classes;
mod garbage;
mod others;
mod reports;
mod unreadable;

use std::path::{Path, PathBuf};
use std::process::Command;

use lrlab_tests::{Ran, SHARED, TINY, program, run, start};
use serde_json::Value;

/// The user's folder with its default store.
struct Place {
    folder: tempfile::TempDir,
    experiment: PathBuf,
    out: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, out) = (folder.path().join("tiny.toml"), folder.path().join("runs"));
        std::fs::write(&experiment, TINY).unwrap();
        Self { folder, experiment, out }
    }

    fn call(&self, verb: &str, more: &[&str]) -> Ran {
        let mut args = vec![verb];
        if verb != "gc" {
            args.push("tiny.toml");
        }
        if verb == "run" {
            args.extend(["--device", "cpu", "--threads", "1"]);
        }
        args.extend(more);
        run(self.folder.path(), &args)
    }

    fn json(&self, verb: &str, more: &[&str]) -> Value {
        let ran = self.call(verb, &[&["--json"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }

    fn results(&self) -> Vec<PathBuf> {
        let runs = std::fs::read_dir(self.out.join("store")).unwrap().flatten();
        let mut results: Vec<_> =
            runs.map(|run| run.path().join("result.json")).filter(|path| path.is_file()).collect();
        results.sort();
        results
    }
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[test]
fn listed_commands_do_each_run_once() {
    let place = Place::new();
    let listed = place.call("run", &["--emit", "commands"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.out);
    assert_eq!(place.json("status", &[])["status"]["missing"], 2);
    let shell = |line: &str| Command::new("sh").args(["-c", line]).status().unwrap().code();
    // On a machine of another numerics class, a command trains nothing.
    let elsewhere = lines[0].replace("--numerics=cpu/f32/", "--numerics=cpu/f32/9");
    assert!(elsewhere != lines[0], "{}", lines[0]);
    assert_eq!(
        (shell(&elsewhere), place.json("status", &[])["status"]["missing"].clone()),
        (Some(2), 2.into())
    );
    assert_eq!(lines.iter().map(|line| shell(line)).collect::<Vec<_>>(), [Some(0), Some(0)]);
    let done: Vec<_> = place.results().iter().map(|path| modified(path)).collect();
    assert_eq!((done.len(), shell(lines[0])), (2, Some(0)));
    assert_eq!(place.results().iter().map(|path| modified(path)).collect::<Vec<_>>(), done);

    let status = place.json("status", &[]);
    assert_eq!((&status["status"]["done"], &status["left"]["runs"]), (&2.into(), &0.into()));
    // Without a terminal, `--watch` prints the page once.
    let page = place.call("status", &["--watch"]);
    assert!(page.code == 0 && page.out.contains("100 %") && !page.out.contains('\u{1b}'), "{}", page.out);
}

/// Options that would be ignored are errors.
#[test]
fn executor_options_belong_to_their_executor() {
    let place = Place::new();
    let profile = place.out.with_file_name("profile.toml");
    std::fs::write(&profile, "time = \"1:00:00\"\n").unwrap();
    let slurm = ["--executor", "slurm", "--slurm-profile", profile.to_str().unwrap()];
    for (args, expected) in [
        ([&slurm[..], &["--emit", "commands"]].concat(), "leave out --executor slurm"),
        ([&slurm[..], &["--jobs", "2"]].concat(), "--jobs is for runs on this machine"),
        (vec!["--emit", "commands", "--jobs", "2"], "not for --emit commands"),
        (vec!["--emit", "commands", "--fail-fast"], "not for --emit commands"),
    ] {
        let refused = place.call("run", &args);
        assert!(refused.code == 2 && refused.err.contains(expected), "{args:?}: {}", refused.err);
        assert_eq!(refused.out, "");
    }
}

/// Other users can read every file of a run, as far as the user lets them.
#[test]
#[cfg(unix)]
fn weights_have_the_permissions_of_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    assert_eq!(place.call("run", &["--keep", "all"]).code, 0);
    for result in place.results() {
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o444;
        let expected = mode(&result);
        for name in ["best.safetensors", "last.safetensors"] {
            assert_eq!(mode(&result.with_file_name(name)), expected, "{name}");
        }
    }
}

#[test]
fn predictable_failures_are_found_before_the_start() {
    let place = Place::new();
    let started = |place: &Place| place.out.join("store").exists();
    // A store below a file cannot be written.
    let file = place.experiment.with_file_name("file");
    std::fs::write(&file, "").unwrap();
    let ran = place.call("run", &["--out", "file/runs"]);
    assert!(ran.code == 2 && ran.err.contains("file/runs"), "{}", ran.err);
    assert!(ran.err.contains("file is not a folder"), "{}", ran.err);

    // Only a batch through the network shows that the memory does not suffice.
    let network = "lstm = { embedding = 8, hidden = 40000 }";
    let text = TINY.replace("linear = {}", network).replace(
        "source = { synthetic_pictures = { train = 40, test = 10 } }",
        "source = { synthetic_reviews = { train = 40, test = 10 } }\ntokens = { vocabulary = 100, max_length = 8 }",
    );
    std::fs::write(&place.experiment, text).unwrap();
    let line =
        format!("ulimit -v 8000000; exec {} run tiny.toml --device cpu --threads 1", program().display());
    let output = start(Path::new("sh"), place.folder.path()).args(["-c", &line]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && printed.contains("preflight: linear"), "{printed}");
    assert!(printed.contains("memory allocation of") && !started(&place), "{printed}");

    std::fs::write(&place.experiment, TINY).unwrap();
    let profile = place.experiment.with_file_name("profile.toml");
    std::fs::write(&profile, "tiem = \"10\"\ncpus = 0\n").unwrap();
    let profile = profile.display().to_string();
    let ran = place.call("run", &["--executor", "slurm", "--slurm-profile", &profile]);
    for word in ["profile.toml:1:1", "did you mean `time`", "profile.toml:2:8"] {
        assert!(ran.code == 2 && ran.err.contains(word), "{}", ran.err);
    }
    assert!(!started(&place));
    let ran = place.call("run", &["--executor", "slurm"]);
    assert!(ran.code == 2 && ran.err.contains("--slurm-profile"), "{}", ran.err);
}

/// Two concurrent calls do every run once, and both succeed.
#[test]
fn concurrent_calls_do_each_run_once() {
    let place = Place::new();
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..2).map(|_| scope.spawn(|| place.call("run", &["--jobs", "2"]).code)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(codes, [0, 0]);
    for result in place.results() {
        let attempts = std::fs::read_dir(result.with_file_name("attempts")).unwrap().flatten();
        let begun = attempts.filter(|attempt| attempt.path().join("work.json").exists()).count();
        assert_eq!(begun, 1, "{}", result.display());
    }
}

/// Every file of weights in a run's folder.
fn weights(run: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "safetensors"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect()
}

/// Makes a run's folder look as if another build had left it: other weights, and a result that says so.
fn of_another_build(run: &Path) {
    for name in weights(run).into_keys() {
        std::fs::write(run.join(name), "of another build").unwrap();
    }
    let path = run.join("result.json");
    let mut result: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    result["provenance"]["build"] = "0123456789abcdef".into();
    result["final"]["test_loss"] = 7.into();
    std::fs::write(&path, result.to_string()).unwrap();
}

/// Weights with `keep_top`, two builds, `--rerun-others`, and an attempt that left weights without a result.
#[test]
fn weights_belong_to_the_attempt_of_the_result() {
    let place = Place::new();
    let text = TINY
        .replace("epochs = [1]", "epochs = [3]")
        .replace("seed = [0, 1]", "seed = [0]")
        .replace("lr = 0.01", "lr = 0.01\nkeep_top = 2");
    std::fs::write(&place.experiment, text).unwrap();
    let keep = ["--keep", "all"];
    assert_eq!(place.call("run", &keep).code, 0);
    let run_dir = place.results()[0].parent().unwrap().to_path_buf();
    let expected = weights(&run_dir);
    assert_eq!(expected.len(), 4, "the best, the last and two epochs' weights");

    of_another_build(&run_dir);
    let again = place.call("run", &[&keep[..], &["--rerun-others"]].concat());
    assert!(again.code == 0 && !again.err.contains("not deterministic"), "{}", again.err);
    assert_eq!(weights(&run_dir), expected);
    let aside = weights(&run_dir.join("superseded/1"));
    assert_eq!(aside.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(aside.values().all(|bytes| bytes == b"of another build"));

    // Weights without a result belong to an unfinished attempt.
    of_another_build(&run_dir);
    std::fs::remove_file(run_dir.join("result.json")).unwrap();
    let again = place.call("run", &["--keep", "best"]);
    assert!(again.code == 0 && !again.err.contains("not deterministic"), "{}", again.err);
    assert!(again.err.contains("best.safetensors: left by an attempt without a result"), "{}", again.err);
    let best: Vec<_> = weights(&run_dir).into_iter().collect();
    let kept = expected.into_iter().filter(|(name, _)| name != "last.safetensors");
    assert_eq!(best, kept.collect::<Vec<_>>(), "those of this attempt and no others");

    // An attempt that finishes too late differs in everything: all differences are recorded.
    of_another_build(&run_dir);
    let id = run_dir.file_name().unwrap().to_string_lossy().into_owned();
    let late =
        ["worker", "--out", "runs", "--run", &id, "--attempt", "9", "--device", "cpu", "--threads", "1"];
    let late = run(place.folder.path(), &late);
    assert!(late.code == 0 && late.err.contains("not deterministic"), "{}", late.err);
    let record = std::fs::read(run_dir.join("attempts/9/nondeterminism.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let mut files: Vec<_> = record["differences"].as_array().unwrap().iter().map(|d| &d["file"]).collect();
    files.sort_by_key(ToString::to_string);
    assert_eq!(files.len(), 4, "{record}");
    let kept = weights(&run_dir.join("attempts/9"));
    for file in &files[..3] {
        assert!(kept.contains_key(file.as_str().unwrap()), "{record}");
    }
    assert_eq!(files[3], "result.json");
}

/// Some results are damaged, each in another way: all are reported, the others count, and the same command redoes the
/// damaged ones.
#[test]
fn damaged_results_are_reported_and_redone() {
    let place = Place::new();
    let text = TINY.replace("seed = [0, 1]", "seed = [0, 1, 2, 3]");
    std::fs::write(&place.experiment, text).unwrap();
    assert_eq!(place.call("run", &[]).code, 0);
    let all = place.results();
    let before: Vec<_> = all.iter().map(|path| std::fs::read(path).unwrap()).collect();
    std::fs::write(&all[0], &before[0][..before[0].len() / 2]).unwrap();
    std::fs::write(&all[1], "").unwrap();
    std::fs::write(&all[2], &before[3]).unwrap();
    let ids = all.iter().map(|path| path.parent().unwrap().file_name().unwrap().to_string_lossy());
    let ids: Vec<_> = ids.map(std::borrow::Cow::into_owned).collect();
    let named = |words: &str| {
        let named = ids.iter().filter(|id| words.contains(&format!("{id}/result.json: ")));
        named.cloned().collect::<Vec<_>>()
    };
    let planned = place.call("plan", &[]);
    assert_eq!((planned.code, named(&planned.out)), (0, ids[..3].to_vec()), "{}", planned.out);
    assert!(
        planned.out.contains("1 done, 0 running, 0 failed, 3 missing (3 of them damaged)"),
        "{}",
        planned.out
    );
    let status = place.json("status", &[]);
    assert_eq!(
        (&status["status"]["done"], &status["status"]["damaged"]),
        (&1.into(), &3.into()),
        "{status:#}"
    );
    assert_eq!(named(&status.to_string()), ids[..3]);
    let reported = place.call("report", &[]);
    assert_eq!((reported.code, named(&reported.err)), (0, ids[..3].to_vec()), "{}", reported.err);
    let page = std::fs::read_to_string(place.out.join("tiny/report/report.md")).unwrap();
    assert!(page.contains("1 of 4 runs are done (3 missing, 0 failed)"), "{page}");
    assert_eq!(place.json("gc", &[])["garbage"], serde_json::json!([]));

    let again = place.call("run", &[]);
    assert_eq!((again.code, named(&again.err)), (0, ids[..3].to_vec()), "{}", again.err);
    assert!(again.out.contains("4 of 4 runs are done (3 in this call)"), "{}", again.out);
    for (path, bytes) in all.iter().zip(&before) {
        let [old, new]: [Value; 2] = [
            serde_json::from_slice(bytes).unwrap(),
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
        ];
        for key in SHARED {
            assert_eq!(old[key], new[key], "{key}");
        }
    }
    assert_eq!(std::fs::read(all[1].with_file_name("superseded").join("1/result.json")).unwrap(), b"");
    assert_eq!(std::fs::read(&all[3]).unwrap(), before[3], "the good one is not touched");
}
