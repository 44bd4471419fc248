//! Interrupts, signals and time limits.

use std::time::{Duration, Instant};

use lrlab_grid::{
    Deadline, Ending, FailureKind, Interrupt, LocalExecutor, Notice, Workload, attempts, catchable,
};
use lrlab_runs::Event;

use crate::common::{self, SUCCEED, execute, execute_observed, run_dir, runs, store};
use crate::{TWO, finish};

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
        // Of an attempt of an earlier call.
        std::fs::create_dir_all(run_dir(&store, 0)).unwrap();
        std::fs::write(run_dir(&store, 0).join("failure.json"), "{}").unwrap();
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
fn runs_that_would_not_finish_in_time_are_not_started() {
    let (_folder, store) = store();
    let near = Deadline { at: Instant::now() + Duration::from_secs(20), margin: Duration::from_secs(30) };
    let executor = LocalExecutor { jobs: 1, deadline: Some(near), ..TWO };
    let end = execute(&store, executor, &[SUCCEED; 3]).unwrap();
    // One run in any case, so that the grid makes progress.
    assert_eq!((end.done, end.missing, end.out_of_time, end.interrupted), (1, 2, true, false));
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
