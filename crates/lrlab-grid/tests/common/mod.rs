//! A store of made-up runs whose workers are shell scripts.
#![cfg(unix)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

use lrlab_grid::{Assignment, Error, GridOutcome, Interrupt, LocalExecutor, Notice, WorkerCommand};
use lrlab_runs::{PlannedRun, RunId, RunStore};
use serde_json::json;

/// The first command of every worker: it counts the start. `$RUN` is the run's folder, `$ATTEMPT` the attempt's.
const BEGIN: &str = "echo x >> \"$RUN/executions\"\n";

/// Writes a result and exits successfully.
pub(crate) const SUCCEED: &str = r#"
echo '{"run_id": "'"${RUN##*/}"'", "cell": {}, "spec": {}, "outcome": "completed", "history": [{}], "final": {}, "best": {}, "decisions": [], "timing": {"started": 1.0, "finished": 3.0}, "provenance": {}}' > "$ATTEMPT/r" && mv "$ATTEMPT/r" "$RUN/result.json"
"#;

pub(crate) fn store() -> (tempfile::TempDir, RunStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    (folder, store)
}

/// Runs named by their index; the worker of each is a script.
pub(crate) fn runs(count: usize) -> Vec<PlannedRun> {
    (0..count)
        .map(|index| PlannedRun {
            run_id: RunId::of(&index.to_string(), "data"),
            cell: [("model".to_owned(), json!(index)), ("seed".to_owned(), json!(0))].into(),
            spec: json!({ "model": "m", "epochs": 1 }).into(),
            dataset_digest: "data".to_owned(),
        })
        .collect()
}

/// The worker that runs `script` for a run.
pub(crate) fn shell(store: &RunStore, assignment: &Assignment<'_>, script: &str) -> WorkerCommand {
    WorkerCommand {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), format!("{BEGIN}{script}").into()],
        env: vec![
            ("RUN".into(), store.run_dir(&assignment.run.run_id).into()),
            ("ATTEMPT".into(), assignment.folder.into()),
            ("THREADS".into(), assignment.threads.to_string().into()),
        ],
    }
}

/// Runs the grid; `scripts[i]` is the worker of run `i`.
pub(crate) fn execute(
    store: &RunStore,
    executor: LocalExecutor,
    scripts: &[&str],
) -> Result<GridOutcome, Error> {
    execute_observed(store, executor, scripts, &Interrupt::default(), |_, _| {})
}

pub(crate) fn execute_observed(
    store: &RunStore,
    executor: LocalExecutor,
    scripts: &[&str],
    interrupt: &Interrupt,
    observe: impl FnMut(&PlannedRun, Notice<'_>),
) -> Result<GridOutcome, Error> {
    let runs = runs(scripts.len());
    let script = |run: &PlannedRun| scripts[run.cell["model"].as_u64().unwrap() as usize];
    executor.run(store, &runs, interrupt, |a| shell(store, a, script(a.run)), observe)
}

/// The number of starts of the worker of run `index`.
pub(crate) fn executions(store: &RunStore, index: usize) -> usize {
    let path = run_dir(store, index).join("executions");
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

pub(crate) fn run_dir(store: &RunStore, index: usize) -> PathBuf {
    store.run_dir(&runs(index + 1)[index].run_id)
}

/// Waits until `path` exists; the test's time limit bounds the wait.
pub(crate) fn wait_for(path: &Path) {
    for _ in 0..1200 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{} never came", path.display());
}
