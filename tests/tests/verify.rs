//! `lrlab verify` redoes finished runs, from a store or from files of records, and reports differences.

use std::path::{Path, PathBuf};

use lrlab_tests::{Ran, ctrl_c, files, run, runner};
use serde::Deserialize;
use serde_json::Value;

/// Two arms with two seeds, which take a second; from the second epoch on the monitor cuts the rate after each.
const EXPERIMENT: &str = r#"name = "again"
description = "Four runs with decisions."

[axes]
model = ["linear"]
schedule = ["static", "cosine"]
monitor = ["on"]
epochs = [3]
seed = [0, 1]

[defaults]
lr = 0.01
batch_size = 16
optimizer = { sgd = {} }

[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 40, test = 10 } }

[schedules.static]
static = {}
[schedules.cosine]
cosine = {}
[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0, threshold = 10.0 } }
"#;

/// The user's folder, with the finished runs in its default store.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("again.toml"), EXPERIMENT).unwrap();
        let ran = run(folder.path(), &["run", "again.toml", "--device", "cpu", "--threads", "1"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        Self { folder }
    }

    /// Runs `verify` and checks that no temporary folder is left.
    fn verify(&self, args: &[&str]) -> Ran {
        let temporary = self.folder.path().join("temporary");
        std::fs::create_dir_all(&temporary).unwrap();
        let mut command = runner(self.folder.path());
        command.env("TMPDIR", &temporary).args(["verify", "--device", "cpu"]).args(args);
        let ran = Ran::of(&command.output().unwrap());
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "{args:?}");
        ran
    }

    fn ids(&self) -> Vec<String> {
        lrlab_tests::results(&self.folder.path().join("runs")).into_keys().collect()
    }

    fn result(&self, id: &str) -> PathBuf {
        self.folder.path().join("runs/store").join(id).join("result.json")
    }

    /// Applies `change` to the result of a run and returns the original.
    fn change(&self, id: &str, change: impl FnOnce(&mut Value)) -> Value {
        let was: Value = serde_json::from_slice(&std::fs::read(self.result(id)).unwrap()).unwrap();
        let mut result = was.clone();
        change(&mut result);
        std::fs::write(self.result(id), result.to_string()).unwrap();
        was
    }

    /// Writes the results of the store to a file of records and returns its name.
    fn records(&self, folder: &Path) -> &'static str {
        let results = lrlab_tests::results(&self.folder.path().join("runs"));
        let lines: Vec<String> = results.values().map(|result| format!("{result}\n")).collect();
        std::fs::write(folder.join("records.jsonl"), lines.concat()).unwrap();
        "records.jsonl"
    }
}

/// The next larger number.
fn next(x: f64) -> f64 {
    f64::from_bits(x.to_bits() + 1)
}

#[test]
fn equal_runs_are_identical_and_nothing_is_left() {
    let place = Place::new();
    let before = files(&place.folder.path().join("runs"));
    let ran = place.verify(&["again.toml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out.matches("  identical\n").count(), 4, "{}", ran.out);
    assert!(ran.out.ends_with("\n4 of 4 runs are identical\n"), "{}", ran.out);
    assert_eq!(files(&place.folder.path().join("runs")), before);

    // With more threads, and on record in another class of numerics: noted first, and compared all the same.
    let first = &place.ids()[0];
    place.change(first, |result| result["provenance"]["numerics"] = "cpu/other".into());
    let ran = place.verify(&["again.toml", "--seeds", "1", "--filter", "schedule=cosine", "--threads", "2"]);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 2), "{}{}", ran.out, ran.err);
    let ran = place.verify(&["--run", &first[..8]]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let note = "note: 1 of 1 results have the numerics class \"cpu/other\", this device has \"cpu/f32/";
    assert!(ran.err.contains(note), "{}", ran.err);

    // With --keep the runs are kept; a folder that is not empty is rejected.
    let ran = place.verify(&["--run", first, "--keep", "kept"]);
    assert!(ran.code == 0 && lrlab_tests::results(&place.folder.path().join("kept")).contains_key(first));
    let ran = place.verify(&["--run", first, "--keep", "kept"]);
    assert!(ran.code == 2 && ran.err.contains("--keep kept: the folder is not empty"), "{}", ran.err);
}

#[test]
fn the_first_difference_is_reported() {
    let place = Place::new();
    let ids = place.ids();
    // One digit of one epoch differs, and the machine.
    let was = place.change(&ids[0], |result| {
        let loss = result["history"][1]["val_loss"].as_f64().unwrap();
        result["history"][1]["val_loss"] = next(loss).into();
        result["provenance"]["host"] = "elsewhere".into();
        result["provenance"]["commit"] = "0123".into();
    });
    let loss = was["history"][1]["val_loss"].as_f64().unwrap();
    let printed = format!("differs at epoch 2, val_loss: {} on record, {loss} here", next(loss));
    let ran = place.verify(&["again.toml"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains(&format!("{}  linear / ", &ids[0][..8])) && ran.out.contains(&printed),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("commit \"0123\" on record, ")
            && ran.out.contains("host \"elsewhere\" on record, \"")
    );
    assert!(ran.out.ends_with("\n3 of 4 runs are identical, 1 differs\n"), "{}", ran.out);

    // The same from a file of records, without store and experiment.
    let alone = tempfile::tempdir().unwrap();
    let records = place.records(alone.path());
    let there = run(alone.path(), &["verify", "--records", records, "--device", "cpu", "--threads", "1"]);
    assert_eq!(there.code, 4, "{}{}", there.out, there.err);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&there.out), sorted(&ran.out));
    assert_eq!(std::fs::read_dir(alone.path()).unwrap().count(), 1, "something was left there");
    // With the experiment, its options select records.
    std::fs::copy(place.folder.path().join("again.toml"), alone.path().join("again.toml")).unwrap();
    let args = ["verify", "again.toml", "--records", records, "--filter", "seed=1", "--device", "cpu"];
    let part = run(alone.path(), &args);
    assert_eq!(part.out.matches("/ seed 1  ").count(), 2, "{}{}", part.out, part.err);
    assert_eq!(part.out.lines().filter(|line| line.contains("/ seed")).count(), 2, "{}", part.out);

    // Differences in every part of a result, with a static rate, so that the monitor's effect is known.
    std::fs::write(place.result(&ids[0]), was.to_string()).unwrap();
    let results = lrlab_tests::results(&place.folder.path().join("runs"));
    let id = results.iter().find(|(_, result)| result["cell"]["schedule"] == "static").unwrap().0;
    for (change, expected) in [
        (
            Box::new(|result: &mut Value| result["decisions"][0]["lr_after"] = 0.004.into())
                as Box<dyn Fn(&mut Value)>,
            "differs at decision 1 (epoch 2, update 4), lr_after: 0.004 on record, 0.005 here",
        ),
        (
            Box::new(|result| drop(result["decisions"].as_array_mut().unwrap().pop())),
            "differs at decision 2: here, not on record",
        ),
        (
            Box::new(|result| drop(result["history"].as_array_mut().unwrap().pop())),
            "differs at epoch 3: here, not on record",
        ),
        (
            Box::new(|result| result["history"][0]["lr"] = Value::Null),
            "differs at epoch 1, lr: null on record, 0.01 here",
        ),
        (
            Box::new(|result| result["outcome"] = "stopped".into()),
            "differs at outcome: \"stopped\" on record, \"completed\" here",
        ),
        (
            Box::new(|result| result["best"]["test_f1"] = 2.0.into()),
            "differs at best, test_f1: 2.0 on record, ",
        ),
    ] {
        let was = place.change(id, change);
        let ran = place.verify(&["--run", id, "--threads", "1"]);
        assert!(ran.code == 4 && ran.out.contains(expected), "{expected}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("build, machine and data are the same"), "{}", ran.out);
        std::fs::write(place.result(id), was.to_string()).unwrap();
    }
}

#[test]
fn samples_are_repeatable_and_have_every_arm() {
    let place = Place::new();
    let chosen = |n: &str| {
        let ran = place.verify(&["again.toml", "--sample", n]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let lines = ran.out.lines().filter(|line| line.ends_with("  identical"));
        (lines.map(str::to_owned).collect::<Vec<_>>(), ran.err)
    };
    let (two, printed) = chosen("2");
    assert!(printed.contains("note: a sample of 2 of 4 runs, the same in every call"), "{printed}");
    assert_eq!(two.len(), 2);
    for schedule in ["static", "cosine"] {
        assert_eq!(two.iter().filter(|line| line.contains(schedule)).count(), 1, "{two:?}");
    }
    assert_eq!(chosen("2").0, two);
    assert_eq!(chosen("3").0[..2], two);
    let (all, printed) = chosen("9");
    assert!(all.len() == 4 && printed.contains("--sample 9: all 4 runs are redone"), "{printed}");
}

#[test]
fn unverifiable_runs_are_reported() {
    let place = Place::new();
    let ids = place.ids();
    let fails = |args: &[&str], expected: &str| {
        let ran = place.verify(args);
        assert!(
            ran.code == 2 && ran.err.contains(expected) && ran.out.is_empty(),
            "{args:?}: {}{}",
            ran.out,
            ran.err
        );
    };
    // A typo in an id; an id of another experiment; an unfinished run; no run at all.
    let slip = format!("{}{}", if ids[2].starts_with('0') { '1' } else { '0' }, &ids[2][1..]);
    fails(&["--run", &slip], &format!("runs has no finished run {slip}; the most similar are {}", ids[2]));
    fails(&["again.toml", "--run", &slip], &format!("the most similar are {}", ids[2]));
    fails(&["--run", "xyz"], "--run \"xyz\" is not a run id");
    let other = ["again.toml", "--set", "defaults.lr=0.02", "--run", &ids[0]];
    fails(&other, &format!("run {} does not belong to again.toml with its data and these options", ids[0]));
    fails(
        &["again.toml", "--set", "defaults.lr=0.02"],
        "nothing to verify: none of the 4 runs of again.toml is finished in runs; `lrlab run again.toml` trains them",
    );
    fails(&["--run", &ids[0], "--seeds", "1"], "--set, --filter and --seeds require an experiment file");
    let moved = place.folder.path().join("moved.json");
    std::fs::rename(place.result(&ids[1]), &moved).unwrap();
    fails(&["again.toml", "--run", &ids[1]], "is not finished in runs; `lrlab run again.toml --run ");
    std::fs::rename(&moved, place.result(&ids[1])).unwrap();

    // A truncated line of a file.
    let records = place.records(place.folder.path());
    let text = std::fs::read_to_string(place.folder.path().join(records)).unwrap();
    std::fs::write(place.folder.path().join("cut.jsonl"), &text[..text.len() - 100]).unwrap();
    fails(&["--records", "cut.jsonl"], "cut.jsonl:4:");
    fails(&["--records", "none.jsonl"], "none.jsonl: No such file");
    fails(
        &["--records", records, "--run", &slip],
        &format!("records.jsonl has no finished run {slip}; the most similar"),
    );

    // Specification or data that are not those of the run: the other runs are verified.
    let was = place.change(&ids[0], |result| result["spec"]["lr"] = 0.5.into());
    let ran = place.verify(&["again.toml"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("cannot be verified: its record was changed: its specification"), "{}", ran.out);
    assert!(ran.out.ends_with("\n3 of 4 runs are identical, 1 cannot be verified\n"), "{}", ran.out);
    std::fs::write(place.result(&ids[0]), was.to_string()).unwrap();
    // Data of another generator: the run's id is that of the same specification with another digest.
    let mut moved = was;
    moved["provenance"]["dataset_digest"] = "other".into();
    let spec = lrlab_spec::RunSpec::deserialize(&moved["spec"]).unwrap();
    moved["run_id"] = lrlab_spec::run_id(&spec, "other").unwrap().to_string().into();
    std::fs::write(place.folder.path().join("moved.jsonl"), moved.to_string()).unwrap();
    let ran = place.verify(&["--records", "moved.jsonl"]);
    assert!(
        ran.code == 2
            && ran.out.contains("cannot be verified: its data differs on this machine: the digest is "),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(
        ran.out.contains(", other on record\n0 of 1 runs are identical, 1 cannot be verified"),
        "{}",
        ran.out
    );
}

/// A damaged run or model does not affect the others.
#[test]
fn damaged_results_and_models_do_not_affect_other_runs() {
    let place = Place::new();
    let ids = place.ids();
    let whole = std::fs::read(place.result(&ids[3])).unwrap();
    std::fs::write(place.result(&ids[3]), &whole[..whole.len() / 2]).unwrap();
    for args in
        [&["again.toml"][..], &["--run", &ids[3], "--run", &ids[0], "--run", &ids[1], "--run", &ids[2]]]
    {
        let ran = place.verify(args);
        assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
        let refused = ran.out.lines().find(|line| line.starts_with(&ids[3][..8])).unwrap();
        let words = format!("cannot be verified: runs/store/{}/result.json: damaged", ids[3]);
        assert!(refused.contains("  linear / ") && refused.contains(&words), "{refused}");
        assert!(ran.out.ends_with("\n3 of 4 runs are identical, 1 cannot be verified\n"), "{}", ran.out);
    }
    // Without the run's plan, only its id is known.
    std::fs::remove_file(place.result(&ids[3]).with_file_name("spec.json")).unwrap();
    let ran = place.verify(&["--run", &ids[3]]);
    assert!(ran.code == 2 && ran.out.starts_with(&format!("{}  cannot be verified: ", &ids[3][..8])));
    std::fs::write(place.result(&ids[3]), whole).unwrap();

    // A network that this runner does not have.
    let records = place.records(place.folder.path());
    let path = place.folder.path().join(records);
    let mut lines: Vec<Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let other = &mut lines[1];
    other["spec"]["model"] = serde_json::json!({ "custom": { "name": "theirs", "options": {} } });
    let spec = lrlab_spec::RunSpec::deserialize(&other["spec"]).unwrap();
    let digest = other["provenance"]["dataset_digest"].as_str().unwrap();
    let id = lrlab_spec::run_id(&spec, digest).unwrap().to_string();
    other["run_id"] = id.as_str().into();
    std::fs::write(&path, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let ran = place.verify(&["--records", records]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let failed = ran.out.lines().find(|line| line.starts_with(&id[..8])).unwrap();
    assert!(
        failed.contains("cannot be verified: preflight: this runner has no model \"theirs\""),
        "{failed}"
    );
    assert!(ran.out.ends_with("\n3 of 4 runs are identical, 1 cannot be verified\n"), "{}", ran.out);
}

/// The pruned runs of a search are redone as far as they were trained.
#[test]
fn pruned_runs_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let search = r#"
[search]
method = { halving = { trials = 3, rungs = ["1 epoch"], eta = 3 } }
[search.space]
lr = { log = { min = 1e-3, max = 1.0 } }
"#;
    std::fs::write(folder.path().join("again.toml"), format!("{EXPERIMENT}{search}")).unwrap();
    let part = ["again.toml", "--filter", "schedule=static", "--device", "cpu", "--threads", "1"];
    let ran = run(folder.path(), &[&["run"], &part[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let results = lrlab_tests::results(&folder.path().join("runs"));
    let pruned = results.values().filter(|result| result["outcome"] == "pruned").count();
    assert!(pruned == 2 && results.len() == 4, "{pruned} of {}", results.len());
    let ran = run(folder.path(), &[&["verify"], &part[..]].concat());
    assert_eq!(
        (ran.code, ran.out.lines().last()),
        (0, Some("4 of 4 runs are identical")),
        "{}{}",
        ran.out,
        ran.err
    );
}

/// An interruption reports the runs verified so far and removes the temporary store.
#[cfg(unix)]
#[test]
fn an_interruption_leaves_no_temporary_store() {
    use rustix::process::{Pid, kill_process};
    let place = Place::new();
    // A run that takes minutes, with a result that says it is done.
    let ran = run(
        place.folder.path(),
        &["run", "again.toml", "--set", "axes.epochs=[500000]", "--emit", "commands"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let plan = std::fs::read(place.folder.path().join("runs/again/plan.json")).unwrap();
    let long = serde_json::from_slice::<Value>(&plan).unwrap()["runs"][0].clone();
    let mut result = lrlab_tests::results(&place.folder.path().join("runs")).into_values().next().unwrap();
    for key in ["run_id", "cell", "spec"] {
        result[key] = long[key].clone();
    }
    result["provenance"]["dataset_digest"] = long["dataset_digest"].clone();
    std::fs::write(place.folder.path().join("long.jsonl"), result.to_string()).unwrap();

    let temporary = place.folder.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = runner(place.folder.path());
    command.env("TMPDIR", &temporary).args(["verify", "--records", "long.jsonl", "--device", "cpu"]);
    let process =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let started = |path: &PathBuf| path.ends_with("progress.json");
    while !files(&temporary).iter().any(started) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&process), ctrl_c()).unwrap();
    let ran = Ran::of(&process.wait_with_output().unwrap());
    assert_eq!(ran.code, 85, "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("  not redone\n0 of 1 runs are identical, 1 not redone\n"), "{}", ran.out);
    assert!(ran.err.contains("interrupted: the same command starts over"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}
