//! A grid on a real Slurm of one node: a worker is killed, another is requeued at its time limit, the controller is
//! killed and restarted, and the report equals that of a local grid.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use lrlab_tests::run;
use lrlab_tests::slurm::{Slurm, kill, processes, wait};
use serde_json::Value;

const EXPERIMENT: &str = r#"name = "short"
description = "Twenty-four short runs."

[axes]
model = ["resnet"]
schedule = ["static", "cosine"]
monitor = ["off", "on"]
epochs = [3, 4]
seed = [0, 1, 2]

[defaults]
lr = 0.01
batch_size = 16
optimizer = { adam = {} }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 160, test = 40 } }

[schedules.static]
static = {}
[schedules.cosine]
cosine = {}
[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0 } }
"#;

/// The save signal comes 110 s before the limit: with a limit of two minutes, after ten seconds.
const PROFILE: &str = "time = \"10\"\nsave_before = \"1:50\"\nmax_tasks = 3\n";

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The newest attempt of task `task` of a job: the run's folder, its owner, the attempt's folder.
fn at_work(store: &Path, job: &str) -> Option<(PathBuf, Value, PathBuf)> {
    for run in std::fs::read_dir(store.join("store")).ok()?.flatten() {
        for attempt in std::fs::read_dir(run.path().join("attempts")).into_iter().flatten().flatten() {
            let owner = json(&attempt.path().join("claim.json")).unwrap_or_default();
            let ours = owner["slurm"]["job"] == job && !attempt.path().join("exit.json").exists();
            if ours && !run.path().join("result.json").exists() && attempt.path().join("work.json").exists() {
                return Some((run.path(), owner, attempt.path()));
            }
        }
    }
    None
}

/// The process of an attempt's folder `…/<run>/attempts/<n>`.
fn worker(attempt: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let all = processes(&["--run", &name(attempt.ancestors().nth(2)?)?]);
    let numbered = processes(&["--attempt", &name(attempt)?]);
    all.into_iter().find(|pid| numbered.contains(pid))
}

/// Every result of a store by run id, without the values that may differ.
fn results(store: &Path) -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(store.join("store")).unwrap().flatten();
    entries
        .map(|run| {
            let mut result = json(&run.path().join("result.json")).unwrap();
            let object = result.as_object_mut().unwrap();
            object.remove("timing");
            object.remove("provenance");
            (run.file_name().to_string_lossy().into_owned(), result)
        })
        .collect()
}

/// The report's numbers and figures, without clocks and digests of results, which contain clocks.
fn report(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for kind in ["tables", "figures"] {
        for file in std::fs::read_dir(store.join("short/report").join(kind)).unwrap().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !name.starts_with("cost.") && !name.starts_with("runs.") {
                files.insert(name, std::fs::read(file.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_grid_on_slurm_gives_the_local_report() {
    let folder = tempfile::tempdir().unwrap();
    let Some(slurm) = Slurm::start(folder.path().join("slurm")) else { return };
    std::fs::write(folder.path().join("short.toml"), EXPERIMENT).unwrap();
    std::fs::write(folder.path().join("profile.toml"), PROFILE).unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));

    let own = ["run", "short.toml", "--out", "here", "--device", "cpu", "--threads", "1"];
    let alone = run(folder.path(), &own);
    assert_eq!(alone.code, 0, "{}", alone.err);

    let on_slurm =
        ["run", "short.toml", "--out", "there", "--device", "cpu", "--threads", "1", "--executor", "slurm"];
    let call = |more: &[&str]| {
        slurm.lrlab(folder.path(), &[&on_slurm[..], &["--slurm-profile", "profile.toml"], more].concat())
    };
    let submit = || call(&[]);
    let dry = call(&["--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("#SBATCH --array=0-2\n"), "{}\n{}", dry.out, dry.err);
    assert!(slurm.ask("squeue", &["--noheader"]).is_empty());

    let submitted = submit();
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    let submission = there.join("short/slurm/attempts/1");
    let record = json(&submission.join("submission.json")).unwrap();
    let job = record["arrays"][0]["job"].as_u64().unwrap();
    let task = |n: u32| format!("{job}_{n}");

    // One worker is stopped in the middle of a run.
    let (held_run, held, pid) = wait("a run of task 1 that can be held", 60, || {
        let (run, _, attempt) = at_work(&there, &task(1))?;
        let pid = worker(&attempt)?;
        Command::new("kill").args(["-STOP", &pid]).status().ok()?;
        // The run may have ended just before.
        let over = run.join("result.json").exists() || worker(&attempt).is_none();
        (!over).then_some((run, attempt, pid))
    });
    let held_at = SystemTime::now();
    // Another worker is killed together with the process of its run.
    let (lost_run, owner, lost) = wait("a run of task 0", 60, || at_work(&there, &task(0)));
    kill("-KILL", &owner["pid"].to_string());

    // The same command submits nothing twice.
    let again = submit();
    assert_eq!(again.code, 3, "{}\n{}", again.out, again.err);
    assert!(!there.join("short/slurm/attempts/2").exists(), "{}", again.out);

    // The remaining workers do all other runs.
    wait("the end of the lost run", 120, || lost_run.join("result.json").is_file().then_some(()));
    assert!(!lost.join("exit.json").exists());
    // A controller that is killed before it has saved the start of a job would start the job again.
    let saved = slurm.folder.join("state/job_state");
    wait("Slurm to save its state", 60, || (saved.metadata().ok()?.modified().ok()? > held_at).then_some(()));
    slurm.restart_controller();
    wait("the controller", 60, || slurm.ask("scontrol", &["ping"]).contains("is UP").then_some(()));
    // The stopped worker gets an early time limit.
    let _ = slurm.ask("scontrol", &["update", &format!("jobid={}", task(1)), "timelimit=2"]);
    let log = submission.join("log/default-1.txt");
    wait("the signal before the time limit", 110, || {
        std::fs::read_to_string(&log).ok()?.contains("the time limit is near").then_some(())
    });
    kill("-CONT", &pid);
    wait("the job to be queued again", 30, || {
        slurm.ask("scontrol", &["show", "job", &task(1)]).contains("Restarts=1").then_some(())
    });
    assert!(!held_run.join("result.json").exists());
    assert_eq!(json(&held.join("exit.json")).unwrap()["ending"], "interrupted");
    let _ = slurm.ask("scontrol", &["update", &format!("jobid={}", task(1)), "timelimit=10"]);
    // Slurm delays a requeued job by two minutes, again after it has cleaned up the first start.
    wait("the end of all jobs", 240, || {
        let over = slurm.ask("squeue", &["--noheader"]).is_empty();
        if !over {
            let _ = slurm.ask("scontrol", &["update", &format!("jobid={}", task(1)), "starttime=now"]);
            std::thread::sleep(Duration::from_secs(1));
        }
        over.then_some(())
    });

    assert!(std::fs::read_to_string(&log).unwrap().contains("start 2"));
    assert!(there.join("short/report/report.html").is_file());
    let (alone, together) = (results(&here), results(&there));
    assert_eq!((alone.len(), &alone), (24, &together));
    assert_eq!(report(&here), report(&there));
    let over = submit();
    assert_eq!(
        (over.code, over.out.contains("24 of 24 runs are done")),
        (0, true),
        "{}\n{}",
        over.out,
        over.err
    );
}
