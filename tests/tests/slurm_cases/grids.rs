//! Grids on a real Slurm: a search, scripts submitted by hand, cancelled jobs, and the end at the first failure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lrlab_tests::slurm::{kill, processes, wait};
use lrlab_tests::{Ran, SHARED, files, results};
use serde_json::Value;

use super::{GRID, Place};

const SEARCH: &str = r#"
[search]
method = { halving = { rungs = ["1 epoch", "3 epochs"], eta = 3 } }
metric = "val_loss"
space.lr = { log = { min = 1e-6, max = 1e-1, points = 9 } }
"#;

/// Every result of a store by run id, reduced to [`SHARED`].
fn shared(store: &Path) -> BTreeMap<String, Vec<Value>> {
    let all = results(store).into_iter();
    all.map(|(id, result)| (id, SHARED.map(|key| result[key].clone()).to_vec())).collect()
}

fn table(store: &Path, name: &str) -> String {
    std::fs::read_to_string(store.join("cases/report/tables").join(name)).unwrap()
}

#[test]
fn a_search_on_slurm_gives_the_local_results() {
    let text = GRID
        .replace("EPOCHS", "9")
        .replace("[0, 1, 2, 3]", "[0, 1]")
        .replace("schedule = [\"static\"]", "schedule = [\"static\", \"cosine\"]");
    let Some(place) = Place::new(&(text + SEARCH)) else { return };
    let alone = place.here("here");
    assert_eq!(alone.code, 0, "{}", alone.err);

    let dry = place.there(&["--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("#SBATCH --array=0-2\n"), "{}\n{}", dry.out, dry.err);
    let submitted = place.there(&[]);
    assert_eq!(submitted.code, 3, "{}\n{}", submitted.out, submitted.err);
    // No process waits, and one worker is killed.
    let there = place.path("there");
    let submission = place.submission(1).with_file_name("");
    let folder = submission.display().to_string();
    let lost = wait("a task", 60, || processes(&["--submission", folder.trim_end_matches('/')]).pop());
    kill("-KILL", &lost);
    let again = place.there(&[]);
    assert!(matches!(again.code, 0 | 3), "{}\n{}", again.out, again.err);
    place.slurm().idle(180);
    assert_eq!(shared(&place.path("here")), shared(&there));
    for name in ["search.csv", "trials.csv", "results.csv"] {
        assert_eq!(table(&place.path("here"), name), table(&there, name), "{name}");
    }
    let over = place.there(&[]);
    assert_eq!(over.code, 0, "{}\n{}", over.out, over.err);
    let status = place.status();
    assert_eq!(status["status"]["missing"], 0, "{status:#}");
    assert_eq!((&status["status"]["pruned"], &status["status"]["unneeded"]), (&16.into(), &16.into()));

    // The same with `--wait`.
    std::fs::remove_dir_all(&there).unwrap();
    let waited = place.there(&["--wait"]);
    assert_eq!(waited.code, 0, "{}\n{}", waited.out, waited.err);
    assert_eq!(shared(&place.path("here")), shared(&there));
}

#[test]
fn scripts_can_be_submitted_by_hand_and_cancelled_jobs_restart() {
    let Some(place) = Place::new(&GRID.replace("EPOCHS", "60")) else { return };
    let emitted = place.there(&["--emit", "slurm"]);
    assert_eq!(emitted.code, 0, "{}\n{}", emitted.out, emitted.err);
    // Paths relative to the user's folder.
    let paths = emitted.out.lines().filter_map(|line| line.strip_prefix("# "));
    let paths: Vec<String> = paths.map(|path| place.path(path).display().to_string()).collect();
    assert_eq!(paths.len(), 2, "{}", emitted.out);
    assert!(place.slurm().ask("squeue", &["--noheader"]).is_empty(), "nothing is submitted");
    let job = place.slurm().ask("sbatch", &["--parsable", &paths[0]]).trim().to_owned();
    assert!(!job.is_empty(), "{paths:?}");
    let after = format!("--dependency=afterany:{job}");
    assert!(!place.slurm().ask("sbatch", &["--parsable", &after, &paths[1]]).trim().is_empty());
    // Status finds the jobs by their names.
    let again = place.there(&[]);
    assert!(again.code == 3 && !place.submission(2).exists(), "{}\n{}", again.out, again.err);

    wait("a run at work", 60, || {
        files(&place.path("there/store")).iter().any(|path| path.ends_with("work.json")).then_some(())
    });
    let _ = place.slurm().ask("scancel", &[&job]);
    // The report job submits the missing runs.
    wait("the second submission", 60, || place.submission(2).exists().then_some(()));
    place.slurm().idle(180);
    assert_eq!(place.here("here").code, 0);
    assert_eq!(shared(&place.path("here")), shared(&place.path("there")));
}

#[test]
fn fail_fast_ends_the_grid_on_slurm() {
    // As many runs as tasks, so that a retried run does not wait for another.
    let text = GRID.replace("EPOCHS", "1000000").replace("[0, 1, 2, 3]", "[0, 1, 2]");
    let Some(place) = Place::new(&text) else { return };
    let mut waiting = place.slurm().runner(place.folder.path());
    let more = ["--executor", "slurm", "--slurm-profile", "site.toml", "--wait", "--fail-fast"];
    let waiting = waiting.args(Place::arguments("there", &more));
    let waiting = waiting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let waiting = waiting.spawn().unwrap();
    let first = wait("a run at work", 60, || {
        let work = files(&place.path("there/store")).into_iter().find(|path| path.ends_with("work.json"))?;
        Some(work.ancestors().nth(3)?.file_name()?.to_string_lossy().into_owned())
    });
    // The run is killed at every start.
    let over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for pid in processes(&["--run", &first]) {
                    let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let output = waiting.wait_with_output().unwrap();
        over.store(true, Ordering::Relaxed);
        output
    });
    let ran = Ran::of(&output);
    assert_eq!(ran.code, 1, "{}\n{}", ran.out, ran.err);
    place.slurm().idle(60);
    let status = place.status();
    assert_eq!(
        (&status["status"]["failed"], &status["status"]["missing"]),
        (&1.into(), &2.into()),
        "{status:#}"
    );
    assert!(!place.submission(2).exists(), "nothing is submitted again");
}
