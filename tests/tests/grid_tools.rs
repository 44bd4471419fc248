//! Commands around a grid: status, lists of commands, results of other builds, garbage collection, and checks before
//! the start.

mod garbage;

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

/// Reports of one folder that are written at the same time are whole, and none takes the files of another for edited ones.
#[test]
fn reports_at_the_same_time() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let calls: Vec<_> = std::thread::scope(|scope| {
        let call = || (0..4).map(|_| place.call("report", &[])).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for ran in calls {
        assert!(ran.code == 0 && !ran.out.contains("kept:"), "{}\n{}", ran.out, ran.err);
    }
    let left = lrlab_tests::files(&place.out.join("tiny"));
    let strange = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".kept") || name.contains(".tmp")
    };
    assert_eq!(left.iter().find(strange), None);
}

#[test]
fn results_of_other_builds_are_reported_and_can_be_redone() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let first = place.results()[0].clone();
    let change = |key: &str, value: &str| {
        let mut result: Value = serde_json::from_slice(&std::fs::read(&first).unwrap()).unwrap();
        result["provenance"][key] = value.into();
        std::fs::write(&first, result.to_string()).unwrap();
    };
    change("build", "0123456789abcdef");
    let ran = place.call("run", &[]);
    assert!(ran.code == 0 && ran.err.contains("another build: build 0123456789abcdef"), "{}", ran.err);
    assert!(place.json("status", &[])["warnings"][0].as_str().unwrap().contains("2 builds"));
    let page = std::fs::read_to_string(place.out.join("tiny/report/report.md")).unwrap();
    assert!(page.contains("The runs come from 2 builds"));
    let again = place.call("run", &["--rerun-others"]);
    assert!(again.code == 0 && again.out.contains("(1 in this call)"), "{}\n{}", again.out, again.err);
    assert!(first.with_file_name("superseded").join("1/result.json").is_file());
    assert_eq!(place.json("status", &[])["warnings"], serde_json::json!([]));

    // Another class of numerics: every command notes it, `run` only while no run is missing.
    change("numerics", "cpu/other/f32");
    let one = "1 of 2 results have the numerics class \"cpu/other/f32\", this device has \"cpu/f32/";
    let told = place.call("run", &[]);
    assert!(told.code == 0 && told.err.contains(&format!("note: {one}")), "{}", told.err);
    for verb in ["plan", "report"] {
        let told = place.call(verb, &[]);
        assert!(told.code == 0 && told.err.contains("2 numerics classes"), "{verb}: {}", told.err);
    }
    // A run is missing: `run` is rejected and names the alternatives, one of which keeps both results.
    std::fs::remove_file(&place.results()[1]).unwrap();
    let refused = place.call("run", &[]);
    assert!(
        refused.code == 2 && refused.err.contains("1 of 1 results have the numerics class"),
        "{}",
        refused.err
    );
    assert!(
        refused.err.contains("--rerun-others to repeat them here, or --accept-numerics"),
        "{}",
        refused.err
    );
    let kept = place.call("run", &["--accept-numerics"]);
    assert!(kept.code == 0 && kept.out.contains("(1 in this call)"), "{}\n{}", kept.out, kept.err);
    assert!(kept.err.contains("note: 1 of 1 results have the numerics class"), "{}", kept.err);
    let page = std::fs::read_to_string(place.out.join("tiny/report/report.md")).unwrap();
    assert!(page.contains("2 numerics classes"), "{page}");
    let again = place.call("run", &["--rerun-others"]);
    assert!(again.code == 0 && again.out.contains("(1 in this call)"), "{}\n{}", again.out, again.err);
    assert_eq!(
        (place.results().len(), place.json("status", &[])["warnings"].clone()),
        (2, serde_json::json!([]))
    );
}

/// A part of a grid is not trained in another numerics class than the rest.
#[test]
fn a_part_keeps_the_numerics_class_of_the_others() {
    let place = Place::new();
    let part = |more: &[&str]| place.call("run", &[&["--filter", "seed=1"], more].concat());
    assert_eq!(place.call("run", &["--filter", "seed=0"]).code, 0);
    // The plan of the whole.
    assert_eq!(place.call("run", &[]).code, 0);
    let [first, second] = &place.results()[..] else { panic!("two results") };
    let seed = |path: &PathBuf| -> Value {
        serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["cell"]["seed"].clone()
    };
    let (kept, removed) = if seed(first) == 0 { (first, second) } else { (second, first) };
    std::fs::remove_file(removed).unwrap();
    let mut result: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    result["provenance"]["numerics"] = "cpu/other/f32".into();
    std::fs::write(kept, result.to_string()).unwrap();
    let refused = part(&[]);
    let words = "1 of 1 results have the numerics class \"cpu/other/f32\"";
    assert!(refused.code == 2 && refused.err.contains(words), "{}", refused.err);
    let accepted = part(&["--accept-numerics"]);
    assert!(
        accepted.code == 0 && accepted.out.contains("(1 in this call)"),
        "{}{}",
        accepted.out,
        accepted.err
    );
}

/// Records that cannot be read are an error, and not the same as no records.
#[test]
#[cfg(unix)]
fn records_that_cannot_be_read_are_an_error() {
    let place = Place::new();
    let results = place.folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    // A link to itself cannot be read by any user.
    std::os::unix::fs::symlink("tiny", results.join("tiny")).unwrap();
    for verb in ["run", "plan", "report"] {
        let refused = place.call(verb, &[]);
        assert!(
            refused.code == 2 && refused.err.contains("results/tiny: the records of tiny.toml"),
            "{verb}: {}",
            refused.err
        );
    }
    std::fs::remove_file(results.join("tiny")).unwrap();
    std::fs::write(results.join("tiny"), "not a folder").unwrap();
    assert_eq!(place.call("run", &[]).code, 0);
}

/// A report is written to a folder that is a link, also to another file system.
#[test]
#[cfg(target_os = "linux")]
fn reports_go_to_linked_folders() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let shared = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(shared.path(), place.folder.path().join("site")).unwrap();
    for _ in 0..2 {
        let ran = place.call("report", &["--to", "site"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let names: Vec<_> =
        std::fs::read_dir(shared.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name == "report.html"), "{names:?}");
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
    // A report that fails leaves no new folder.
    let ran = place.call("report", &["--to", "new", "--filter", "seed=7"]);
    assert!(ran.code == 2 && !place.folder.path().join("new").exists(), "{}", ran.err);
}

/// `redo` finds the runs of earlier calls, and `status` and `run` say that the last call selected a part.
#[test]
fn runs_of_earlier_calls_are_found() {
    let place = Place::new();
    for seed in ["seed=0", "seed=1"] {
        let ran = place.call("run", &["--filter", seed]);
        let words = format!("This report covers only the runs that `--filter {seed}` selects. `");
        assert!(ran.code == 0 && ran.err.contains(&words), "{}", ran.err);
    }
    let status = place.call("status", &[]);
    let words = "note: these are the runs of the last call, with `--filter seed=1`; `";
    assert!(status.code == 0 && status.err.contains(words), "{}", status.err);
    for result in place.results() {
        let id = result.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let ran = run(place.folder.path(), &["redo", &id[..9]]);
        assert!(ran.code == 0 && ran.out.contains("(1 in this call)"), "{}{}", ran.out, ran.err);
        let useless = run(place.folder.path(), &["redo", &id[..9], "--from-scratch"]);
        assert!(useless.code == 2 && useless.err.contains("--from-scratch has no effect"), "{}", useless.err);
    }
    let help = run(place.folder.path(), &["redo", "--help"]);
    assert!(help.code == 0 && !help.out.contains("from-scratch"), "{}", help.out);
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

/// A claim of a machine that lost power says so.
#[test]
fn silent_claims_are_shown() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let result = place.results()[0].clone();
    std::fs::remove_file(&result).unwrap();
    let attempt = result.with_file_name("attempts").join("2");
    std::fs::create_dir_all(&attempt).unwrap();
    let claim = attempt.join("claim.json");
    std::fs::write(&claim, r#"{"host":"lost","pid":7,"realm":"elsewhere","started":1}"#).unwrap();
    let lines = || place.call("plan", &["--cells"]).out;
    assert!(lines().contains("running (process 7 on lost)"), "{}", lines());
    let before = std::time::SystemTime::now() - std::time::Duration::from_mins(5);
    std::fs::File::options().write(true).open(&claim).unwrap().set_modified(before).unwrap();
    assert!(lines().contains("claimed, but silent for "), "{}", lines());
    assert!(lines().contains("(process 7 on lost); `run` takes over"), "{}", lines());
    let page = place.call("status", &["--watch"]).out;
    assert!(page.contains("claimed, but silent for "), "{page}");
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
    assert!(ran.err.contains("Not a directory"), "{}", ran.err);

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
    assert!(page.contains("1 of 4 runs are done (0 missing, 3 failed)"), "{page}");
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
