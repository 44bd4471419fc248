//! The local executor with real child processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]
#![cfg(unix)]

mod common;

use std::time::Duration;

use common::{SUCCEED, execute, execute_observed, executions, run_dir, runs, store};
use lrlab_grid::{
    Acquired, Attempt, Ending, Failure, FailureKind, Finish, Interrupt, LocalExecutor, Notice, OnFailure,
    Others, Owner, RunState, Status, attempts, run_state, status,
};
use lrlab_runs::{Event, Outcome, Plan};

const TWO: LocalExecutor = LocalExecutor {
    jobs: 2,
    threads: Some(3),
    devices: 1,
    on_failure: OnFailure::KeepGoing,
    alike: 0,
    patience: Duration::from_mins(1),
    others: Others::Wait,
    deadline: None,
    silence: None,
};

fn plan(count: usize) -> Plan {
    let (experiment, description) = ("e".to_owned(), String::new());
    Plan { experiment, description, runs: runs(count), claims: serde_json::Value::Null }
}

fn finish(done: usize, executed: usize, missing: usize) -> Finish {
    Finish { done, executed, missing, ..Finish::default() }
}

#[test]
fn runs_are_done_once_and_not_again() {
    let (_folder, store) = store();
    let scripts = [SUCCEED; 5];
    assert_eq!(execute(&store, TWO, &scripts).unwrap(), finish(5, 5, 0));
    assert_eq!(execute(&store, TWO, &scripts).unwrap(), finish(5, 0, 0));
    for index in 0..5 {
        assert_eq!(executions(&store, index), 1);
        let ended = attempts(&run_dir(&store, index)).unwrap();
        assert!(matches!(&ended[..], [(1, Some(exit))] if exit.ending == Ending::Done), "{ended:?}");
    }
    let (status, _) = status(&store, &plan(6)).unwrap();
    assert_eq!(status, Status { total: 6, done: 5, missing: 1, ..Status::default() });
}

#[test]
fn events_reach_the_observer_and_the_rest_the_log() {
    let (_folder, store) = store();
    let script = format!(
        r#"echo '{{"event":"started","updates":7,"epochs":1}}'
        echo plain
        echo to stderr >&2
        echo "threads $RAYON_NUM_THREADS $THREADS"
        {SUCCEED}
        printf '{{"event":"finished","outcome":"completed"}}'"#
    );
    let mut seen = Vec::new();
    execute_observed(&store, TWO, &[&script], &Interrupt::default(), |run, notice| {
        assert_eq!(run, &runs(1)[0]);
        seen.push(match notice {
            Notice::Began { attempt } => format!("began {attempt}"),
            Notice::Said(Event::Started { updates, .. }) => format!("started {updates}"),
            Notice::Said(Event::Finished { outcome }) => {
                format!("finished {}", *outcome == Outcome::Completed)
            }
            Notice::Ended { ending: Ending::Done, again: false, left, .. } => {
                format!("done, left {}", left.runs)
            }
            other => format!("{other:?}"),
        });
    })
    .unwrap();
    assert_eq!(seen, ["began 1", "started 7", "finished true", "done, left 0"]);
    let log = std::fs::read_to_string(run_dir(&store, 0).join("attempts/1/log.txt")).unwrap();
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["plain", "threads 3 3", "to stderr"]);
}

#[test]
fn failures_are_classified_retried_within_budget_and_stop_nobody() {
    let (_folder, store) = store();
    let scripts = [
        "echo 'no such key' >&2; exit 2",
        "printf \"thread 'main' panicked at a.rs:1:1:\\nbroken\\n\" >&2; exit 101",
        "kill -9 $$",
        "exit 0",
        r#"echo '{"event":"failed","error":"bad batch"}'; exit 1"#,
        "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$",
        // A killed worker that does better the second time.
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

    // The same command again, after the mistakes were mended: only what failed is run.
    assert_eq!(execute(&store, TWO, &[SUCCEED; 8]).unwrap(), finish(8, 6, 0));
    assert_eq!((executions(&store, 1), executions(&store, 7)), (2, 1));
    assert!(!run_dir(&store, 1).join("failure.json").exists());
}

#[test]
fn fail_fast_stops_the_others_with_their_state_saved() {
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

#[test]
fn asked_once_workers_save_and_asked_twice_they_are_killed() {
    for (script, asks, code) in [("trap 'exit 85' TERM", 1, "saved"), ("trap '' TERM", 2, "killed")] {
        let (_folder, store) = store();
        let script = format!(
            "{script}; echo '{{\"event\":\"started\",\"updates\":1,\"epochs\":1}}'; while :; do sleep 0.02; done"
        );
        let interrupt = Interrupt::default();
        let end = execute_observed(&store, TWO, &[script.as_str(); 3], &interrupt, |_, notice| {
            if matches!(notice, Notice::Said(_)) {
                (0..asks).for_each(|_| interrupt.ask());
            }
        })
        .unwrap();
        assert_eq!((end.done, end.failed.len(), end.missing, end.interrupted), (0, 0, 3, true), "{code}");
        assert_eq!(execute(&store, TWO, &[SUCCEED; 3]).unwrap(), finish(3, 3, 0), "{code}");
    }
}

#[test]
fn a_worker_that_cannot_be_started_is_an_error_of_the_grid() {
    let (_folder, store) = store();
    let command = lrlab_grid::WorkerCommand { program: "/no/such/runner".into(), ..Default::default() };
    let end = TWO.run(&store, &runs(1), &Interrupt::default(), |_| command.clone(), |_, _| {});
    assert!(end.unwrap_err().to_string().contains("/no/such/runner"));
    assert_eq!(run_state(&store, &runs(1)[0]).unwrap(), RunState::Missing);
}

#[test]
fn two_executors_at_once_share_the_work() {
    let (_folder, store) = store();
    let script = format!("sleep 0.05; {SUCCEED}");
    let scripts = [script.as_str(); 8];
    let ends: Vec<Finish> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| execute(&store, TWO, &scripts).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((ends[0].done, ends[1].done), (8, 8));
    assert_eq!(ends[0].executed + ends[1].executed, 8);
    assert!((0..8).all(|index| executions(&store, index) == 1));
}

/// A claim by a process on another machine.
fn claim_from_afar(store: &lrlab_runs::RunStore) {
    let Acquired::Attempt(attempt) = Attempt::claim(&run_dir(store, 0), 1).unwrap() else { panic!("taken") };
    let owner = Owner { host: "far".to_owned(), realm: Some("another boot".to_owned()), ..Owner::current() };
    std::fs::write(attempt.folder().join("claim.json"), serde_json::to_vec(&owner).unwrap()).unwrap();
    std::mem::forget(attempt);
}

#[test]
fn a_silent_claim_from_afar_is_taken_over() {
    let (_folder, store) = store();
    claim_from_afar(&store);
    let state = run_state(&store, &runs(1)[0]).unwrap();
    assert!(
        matches!(state, RunState::Running { ref owner, attempt: 1, .. } if owner.host == "far"),
        "{state:?}"
    );
    let executor = LocalExecutor { patience: Duration::from_millis(500), ..TWO };
    assert_eq!(execute(&store, executor, &[SUCCEED]).unwrap(), finish(1, 1, 0));
    assert_eq!(attempts(&run_dir(&store, 0)).unwrap().len(), 2);
}

#[test]
fn what_another_process_ends_meanwhile_is_not_run_again() {
    let failure = Failure {
        attempt: 1,
        kind: FailureKind::Panic,
        code: Some(101),
        signal: None,
        message: "far away".to_owned(),
        log_tail: String::new(),
    };
    let exit = serde_json::json!({ "ending": { "failed": failure }, "seconds": 1.0 }).to_string();
    for (file, content, expected) in [
        ("result.json", "{}", finish(1, 0, 0)),
        ("attempts/1/exit.json", exit.as_str(), Finish { failed: vec![(0, failure)], ..finish(0, 0, 0) }),
    ] {
        let (_folder, store) = store();
        claim_from_afar(&store);
        let path = run_dir(&store, 0).join(file);
        let mut waited = false;
        let end = execute_observed(&store, TWO, &[SUCCEED], &Interrupt::default(), |_, notice| {
            if let Notice::Elsewhere(Some(owner)) = notice {
                assert_eq!(owner.host, "far");
                waited = true;
                std::fs::write(&path, content).unwrap();
            }
        });
        assert_eq!(end.unwrap(), expected, "{file}");
        assert!(waited && executions(&store, 0) == 0);
    }
}
