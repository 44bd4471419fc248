//! The local executor with real child processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod interrupts;
mod memory;
mod others;

use std::time::Duration;

use common::{SUCCEED, execute, execute_observed, executions, run_dir, runs, store};
use lrlab_grid::{
    Ending, GridOutcome, Interrupt, LocalExecutor, Notice, OnFailure, Others, RunState, Status, attempts,
    run_state, status,
};
use lrlab_runs::{Event, Outcome, Plan};

const TWO: LocalExecutor = LocalExecutor {
    jobs: 2,
    threads: Some(3),
    devices: 1,
    on_failure: OnFailure::KeepGoing,
    common_failures: 0,
    claim_timeout: Duration::from_mins(1),
    others: Others::Wait,
    deadline: None,
    silence: None,
};

fn plan(count: usize) -> Plan {
    let (experiment, description) = ("e".to_owned(), String::new());
    Plan { experiment, description, runs: runs(count), ..Plan::default() }
}

fn finish(done: usize, executed: usize, missing: usize) -> GridOutcome {
    GridOutcome { done, executed, missing, started: executed, ..GridOutcome::default() }
}

#[test]
fn finished_runs_are_not_repeated() {
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
fn events_reach_the_observer_and_other_output_the_log() {
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
            Notice::Started { attempt } => format!("began {attempt}"),
            Notice::Event(Event::Started { updates, .. }) => format!("started {updates}"),
            Notice::Event(Event::Finished { outcome }) => {
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
fn unstartable_workers_are_an_error_of_the_grid() {
    let (_folder, store) = store();
    let command = lrlab_grid::WorkerCommand { program: "/no/such/runner".into(), ..Default::default() };
    let end = TWO.run(&store, &runs(1), &Interrupt::default(), |_| command.clone(), |_, _| {});
    assert!(end.unwrap_err().to_string().contains("/no/such/runner"));
    assert_eq!(run_state(&store, &runs(1)[0]).unwrap(), RunState::Missing);
}
