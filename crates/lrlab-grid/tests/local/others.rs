//! Runs that other executors claim, finish or take over.

use std::time::Duration;

use lrlab_grid::{
    Acquired, Attempt, Failure, FailureKind, GridOutcome, Interrupt, LocalExecutor, Notice, Others, Owner,
    RunState, attempts, run_state,
};

use crate::common::{SUCCEED, execute, execute_observed, executions, run_dir, runs, store};
use crate::{TWO, finish};

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
