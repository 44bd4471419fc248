//! Kinds of failures, their retries, and failures that stop the grid.

use std::time::Duration;

use lrlab_grid::{
    Ending, Failure, FailureKind, GridOutcome, LocalExecutor, OnFailure, RunState, Status, attempts,
    run_state, status,
};

use crate::common::{SUCCEED, execute, executions, run_dir, runs, store};
use crate::{TWO, finish, plan};

#[test]
fn failures_are_classified_and_retried_and_do_not_stop_other_runs() {
    let (_folder, store) = store();
    let scripts = [
        "echo 'no such key' >&2; exit 2",
        "printf \"thread 'main' panicked at a.rs:1:1:\\nbroken\\n\" >&2; exit 101",
        "kill -9 $$",
        "exit 0",
        r#"echo '{"event":"failed","error":"bad batch"}'; exit 1"#,
        "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$",
        // A killed worker that succeeds the second time.
        &format!("test -e \"$RUN/attempts/2\" || kill -9 $$\n{SUCCEED}"),
        SUCCEED,
    ];
    let end = execute(&store, TWO, &scripts).unwrap();
    assert_eq!((end.done, end.executed, end.missing, end.interrupted), (2, 2, 0, false));
    let mut failed = end.failed.clone();
    failed.sort_by_key(|(index, _)| *index);
    let facts: Vec<_> = failed.iter().map(|(i, f)| (*i, f.kind, f.attempt, executions(&store, *i))).collect();
    assert_eq!(
        facts,
        [
            (0, FailureKind::Configuration, 1, 1),
            (1, FailureKind::Panic, 1, 1),
            (2, FailureKind::Killed, 4, 4),
            (3, FailureKind::NoResult, 1, 1),
            (4, FailureKind::Error, 1, 1),
            (5, FailureKind::OutOfMemory, 2, 2),
        ]
    );
    assert_eq!(failed[1].1.message, "broken (ended with code 101)");
    assert_eq!(failed[4].1.message, "bad batch (ended with code 1)");
    assert_eq!(executions(&store, 6), 2);

    let (status, states) = status(&store, &plan(8)).unwrap();
    assert_eq!(status, Status { total: 8, done: 2, failed: 6, ..Status::default() });
    assert_eq!(states[1], RunState::Failed(Box::new(failed[1].1.clone())));
    let written = std::fs::read(run_dir(&store, 1).join("failure.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Failure>(&written).unwrap(), failed[1].1);

    // After the causes were removed, the same command does only the failed runs.
    assert_eq!(execute(&store, TWO, &[SUCCEED; 8]).unwrap(), finish(8, 6, 0));
    assert_eq!((executions(&store, 1), executions(&store, 7)), (2, 1));
    assert!(!run_dir(&store, 1).join("failure.json").exists());
}

#[test]
fn fail_fast_stops_other_runs_after_saving() {
    let (_folder, store) = store();
    let executor = LocalExecutor { on_failure: OnFailure::FailFast, ..TWO };
    let waits = "trap 'exit 85' TERM; : > \"$RUN/up\"; while :; do sleep 0.02; done";
    let up = run_dir(&store, 1).join("up");
    let fails = format!("while ! test -e {}; do sleep 0.02; done; exit 1", up.display());
    let end = execute(&store, executor, &[&fails, waits, SUCCEED]).unwrap();
    assert_eq!((end.done, end.failed.len(), end.missing, end.interrupted), (0, 1, 2, false));
    assert_eq!((executions(&store, 1), executions(&store, 2)), (1, 0));
    assert_eq!(run_state(&store, &runs(2)[1]).unwrap(), RunState::Missing);
    assert_eq!(attempts(&run_dir(&store, 1)).unwrap()[0].1.clone().unwrap().ending, Ending::Interrupted);
}

/// Runs one run with one script; returns the kind of its failure and the number of its starts.
fn given_up(executor: LocalExecutor, script: &str) -> (Option<FailureKind>, usize) {
    let (_folder, store) = store();
    let end = execute(&store, executor, &[script]).unwrap();
    (end.failed.first().map(|(_, failure)| failure.kind), executions(&store, 0))
}

#[test]
fn every_kind_of_failure_has_its_retries() {
    let quiet = LocalExecutor { silence: Some(Duration::from_millis(300)), ..TWO };
    std::thread::scope(|scope| {
        let cases = [
            (TWO, "echo 'error: no such key' >&2; exit 2", FailureKind::Configuration, 1),
            (TWO, "printf \"thread 'main' panicked at a:1:1:\\nno\\n\" >&2; exit 101", FailureKind::Panic, 1),
            (
                TWO,
                "echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$",
                FailureKind::OutOfMemory,
                2,
            ),
            (TWO, "echo 'x: No space left on device (os error 28)' >&2; exit 1", FailureKind::Io, 4),
            (TWO, "kill -9 $$", FailureKind::Killed, 4),
            (quiet, "sleep 60", FailureKind::Timeout, 3),
        ];
        for (executor, script, kind, times) in cases {
            scope.spawn(move || assert_eq!(given_up(executor, script), (Some(kind), times), "{script}"));
        }
    });
}

/// Reports as many updates as there were earlier starts and is killed, except the last time.
#[test]
fn runs_that_make_progress_are_always_retried() {
    let (_folder, store) = store();
    let script = format!(
        r#"n=$(wc -l < "$RUN/executions")
        echo '{{"event":"started","updates":9,"epochs":1}}'
        echo "{{\"event\":\"progress\",\"update\":$n,\"loss\":1.0,\"lr\":0.1}}"
        [ "$n" -lt 7 ] && kill -9 $$
        {SUCCEED}"#
    );
    assert_eq!(execute(&store, TWO, &[&script]).unwrap(), GridOutcome { started: 7, ..finish(1, 1, 0) });
    let reached: Vec<_> =
        attempts(&run_dir(&store, 0)).unwrap().into_iter().map(|(_, exit)| exit.unwrap().updates).collect();
    assert_eq!(reached, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn repeated_first_failures_stop_the_grid() {
    let (_folder, store) = store();
    let executor = LocalExecutor { jobs: 1, common_failures: 3, ..TWO };
    let end = execute(&store, executor, &["echo 'error: no GPU' >&2; exit 2"; 8]).unwrap();
    assert_eq!((end.failed.len(), end.missing, end.interrupted), (3, 5, false));
    assert_eq!(end.common_failure.as_deref(), Some("no GPU (ended with code 2)"));
}
