//! A run that continues a shorter one has the bits of a run from scratch.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lrlab_tests::slurm::{kill, wait};
use lrlab_tests::{Ran, SHARED, accounts_add_up, files, results, run, runner};
use serde_json::Value;

/// Two networks whose runs of 2, 3 and 6 epochs have the same beginning under four of five schedules; callbacks act on the
/// last update of a run, at the end of an epoch and on the average of the weights.
const EXPERIMENT: &str = r#"name = "longer"
[axes]
model = ["resnet", "lstm"]
schedule = ["static", "step", "exponential", "restarts", "cosine"]
monitor = ["on"]
epochs = [2, 6, 3]
seed = [0]
[defaults]
batch_size = 16
keep_top = 2
divergence = { explosion = 20.0, action = { rewind = {} } }
[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
set.lr = 0.1
set.optimizer = { sgd = { momentum = 0.9 } }
set.averaging = { ema = { decay = 0.9 } }
[models.lstm]
network = { lstm = { embedding = 8, hidden = 8 } }
data = "reviews"
set.lr = 0.01
set.optimizer = { adam = {} }
set.clip_norm = 1.0
set.averaging = { swa = { start = "1 epoch" } }
[data.pictures]
source = { synthetic_pictures = { train = 160, test = 40 } }
augment = { flip = true }
[data.reviews]
source = { synthetic_reviews = { train = 160, test = 40 } }
[schedules]
static = { static = {} }
step = { step = { step_size = "1 epoch", gamma = 0.5 } }
exponential = { exponential = { gamma = 0.9 } }
restarts = { cosine_warm_restarts = { t_0 = "1 epoch" } }
cosine = { cosine = { t_max = "100%" } }
[monitors.on]
controller = { plateau = { patience = 0, factor = 0.5 } }
metric = "val_loss"
"#;

const CPU: [&str; 6] = ["--device", "cpu", "--jobs", "2", "--threads", "1"];

fn grid(folder: &Path, args: &[&str]) -> Ran {
    let ran = run(folder, &[&["run", "longer.toml"], args, &CPU].concat());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    ran
}

/// The weights in the folders of the runs, by run and name.
fn weights(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let store = out.join("store");
    let all = files(&store).into_iter().filter(|path| {
        path.extension().is_some_and(|kind| kind == "safetensors")
            && path.strip_prefix(&store).is_ok_and(|path| path.components().count() == 2)
    });
    all.map(|path| (path.strip_prefix(&store).unwrap().to_path_buf(), std::fs::read(&path).unwrap()))
        .collect()
}

fn same(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (id, result) in ours {
        for key in SHARED.iter().chain(&["updates"]) {
            assert_eq!(result[key], theirs[id][key], "{key} of {}", result["cell"]);
        }
    }
}

fn executed<'a>(results: impl IntoIterator<Item = &'a Value>) -> u64 {
    results.into_iter().map(|result| result["timing"]["updates_executed"].as_u64().unwrap()).sum()
}

fn penultimate(out: &Path) -> usize {
    let folders = std::fs::read_dir(out.join("store")).unwrap().flatten().map(|run| run.path());
    let attempts = files(&out.join("store")).into_iter().filter(|path| {
        path.components().any(|part| part.as_os_str() == "attempts")
            && path.components().any(|part| part.as_os_str() == "penultimate")
    });
    assert_eq!(attempts.count(), 0);
    folders.filter(|run| run.join("penultimate").is_dir()).count()
}

#[test]
fn longer_runs_have_the_bits_of_runs_from_scratch() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("longer.toml"), EXPERIMENT).unwrap();
    let plan = run(folder.path(), &["plan", "longer.toml"]);
    // Four of the five schedules continue: 6 epochs continue 3, and 3 continue 2.
    assert!(
        plan.out
            .contains("longer: 16 runs continue shorter ones with the same beginning, which saves 40 epochs"),
        "{}",
        plan.out
    );
    assert_eq!(plan.out.matches(", continues ").count(), 16, "{}", plan.out);

    grid(folder.path(), &["--out", "scratch", "--from-scratch", "--keep", "all"]);
    let ran = grid(folder.path(), &["--out", "runs"]);
    assert_eq!(ran.err.matches(": continues ").count(), 16, "{}", ran.err);
    let [scratch, runs] = ["scratch", "runs"].map(|out| results(&folder.path().join(out)));
    assert_eq!(runs.len(), 30);
    same(&runs, &scratch);
    let (ours, theirs) = (weights(&folder.path().join("runs")), weights(&folder.path().join("scratch")));
    assert_eq!(ours.len(), 30 * 3, "the best, and two of the best epochs");
    for (name, bytes) in ours {
        assert!(theirs[&name] == bytes, "{}", name.display());
    }
    accounts_add_up(&runs);
    accounts_add_up(&scratch);
    for result in runs.values() {
        let (epochs, schedule) = (result["spec"]["epochs"].as_u64().unwrap(), &result["cell"]["schedule"]);
        let continued = &result["provenance"]["continued"];
        assert_eq!(continued.is_object(), epochs > 2 && schedule != "cosine", "{}", result["cell"]);
        if continued.is_object() {
            let shorter = &runs[continued["run_id"].as_str().unwrap()];
            assert_eq!(shorter["spec"]["epochs"].as_u64(), Some(if epochs == 3 { 2 } else { 3 }));
            let per_epoch = result["updates"]["per_epoch"].as_u64().unwrap();
            let longer = shorter["spec"]["epochs"].as_u64().unwrap() * per_epoch - 1;
            assert_eq!(continued["updates"].as_u64(), Some(longer));
            assert!(continued["work"]["train_s"].as_f64().unwrap() > 0.0);
        }
    }
    // Per schedule, 6 epochs and 2 repeated updates instead of 11 epochs.
    let continuing = |results: &BTreeMap<String, Value>| {
        executed(results.values().filter(|result| result["cell"]["schedule"] != "cosine"))
    };
    assert_eq!(continuing(&scratch), 8 * 11 * 8);
    assert_eq!(continuing(&runs), 8 * (6 * 8 + 2));
    assert_eq!(penultimate(&folder.path().join("runs")), 0, "what nobody needs is removed");
    assert_eq!(penultimate(&folder.path().join("scratch")), 30, "--keep all keeps it");

    let verified = run(
        folder.path(),
        &[&["verify", "longer.toml", "--out", "runs", "--sample", "3"], &CPU[..]].concat(),
    );
    assert_eq!(verified.code, 0, "{}\n{}", verified.out, verified.err);
    assert!(verified.out.contains("identical"), "{}", verified.out);

    let scratch = folder.path().join("scratch");
    let gc = |args: &[&str]| run(folder.path(), &[&["gc", "--out", "scratch"], args].concat()).out;
    let out = gc(&["--yes"]);
    assert!(out.contains("nothing to remove"), "{out}");
    let out = gc(&["--states"]);
    assert_eq!(out.matches("kept state").count(), 30, "{out}");
    let out = gc(&["--states", "--yes"]);
    assert!(out.contains("30 of 30 removed"), "{out}");
    assert_eq!((penultimate(&scratch), results(&scratch).len()), (0, 30));
}

#[test]
fn two_processes_share_shorter_runs() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = EXPERIMENT.replace("[\"resnet\", \"lstm\"]", "[\"resnet\"]");
    std::fs::write(folder.path().join("longer.toml"), narrow).unwrap();
    let grid = || {
        let mut command = runner(folder.path());
        command.args(["run", "longer.toml", "--out", "runs"]).args(CPU);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [grid(), grid()];
    for process in both {
        let ran = Ran::of(&process.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    }
    let runs = results(&folder.path().join("runs"));
    assert_eq!(runs.len(), 15);
    // No shared part is trained twice: see the test above.
    let continuing = runs.values().filter(|result| result["cell"]["schedule"] != "cosine");
    assert_eq!(executed(continuing), 4 * (6 * 8 + 2));
    assert_eq!(penultimate(&folder.path().join("runs")), 0);
}

/// The state of a shorter run is kept until the last run that continues it is done.
#[test]
fn several_runs_continue_one_shorter_run() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = EXPERIMENT
        .replace("[\"resnet\", \"lstm\"]", "[\"lstm\"]")
        .replace(
            "schedule = [\"static\", \"step\", \"exponential\", \"restarts\", \"cosine\"]",
            "schedule = [\"static\", \"step\"]",
        )
        .replace("monitor = [\"on\"]", "monitor = [\"off\"]")
        .replace("step_size = \"1 epoch\"", "step_size = \"3 epochs\"")
        .replace("epochs = [2, 6, 3]", "epochs = [2, 4]");
    std::fs::write(folder.path().join("longer.toml"), experiment).unwrap();
    for jobs in ["1", "2"] {
        let args = ["run", "longer.toml", "--out", jobs, "--jobs", jobs, "--threads", "1", "--device", "cpu"];
        let ran = run(folder.path(), &args);
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        assert_eq!(ran.err.matches(": continues ").count(), 2, "{}", ran.err);
        assert!(!ran.err.contains("cannot continue"), "{}", ran.err);
        assert_eq!(penultimate(&folder.path().join(jobs)), 0);
    }
}

#[test]
fn a_finished_grid_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("longer.toml");
    let narrow = EXPERIMENT.replace("[\"resnet\", \"lstm\"]", "[\"lstm\"]");
    let with = |epochs: &str| narrow.replace("epochs = [2, 6, 3]", &format!("epochs = [{epochs}]"));
    std::fs::write(&file, with("2")).unwrap();
    grid(folder.path(), &["--out", "runs", "--keep", "all"]);
    std::fs::write(&file, with("5")).unwrap();
    let ran = grid(folder.path(), &["--out", "runs"]);
    assert_eq!(ran.err.matches(": continues ").count(), 4, "{}", ran.err);
    grid(folder.path(), &["--out", "scratch", "--from-scratch"]);
    let scratch = results(&folder.path().join("scratch"));
    let mut runs = results(&folder.path().join("runs"));
    runs.retain(|id, _| scratch.contains_key(id));
    same(&runs, &scratch);
    // The states that --keep all kept remain for further runs.
    assert_eq!(penultimate(&folder.path().join("runs")), 5);

    // A damaged state is reported and not used.
    std::fs::write(&file, with("2")).unwrap();
    grid(folder.path(), &["--out", "damaged", "--keep", "all"]);
    for path in files(&folder.path().join("damaged")) {
        if path.ends_with("penultimate/tensors.safetensors") {
            std::fs::write(path, "x").unwrap();
        }
    }
    std::fs::write(&file, with("5")).unwrap();
    let ran = grid(folder.path(), &["--out", "damaged"]);
    assert_eq!(ran.err.matches("training starts at update 0").count(), 4, "{}", ran.err);
    assert!(ran.err.contains("tensors.safetensors is truncated"), "{}", ran.err);
    let mut runs = results(&folder.path().join("damaged"));
    runs.retain(|id, _| scratch.contains_key(id));
    same(&runs, &scratch);

    // A run with a damaged specification is no beginning, and does not get in the way of others.
    std::fs::write(&file, with("2")).unwrap();
    grid(folder.path(), &["--out", "unspecified", "--keep", "all"]);
    for path in files(&folder.path().join("unspecified")) {
        if path.ends_with("spec.json") {
            std::fs::write(path, "{").unwrap();
        }
    }
    grid(folder.path(), &["--out", "unspecified"]);
    std::fs::write(&file, with("5")).unwrap();
    let ran = grid(folder.path(), &["--out", "unspecified"]);
    assert_eq!(ran.err.matches(": continues ").count(), 0, "{}", ran.err);
    assert_eq!(run(folder.path(), &["gc", "--out", "unspecified"]).code, 0);
    let mut runs = results(&folder.path().join("unspecified"));
    runs.retain(|id, _| scratch.contains_key(id));
    same(&runs, &scratch);
}

#[test]
fn killed_runs_record_the_run_they_continued() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("longer.toml"), EXPERIMENT).unwrap();
    let args = ["--filter", "model=resnet", "--filter", "schedule=static"];
    let set = ["--set", "axes.epochs=[3, 60]", "--checkpoint-every", "3 updates"];
    grid(folder.path(), &[&args[..], &set[..4], &["--out", "alone", "--from-scratch"]].concat());
    let out = folder.path().join("runs");
    let mut command = runner(folder.path());
    command.args(["run", "longer.toml", "--out", "runs"]).args(args).args(set).args(CPU);
    let grid_process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait("a checkpoint of the longer run", 60, || {
        let all = files(&out.join("store"));
        let continued = all.iter().find(|path| path.ends_with("continued.json"))?;
        let checkpoints = continued.parent()?.join("checkpoints");
        std::fs::read_dir(checkpoints).ok()?.flatten().find(|folder| {
            // After the state from which the run started.
            folder.file_name().to_string_lossy().split('.').next().and_then(|n| n.parse::<u64>().ok())
                > Some(30)
        })
    });
    kill("-KILL", &grid_process.id().to_string());
    let _ = grid_process.wait_with_output();
    let ran = Ran::of(&command.stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("resumes at update"), "{}", ran.err);
    let (alone, runs) = (results(&folder.path().join("alone")), results(&out));
    same(&runs, &alone);
    let longer = runs.values().find(|result| result["spec"]["epochs"] == 60).unwrap();
    assert_eq!(longer["provenance"]["continued"]["updates"], 3 * 8 - 1, "{}", longer["provenance"]);
    assert_eq!(penultimate(&out), 0);
}
