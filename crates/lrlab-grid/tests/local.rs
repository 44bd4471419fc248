//! The local executor with real child processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]
#![cfg(unix)]

mod common;

use std::time::{Duration, Instant};

use common::{SUCCEED, execute, execute_observed, executions, run_dir, runs, store};
use lrlab_grid::{
    Acquired, Attempt, Deadline, Ending, Failure, FailureKind, GridOutcome, Interrupt, LocalExecutor, Memory,
    Notice, OnFailure, Others, Owner, RunState, Status, Workload, attempts, catchable, run_state, status,
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

/// `scancel` and a closed terminal signal every process at once: a worker may die of the signal before it handles it,
/// and before the executor has received it too.
#[test]
fn workers_stopped_with_their_executor_have_not_failed() {
    for (number, signal) in [(15, "TERM"), (2, "INT"), (1, "HUP")] {
        if catchable(&[number]).is_empty() {
            eprintln!("skipped: this process was started to ignore SIG{signal}, and so are its children");
            continue;
        }
        let (_folder, store) = store();
        let interrupt = Interrupt::default();
        let end = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !run_dir(&store, 0).join("attempts/1/claim.json").exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(Duration::from_millis(300));
                interrupt.request();
            });
            execute_observed(&store, TWO, &[&format!("kill -{signal} $$")], &interrupt, |_, _| {}).unwrap()
        });
        assert!(end.interrupted && end.failed.is_empty(), "{signal}: {end:?}");
        let ended = attempts(&run_dir(&store, 0)).unwrap();
        assert!(matches!(&ended[..], [(1, Some(exit))] if exit.ending == Ending::Interrupted), "{ended:?}");
        assert!(!run_dir(&store, 0).join("failure.json").exists());
        // The executor got no signal: the run failed, and used all its retries.
        let end = execute(&store, TWO, &[&format!("kill -{signal} $$")]).unwrap();
        assert_eq!(end.failed[0].1.kind, FailureKind::Killed, "{signal}: {end:?}");
    }
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

#[test]
fn the_first_interrupt_saves_and_the_second_kills() {
    for (script, asks, code) in [("trap 'exit 85' TERM", 1, "saved"), ("trap '' TERM", 2, "killed")] {
        let (_folder, store) = store();
        let script = format!(
            "{script}; echo '{{\"event\":\"started\",\"updates\":1,\"epochs\":1}}'; while :; do sleep 0.02; done"
        );
        let interrupt = Interrupt::default();
        let end = execute_observed(&store, TWO, &[script.as_str(); 3], &interrupt, |_, notice| {
            if matches!(notice, Notice::Event(_)) {
                (0..asks).for_each(|_| interrupt.request());
            }
        })
        .unwrap();
        assert_eq!((end.done, end.failed.len(), end.missing, end.interrupted), (0, 0, 3, true), "{code}");
        assert_eq!(execute(&store, TWO, &[SUCCEED; 3]).unwrap(), finish(3, 3, 0), "{code}");
    }
}

#[test]
fn unstartable_workers_are_an_error_of_the_grid() {
    let (_folder, store) = store();
    let command = lrlab_grid::WorkerCommand { program: "/no/such/runner".into(), ..Default::default() };
    let end = TWO.run(&store, &runs(1), &Interrupt::default(), |_| command.clone(), |_, _| {});
    assert!(end.unwrap_err().to_string().contains("/no/such/runner"));
    assert_eq!(run_state(&store, &runs(1)[0]).unwrap(), RunState::Missing);
}

#[test]
fn two_executors_share_the_runs() {
    let (_folder, store) = store();
    let script = format!("sleep 0.05; {SUCCEED}");
    let scripts = [script.as_str(); 8];
    let ends: Vec<GridOutcome> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| execute(&store, TWO, &scripts).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((ends[0].done, ends[1].done), (8, 8));
    assert_eq!(ends[0].executed + ends[1].executed, 8);
    assert!((0..8).all(|index| executions(&store, index) == 1));
}

/// A claim by a process on another machine.
fn remote_claim(store: &lrlab_runs::RunStore) {
    let Acquired::Attempt(attempt) = Attempt::claim(&run_dir(store, 0), 1).unwrap() else { panic!("taken") };
    let owner = Owner { host: "far".to_owned(), realm: Some("another boot".to_owned()), ..Owner::current() };
    std::fs::write(attempt.folder().join("claim.json"), serde_json::to_vec(&owner).unwrap()).unwrap();
    std::mem::forget(attempt);
}

#[test]
fn stale_claims_of_other_machines_are_taken_over() {
    let (_folder, store) = store();
    remote_claim(&store);
    let state = run_state(&store, &runs(1)[0]).unwrap();
    assert!(
        matches!(state, RunState::Running { ref owner, attempt: 1, .. } if owner.host == "far"),
        "{state:?}"
    );
    let executor = LocalExecutor { claim_timeout: Duration::from_millis(500), ..TWO };
    assert_eq!(execute(&store, executor, &[SUCCEED]).unwrap(), finish(1, 1, 0));
    assert_eq!(attempts(&run_dir(&store, 0)).unwrap().len(), 2);
}

/// The file server's clock may be hours ahead or behind: a claim is stale if its modification time does not change,
/// whatever that time is.
#[test]
fn clock_differences_do_not_make_claims_stale() {
    let hour = Duration::from_hours(1);
    for (skewed, what) in
        [(std::time::SystemTime::now() + hour, "ahead"), (std::time::SystemTime::now() - hour, "behind")]
    {
        let (_folder, store) = store();
        remote_claim(&store);
        let claim = run_dir(&store, 0).join("attempts/1/claim.json");
        let touch =
            |at| std::fs::File::options().append(true).open(&claim).unwrap().set_modified(at).unwrap();
        touch(skewed);
        let beats = std::sync::atomic::AtomicBool::new(true);
        let executor = LocalExecutor { claim_timeout: Duration::from_secs(2), ..TWO };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for beat in 1..25 {
                    std::thread::sleep(Duration::from_millis(100));
                    touch(skewed + Duration::from_millis(beat * 100));
                }
                beats.store(false, std::sync::atomic::Ordering::Relaxed);
            });
            let end = execute_observed(&store, executor, &[SUCCEED], &Interrupt::default(), |_, notice| {
                let began = matches!(notice, Notice::Started { .. });
                assert!(
                    !began || !beats.load(std::sync::atomic::Ordering::Relaxed),
                    "{what}: it still beats"
                );
            });
            assert_eq!(end.unwrap(), finish(1, 1, 0), "{what}");
        });
    }
}

#[test]
fn runs_finished_by_other_processes_are_not_repeated() {
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
        (
            "attempts/1/exit.json",
            exit.as_str(),
            GridOutcome { failed: vec![(0, failure)], ..finish(0, 0, 0) },
        ),
    ] {
        let (_folder, store) = store();
        remote_claim(&store);
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
fn runs_out_of_memory_are_retried_alone() {
    let (_folder, store) = store();
    // Fails while another worker runs, and records whether one does.
    let others = "ls \"$RUN\"/../*/up 2> /dev/null | wc -l";
    let hungry = format!(
        "n=$({others}); echo $n >> \"$RUN/company\"; [ -e \"$RUN/attempts/2\" ] || {{ echo 'out of memory' >&2; exit 1; }}\n{SUCCEED}"
    );
    let company = format!(": > \"$RUN/up\"; sleep 0.4; rm \"$RUN/up\"\n{SUCCEED}");
    let scripts = [company.as_str(), &company, &company, &hungry, &company, &company];
    let executor = LocalExecutor { jobs: 3, ..TWO };
    assert_eq!(execute(&store, executor, &scripts).unwrap().done, 6);
    let seen = std::fs::read_to_string(run_dir(&store, 3).join("company")).unwrap();
    assert_eq!(seen.split_whitespace().nth(1), Some("0"), "{seen}");
}

/// Waits a moment, and records the largest number of concurrent runs.
const SOCIABLE: &str = r#": > "$RUN/up"
    for look in 1 2 3 4 5 6; do ls "$RUN"/../*/up 2> /dev/null | wc -l >> "$RUN/company"; sleep 0.05; done
    rm "$RUN/up""#;

/// The largest number of concurrent runs that run `index` saw, itself included.
fn company(store: &lrlab_runs::RunStore, index: usize) -> usize {
    let seen = std::fs::read_to_string(run_dir(store, index).join("company")).unwrap();
    seen.split_whitespace().map(|count| count.parse::<usize>().unwrap()).max().unwrap()
}

#[test]
fn devices_out_of_memory_get_fewer_runs() {
    let (_folder, store) = store();
    // A device with memory for two runs: the first three run at once, and each fails.
    let first = r#"if [ ! -e "$RUN/attempts/2" ]; then
        : > "$RUN/came"
        while [ "$(ls "$RUN"/../*/came | wc -l)" -lt 3 ]; do sleep 0.02; done
        echo 'Error: DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")' >&2; exit 1; fi"#;
    let (first, other) = (format!("{first}\n{SOCIABLE}\n{SUCCEED}"), format!("{SOCIABLE}\n{SUCCEED}"));
    let scripts = [first.as_str(), &first, &first, &other, &other, &other, &other];
    let end = execute(&store, LocalExecutor { jobs: 3, ..TWO }, &scripts).unwrap();
    assert_eq!((end.done, end.failed.len()), (7, 0));
    assert_eq!([0, 1, 2].map(|index| (executions(&store, index), company(&store, index))), [(2, 1); 3]);
    assert_eq!((3..7).map(|index| company(&store, index)).max(), Some(2));
}

/// `SUCCEED`, with the run's peak memory on its device.
fn succeed_with(peak_mib: u64) -> String {
    SUCCEED.replace("\"timing\": {", &format!("\"timing\": {{\"device_peak_mib\": {peak_mib}, "))
}

#[test]
fn runs_are_placed_by_measured_memory() {
    // (memory that the runs are known to need, memory that they need) → largest number of concurrent runs, first and
    // later.
    for (known, found, first, later) in
        [(Some(1000), 1000, 3, 3), (Some(1000), 4000, 3, 1), (Some(5000), 1, 1, 1), (None, 1000, 1, 3)]
    {
        let (_folder, store) = store();
        let script = format!("{SOCIABLE}\n{}", succeed_with(found));
        let runs = runs(7);
        // 9,000 MiB hold 1,968 MiB four times, of which three are started; 5,568 once; 6,768 once.
        let memory = Memory { free_mib: vec![Some(10_000)], peak_mib: vec![known; runs.len()] };
        let share = Workload { memory: Some(memory), ..Workload::all(&store, &runs).unwrap() };
        let executor = LocalExecutor { jobs: 3, ..TWO };
        let worker = |a: &lrlab_grid::Assignment<'_>| common::shell(&store, a, &script);
        let end = executor.run_workload(&store, share, &Interrupt::default(), worker, |_, _| {}).unwrap();
        assert_eq!(end.done, 7);
        let most = |range: std::ops::Range<usize>| range.map(|index| company(&store, index)).max().unwrap();
        assert_eq!((most(0..1), most(5..7)), (first, later), "{known:?} {found}");
    }
}

#[test]
fn repeated_first_failures_stop_the_grid() {
    let (_folder, store) = store();
    let executor = LocalExecutor { jobs: 1, common_failures: 3, ..TWO };
    let end = execute(&store, executor, &["echo 'error: no GPU' >&2; exit 2"; 8]).unwrap();
    assert_eq!((end.failed.len(), end.missing, end.interrupted), (3, 5, false));
    assert_eq!(end.common_failure.as_deref(), Some("error: no GPU (ended with code 2)"));
}

#[test]
fn runs_that_would_not_finish_in_time_are_not_started() {
    let (_folder, store) = store();
    let near = Deadline { at: Instant::now() + Duration::from_secs(20), margin: Duration::from_secs(30) };
    let executor = LocalExecutor { jobs: 1, deadline: Some(near), ..TWO };
    let end = execute(&store, executor, &[SUCCEED; 3]).unwrap();
    // One run in any case, so that the grid makes progress.
    assert_eq!((end.done, end.missing, end.out_of_time, end.interrupted), (1, 2, true, false));
}

#[test]
fn runs_of_other_processes_can_be_left_to_them() {
    let (_folder, store) = store();
    let Acquired::Attempt(attempt) = Attempt::claim(&run_dir(&store, 0), 1).unwrap() else { panic!("taken") };
    let executor = LocalExecutor { others: Others::Leave, ..TWO };
    let end = execute(&store, executor, &[SUCCEED; 2]).unwrap();
    assert_eq!((end.done, end.missing, end.elsewhere), (1, 1, 1));
    drop(attempt);
}

#[test]
fn time_limits_count_as_failures_only_without_progress() {
    let (_folder, store) = store();
    let script = |updates: u32| {
        format!(
            r#"trap 'exit 85' TERM
            echo '{{"event":"started","updates":9,"epochs":1}}'
            echo '{{"event":"progress","update":{updates},"loss":1.0,"lr":0.1}}'
            while :; do sleep 0.02; done"#
        )
    };
    // Updates made before the limit → the ending of the attempt.
    for (updates, expected) in
        [(3, "interrupted"), (5, "interrupted"), (5, "timeout"), (4, "timeout"), (6, "interrupted")]
    {
        let interrupt = Interrupt::default();
        let runs = runs(1);
        let share = Workload { since: vec![0], ..Workload::all(&store, &runs).unwrap() };
        let script = script(updates);
        let end = TWO.run_workload(
            &store,
            share,
            &interrupt,
            |a| common::shell(&store, a, &script),
            |_, notice| {
                if matches!(notice, Notice::Event(Event::Progress { .. })) {
                    interrupt.request_out_of_time();
                }
            },
        );
        assert!(end.unwrap().interrupted);
        let (_, exit) = attempts(&run_dir(&store, 0)).unwrap().pop().unwrap();
        let ended = match exit.unwrap().ending {
            Ending::Failed(failure) => failure.kind.to_string(),
            Ending::Interrupted => "interrupted".to_owned(),
            Ending::Done | Ending::Paused => "done".to_owned(),
        };
        assert_eq!(ended, expected, "{updates}");
    }
}

#[test]
fn executors_that_lost_a_run_do_not_record_its_end() {
    let (_folder, store) = store();
    // While it works, another process takes over and finishes its run; then it fails.
    let script = r#"mkdir -p "$RUN/attempts/2"
        cp "$RUN/attempts/1/claim.json" "$RUN/attempts/2/claim.json"
        echo '{"ending":"interrupted","seconds":1.0}' > "$RUN/attempts/2/exit.json"
        exit 2"#;
    let script = format!("if [ -e \"$RUN/attempts/2\" ]; then {SUCCEED}\nelse {script}\nfi");
    let end = execute(&store, TWO, &[&script]).unwrap();
    assert_eq!((end.done, end.failed.len()), (1, 0));
    assert!(!run_dir(&store, 0).join("failure.json").exists());
    assert_eq!(attempts(&run_dir(&store, 0)).unwrap().len(), 3);
}
