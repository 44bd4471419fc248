//! Executors as separate processes: with signals, killed, and two at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]
#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{SUCCEED, execute, executions, run_dir, store, wait_for};
use lrlab_grid::{Ending, Interrupt, LocalExecutor, RunState, attempts, run_state};
use lrlab_runs::RunStore;

const STORE: &str = "LRLAB_GRID_TEST_STORE";
const SCRIPT: &str = "LRLAB_GRID_TEST_SCRIPT";
const PATIENCE: &str = "LRLAB_GRID_TEST_PATIENCE";
const RUNS: usize = 4;

/// Another process: this test binary, which runs only the "test" below.
fn other(store: &RunStore, script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["executor_process", "--exact", "--nocapture"])
        .env(STORE, store.root())
        .env(SCRIPT, script)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn executor(store: &RunStore, script: &str) -> Child {
    other(store, script).spawn().unwrap()
}

/// Not a test but the process that [`executor`] starts. Its exit code is 85 if the grid was interrupted.
#[test]
fn executor_process() {
    let (Ok(store), Ok(script)) = (std::env::var(STORE), std::env::var(SCRIPT)) else { return };
    let interrupt = Interrupt::on_signals().unwrap();
    let patience = std::env::var(PATIENCE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let two =
        LocalExecutor { jobs: 2, claim_timeout: Duration::from_secs(patience), ..LocalExecutor::default() };
    let scripts = [script.as_str(); RUNS];
    let end = common::execute_observed(&RunStore::new(store), two, &scripts, &interrupt, |_, _| {}).unwrap();
    std::process::exit(if end.interrupted { 85 } else { i32::from(end.done != RUNS) });
}

fn signal(process: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(process), signal).unwrap();
}

fn gone(up: &Path) -> bool {
    let pid = std::fs::read_to_string(up).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

#[test]
fn concurrent_processes_do_each_run_once() {
    let (_folder, store) = store();
    let script = format!("sleep 0.05; {SUCCEED}");
    let mut pair = [executor(&store, &script), executor(&store, &script)];
    assert!(pair.iter_mut().all(|process| process.wait().unwrap().success()));
    assert!((0..RUNS).all(|index| executions(&store, index) == 1));
}

/// Two machines on a shared folder cannot see each other's processes: only heartbeats count.
#[test]
#[cfg(target_os = "linux")]
fn concurrent_hosts_do_each_run_once_and_take_over_dead_ones() {
    let (_folder, store) = store();
    let on = |host: &str, script: &str| {
        let mut command = other(&store, script);
        command.env("LRLAB_HOST", host).env(PATIENCE, "12").spawn().unwrap()
    };
    let script = format!("sleep 0.05; {SUCCEED}");
    let mut pair = [on("left", &script), on("right", &script)];
    assert!(pair.iter_mut().all(|process| process.wait().unwrap().success()));
    assert!((0..RUNS).all(|index| executions(&store, index) == 1));

    // One host works for longer than the other's patience and sends heartbeats; then it dies, and the other takes over.
    let (_folder, store) = common::store();
    let on = |host: &str, script: &str| {
        let mut command = other(&store, script);
        command.env("LRLAB_HOST", host).env(PATIENCE, "12").spawn().unwrap()
    };
    let mut left = on("left", "echo $$ > \"$RUN/up\"; cat > /dev/null; exit 85");
    wait_for(&run_dir(&store, 0).join("up"));
    wait_for(&run_dir(&store, 1).join("up"));
    let mut right = on("right", SUCCEED);
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!((executions(&store, 0), executions(&store, 1)), (1, 1));
    assert!(store.is_done(&common::runs(3)[2].run_id));
    signal(&left, rustix::process::Signal::KILL);
    left.wait().unwrap();
    assert!(right.wait().unwrap().success());
    assert_eq!((executions(&store, 0), executions(&store, 1)), (2, 2));
}

#[test]
fn sigterm_is_forwarded_and_exits_with_85() {
    let (_folder, store) = store();
    let script = "trap 'exit 85' TERM; echo $$ > \"$RUN/up\"; while :; do sleep 0.02; done";
    let mut process = executor(&store, script);
    let up = run_dir(&store, 0).join("up");
    wait_for(&up);
    signal(&process, rustix::process::Signal::TERM);
    assert_eq!(process.wait().unwrap().code(), Some(85));
    assert!(gone(&up));
    let ended = attempts(&run_dir(&store, 0)).unwrap();
    assert_eq!(ended[0].1.clone().unwrap().ending, Ending::Interrupted);
    assert_eq!(run_state(&store, &common::runs(1)[0]).unwrap(), RunState::Missing);
}

#[test]
#[cfg(target_os = "linux")]
fn workers_of_a_killed_executor_end_and_the_next_takes_over() {
    let (_folder, store) = store();
    // Ends when its standard input is closed, as a real worker does.
    let script = "echo $$ > \"$RUN/up\"; cat > /dev/null; : > \"$RUN/stopped\"; exit 85";
    let mut process = executor(&store, script);
    wait_for(&run_dir(&store, 0).join("up"));
    let state = run_state(&store, &common::runs(1)[0]).unwrap();
    assert!(matches!(state, RunState::Running { ref owner, .. } if owner.pid == process.id()), "{state:?}");
    signal(&process, rustix::process::Signal::KILL);
    process.wait().unwrap();
    wait_for(&run_dir(&store, 0).join("stopped"));
    assert_eq!(run_state(&store, &common::runs(1)[0]).unwrap(), RunState::Missing);

    let two = LocalExecutor { jobs: 2, ..LocalExecutor::default() };
    let end = execute(&store, two, &[SUCCEED; RUNS]).unwrap();
    assert_eq!((end.done, end.executed), (RUNS, RUNS));
    let ended: Vec<_> = attempts(&run_dir(&store, 0)).unwrap();
    assert_eq!((ended.len(), &ended[0].1), (2, &None));
}
